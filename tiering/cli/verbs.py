"""Commands: how each shows its help, and the last line that it prints when it is interrupted.

The last line states what is left behind, and what the same command will do next. Every command has its own line; a test
checks that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from tiering.cli.flags import by_flag, options_of, verb_of
from tiering.cli.output import RUNNING, note
from tiering.errors import TieringError
from tiering.system.signals import exit_code_of

Function = TypeVar("Function", bound=Callable[..., Any])

_NOTHING: Final = "Nothing was changed. The same command starts from the beginning."
_BEGINNING: Final = "The same command starts from the beginning."

#: By command. Names in braces are its parameters.
LAST_LINES: Final = {
    "profile": _BEGINNING,
    "trace": "The same command runs the program again and records it from the beginning.",
    "watch": "No trace was written. The same command begins to watch again.",
    "classify": _NOTHING,
    "convert": "Finished shards are kept. Run the same command to continue.",
    "append": "The store is unchanged or complete. Finished shards are kept. Run the same command to continue.",
    "relabel": "The store is unchanged or complete. The same command starts from the beginning.",
    "remove": "The store is unchanged or complete. A purge keeps finished shards. Run the same command to continue.",
    "log": _NOTHING,
    "repair": "Repaired shards are kept. Run the same command to repair the others.",
    "verify": _NOTHING,
    "info": _NOTHING,
    "export": "{directory} holds all files or none. If none, the same command starts from the beginning.",
    "bench": _BEGINNING,
    "cache info": _NOTHING,
    "cache warm": "Fetched samples stay in the cache. Run the same command to continue.",
    "cache verify": "Damaged samples found so far are removed. The same command starts from the beginning.",
    "cache clear": "Part of the cache is removed. Run the same command to remove the rest.",
    "cache size": _NOTHING,
    "model train": _BEGINNING,
    "model evaluate": _NOTHING,
    "model card": _BEGINNING,
    "model show": _NOTHING,
    "estimate": _NOTHING,
    "recommend": _NOTHING,
    "report": _BEGINNING,
    "survey": _NOTHING,
    "place": "No file was moved. The same command starts from the beginning.",
    "tiers list": _NOTHING,
    "tiers show": _NOTHING,
    "tiers check": _NOTHING,
    "probe": "All that was written to {location} is removed. The same command starts from the beginning.",
}


class Verb(TyperCommand):
    """A command of the program."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command. If it is interrupted, print its last line."""
        running = RUNNING.set(ctx)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            note(f"Interrupted. {LAST_LINES[verb_of(ctx)].format_map(ctx.params)}")
            raise typer.Exit(exit_code_of(interruption)) from None
        except TieringError as error:
            named = by_flag(verb_of(ctx), error, options_of(ctx.find_root().command))
            if named is error:
                raise
            raise named from error
        finally:
            RUNNING.reset(running)

    def format_help(self, ctx: typer.Context, *_: Any) -> None:  # type: ignore[override]
        """Show the help."""
        # Imported with Rich, for the help alone.
        from tiering.cli.help import show_help

        show_help(self, ctx)


class Group(TyperGroup):
    """A group of commands."""

    def format_help(self, ctx: typer.Context, *_: Any) -> None:  # type: ignore[override]
        """Show the help."""
        # Imported with Rich, for the help alone.
        from tiering.cli.help import show_help

        show_help(self, ctx)


class Verbs(typer.Typer):
    """A Typer whose commands are of class Verb."""

    def __init__(self, *, cls: type[Group] = Group, **options: Any) -> None:
        super().__init__(cls=cls, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Return a decorator that makes a function a command."""
        return super().command(name, cls=Verb, **options)
