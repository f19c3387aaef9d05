"""A chart: a Plotly figure as plain data, what it teaches in a sentence, and the same data as a table and as CSV.

Colours are names ("c1", "text") that the page replaces with those of its light or dark theme.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tiering.text import shown


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: its figure, and the same data as a table.

    Attributes:
        name: Unique in the page; also the name of its files.
        title: What it shows, in a few words.
        lesson: What is to be learnt from it, in a sentence: the heading.
        summary: What else a reader should know, perhaps nothing.
        figure: Plotly's.
        columns: The heading of the table.
        rows: The table, for people.
        data: The heading and the rows of the CSV file, where the figure itself does not have all numbers.
    """

    name: str
    title: str
    lesson: str
    summary: str
    figure: dict[str, Any]
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    data: Sequence[Sequence[object]] | None = None

    @property
    def csv(self) -> str:
        """The data as CSV (RFC 4180), numbers as they are, with units in the heading."""
        made = io.StringIO()
        csv.writer(made).writerows(
            [shown(cell) if isinstance(cell, str) else cell for cell in row] for row in self.data or _rows(self.figure)
        )
        return made.getvalue()


def _rows(figure: dict[str, Any]) -> Iterator[Sequence[object]]:
    """Yield a heading, and a row for each point of a figure of curves, points or bars."""
    layout = figure["layout"]
    across, up = (layout[name]["title"]["text"] or "name" for name in ("xaxis", "yaxis"))
    several = len(figure["data"]) > 1
    if figure["data"] and figure["data"][0].get("orientation") == "h":
        across, up = up, across
    yield (*(["series"] if several else []), across, up)
    for each in figure["data"]:
        pairs = zip(each["x"], each["y"], strict=True)
        name = [each.get("name", "")] if several else []
        for x, y in pairs:
            yield (*name, y, x) if each.get("orientation") == "h" else (*name, x, y)
