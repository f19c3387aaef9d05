"""A Rich console that prints text as it is: no markup, no emoji codes, no control characters."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from tiering.text import shown, without_secrets


class PlainConsole(Console):
    """Prints every string through tiering.text.shown and without secrets, in tables too; pass styles as arguments.

    Most of what the program prints holds names that somebody else chose. So it prints each string as one line, with
    `[bold]` and `:smile:` as plain letters.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string into text for a line or a cell."""
        return super().render_str(shown(without_secrets(text)), **(options | {"markup": False, "emoji": False}))

    def on_broken_pipe(self) -> None:
        """Let the program choose the exit code: Rich would exit with 1, which means that verify found damage."""
        raise BrokenPipeError


def line(text: str, style: str = "") -> Text:
    """Return a text for those parts of Rich that read every string as markup, such as a status."""
    return Text(shown(without_secrets(text)), style=style)
