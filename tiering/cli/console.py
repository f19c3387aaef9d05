"""A Rich console that prints text as it is: no markup, no emoji codes, no control characters."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tiering.text import shown, without_secrets

#: Columns of the widest table there may be.
_WIDEST: Final = 1 << 16


class PlainConsole(Console):
    """Prints every string through tiering.text.shown and without secrets, in tables too; pass styles as arguments.

    Most of what the program prints holds names that somebody else chose. So it prints each string as one line, with
    `[bold]` and `:smile:` as plain letters.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string into text for a line or a cell."""
        return super().render_str(shown(without_secrets(text)), **(options | {"markup": False, "emoji": False}))

    def show(self, table: Table) -> None:
        """Print a table in its full width. A narrower terminal wraps its lines; a truncated figure would be wrong."""
        full = self.measure(table, options=self.options.update(max_width=_WIDEST)).maximum
        self.width = max(self.width, full)
        self.print(table)

    def on_broken_pipe(self) -> None:
        """Let the program choose the exit code: Rich would exit with 1, which means that verify found damage."""
        raise BrokenPipeError


def line(text: str, style: str = "") -> Text:
    """Return a text for those parts of Rich that read every string as markup, such as a status."""
    return Text(shown(without_secrets(text)), style=style)
