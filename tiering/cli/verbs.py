"""Verbs: how each shows its help, and the last line of each that is interrupted.

The last line says what the interruption left behind, and what the same command will do. It is a verb's own, because the
verbs differ in both; a test holds that every verb has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from tiering.cli.flags import by_flag, verb_of
from tiering.cli.output import note
from tiering.errors import TieringError
from tiering.system.signals import exit_code_of

Function = TypeVar("Function", bound=Callable[..., Any])

_NOTHING: Final = "Nothing was changed; the same command starts from the beginning."
_BEGINNING: Final = "The same command starts from the beginning."

#: By verb. The names in braces are the verb's parameters.
LAST_LINES: Final = {
    "profile": _BEGINNING,
    "trace": "The same command runs the program again and records it from the beginning.",
    "classify": _NOTHING,
    "convert": "Finished shards stay; the same command goes on from there.",
    "append": "The store is as it was, or complete. Finished shards stay; the same command goes on from there.",
    "repair": "Shards that are repaired stay so; the same command repairs the others.",
    "verify": _NOTHING,
    "info": _NOTHING,
    "export": "{directory} holds all files or none; if none, the same command starts from the beginning.",
    "bench": _BEGINNING,
    "cache info": _NOTHING,
    "cache warm": "What was fetched stays in the cache; the same command goes on from there.",
    "cache verify": "What was found damaged is taken out; the same command starts from the beginning.",
    "cache clear": "What was removed is gone; the same command removes the rest.",
    "cache size": _NOTHING,
    "model train": _BEGINNING,
    "model evaluate": _NOTHING,
    "model show": _NOTHING,
    "estimate": _NOTHING,
    "recommend": _NOTHING,
    "report": _BEGINNING,
    "place": "No file of yours was moved; the same command starts from the beginning.",
    "tiers list": _NOTHING,
    "tiers show": _NOTHING,
    "tiers check": _NOTHING,
    "probe": "What was written to {place} is removed; the same command starts from the beginning.",
}


class Verb(TyperCommand):
    """A verb of the program."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the verb; where it is interrupted, say what that leaves behind."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            note(f"Interrupted. {LAST_LINES[verb_of(ctx)].format_map(ctx.params)}")
            raise typer.Exit(exit_code_of(interruption)) from None
        except TieringError as error:
            named = by_flag(verb_of(ctx), error)
            if named is error:
                raise
            raise named from error

    def format_help(self, *words: Any) -> None:
        """Show the help."""
        _mark_no_line()
        super().format_help(*words)


class Group(TyperGroup):
    """Verbs that belong together."""

    def format_help(self, *words: Any) -> None:
        """Show the help."""
        _mark_no_line()
        super().format_help(*words)


class Verbs(typer.Typer):
    """A Typer whose commands are verbs."""

    def __init__(self, *, cls: type[Group] = Group, **options: Any) -> None:
        super().__init__(cls=cls, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Return what makes a verb of a function."""
        return super().command(name, cls=Verb, **options)


def _mark_no_line() -> None:
    """Have no asterisk before what is required: `[required]` behind it says so, and in words."""
    # Imported with Rich, for the help alone.
    from typer import rich_utils

    rich_utils.REQUIRED_SHORT_STRING = ""
