"""A Rich console that prints text as it is: no markup, no emoji codes, no control characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tiering.cli.prose import wrapped
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

    def show(self, table: Table, drop: Sequence[str] = ()) -> None:
        """Print a table that fits the terminal: no line is wrapped, and no figure is cut.

        drop: the columns that a narrow terminal can do without, the first one first. A line names those left out. If
        the rest is still too wide, each row becomes a block of lines.
        """
        left_out: list[str] = []
        while self._width_of(table) > self.width and len(left_out) < len(drop):
            left_out.append(drop[len(left_out)])
            table = _without(table, left_out[-1])
        if self._width_of(table) > self.width:
            self._show_stacked(table)
        else:
            self.print(table)
        if left_out:
            self.say(f"Left out to fit: {'; '.join(left_out)}. A wider terminal or --json shows all.")

    def say(self, text: str, *, indent: int = 0) -> None:
        """Print a paragraph: wrapped at words on a terminal, one line elsewhere. indent: columns of further lines."""
        lines = wrapped(shown(without_secrets(text)), self.width, indent) if self.is_terminal else [text]
        for each in lines:
            self.print(each, soft_wrap=True)

    def _width_of(self, table: Table) -> int:
        """Return the columns that a table needs at least: all, but for columns of prose, which may wrap."""
        needs = self.measure(table, options=self.options.update(max_width=_WIDEST))
        return needs.minimum if any(not column.no_wrap for column in table.columns) else needs.maximum

    def _show_stacked(self, table: Table) -> None:
        """Print each row as a block: its first value, and below it a line for each other one that is not empty."""
        names = [str(column.header) for column in table.columns]
        for row in zip(*(column.cells for column in table.columns), strict=True):
            cells = [(name, str(cell)) for name, cell in zip(names, row, strict=True) if str(cell)]
            for position, (name, cell) in enumerate(cells):
                self.say(f"  {name}: {cell}" if position else cell, indent=4)

    def on_broken_pipe(self) -> None:
        """Let the program choose the exit code: Rich would exit with 1, which means that verify found damage."""
        raise BrokenPipeError


def line(text: str, style: str = "") -> Text:
    """Return a text for those parts of Rich that read every string as markup, such as a status."""
    return Text(shown(without_secrets(text)), style=style)


def _without(table: Table, name: str) -> Table:
    """Return a table without the columns of that name."""
    kept = [column for column in table.columns if column.header != name]
    made = Table(title=table.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    made.header_style = table.header_style
    for column in kept:
        made.add_column(column.header, justify=column.justify, no_wrap=True)
    for row in zip(*(column.cells for column in kept), strict=True):
        made.add_row(*row)
    return made
