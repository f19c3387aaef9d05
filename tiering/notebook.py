"""How a result shows itself: a few lines of text, an HTML table in a notebook, and a data frame.

Example: a class with

    def summary(self) -> Summary:
        return "Verdict", [("workload", "read-once"), ("probability", "93 %")]

prints as

    Verdict
      workload     read-once
      probability  93 %

Labels, paths and reasons in a result may come from outside, so both forms escape them.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiering.text import shown, without_secrets

if TYPE_CHECKING:
    import polars as pl

#: A title, and pairs of a name and what there is to say about it.
Summary = tuple[str, Sequence[tuple[str, str]]]


class Shown:
    """Gives a class `__str__` and `_repr_html_` from its `summary`."""

    __slots__ = ()

    def summary(self) -> Summary:
        """Return a title and a few rows."""
        raise NotImplementedError

    def __str__(self) -> str:
        title, rows = self.summary()
        width = max((len(name) for name, _ in rows), default=0)
        return "\n".join([_line(title), *(f"  {_line(name):<{width}}  {_line(text)}" for name, text in rows)])

    def _repr_html_(self) -> str:
        title, rows = self.summary()
        return html_table(rows, title)


def html_table(rows: Iterable[Sequence[str]], title: str = "") -> str:
    """Return an HTML table of escaped cells. The first cell of each row is its heading."""
    caption = f"<caption>{_escaped(title)}</caption>" if title else ""
    return f"<table>{caption}{''.join(map(_row, rows))}</table>"


def data_frame(columns: Mapping[str, Iterable[Any]]) -> pl.DataFrame:
    """Return columns as a Polars frame."""
    # Imported here: what serves stores shows a manifest, and needs no Polars.
    import polars as pl  # noqa: PLC0415

    return pl.DataFrame({name: list(values) for name, values in columns.items()})


def _row(cells: Sequence[str]) -> str:
    first, *others = map(_escaped, cells)
    return f'<tr><th style="text-align: left">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'


def _escaped(text: str) -> str:
    return html.escape(_line(text))


def _line(text: str) -> str:
    return shown(without_secrets(text))
