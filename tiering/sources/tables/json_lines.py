"""Tables of JSON lines: one object a line, whose members may differ from line to line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from tiering.errors import DatasetError
from tiering.sources.tables.table_fields import JSON
from tiering.sources.trees.walk import BATCH
from tiering.storage.json_text import json_text
from tiering.text import display


def json_columns(path: Path) -> dict[str, str | None]:
    """Return the columns of a table, which may start in any row, with the contents of those that have nested values.

    Contents are those of table_fields.Nested; None for a column without nested values.
    It keeps one line in memory and takes 1.7 us for a line of two members.
    """
    found: dict[str, _Seen] = {}
    with path.open("rb") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue  # json_rows refuses this line.
            for name, value in row.items() if isinstance(row, dict) else ():
                if name not in found:
                    found[name] = _Seen()
                if value is not None:
                    found[name].add(value)
    return {name: seen.nested for name, seen in found.items()}


def json_rows(path: Path, names: list[str], where: str) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table, up to 50,000 at a time, with every value as text; nested ones as JSON.

    Polars' own reader is not used: it writes floats above 2^53 as other numbers, and control characters as they are.
    Raises DatasetError for a line that is no JSON object.
    """
    schema = dict.fromkeys(names, pl.String)
    with path.open("rb") as lines:
        rows = (_row(line, number, where) for number, line in enumerate(lines, 1) if line.strip())
        while batch := list(islice(rows, BATCH)):
            yield pl.DataFrame({name: [row.get(name) for row in batch] for name in names}, schema=schema)


def _row(line: bytes, number: int, where: str) -> dict[str, str | None]:
    try:
        row = json.loads(line)
        if isinstance(row, dict):
            return {name: _text(value) for name, value in row.items()}
    except (ValueError, RecursionError):
        pass
    raise DatasetError(
        f"{where}, line {number:,}",
        expected="a JSON object",
        found=display(line[:80].strip()),
        action="Check the file.",
    )


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        return json_text(value)
    # A lone surrogate is no Unicode, and Polars takes none.
    return value.encode("utf-8", "replace").decode()


class _Seen:
    """The values of a column, as far as they were seen."""

    def __init__(self) -> None:
        self._nested = self._text = self._float = self._long = False
        self._lengths: set[int] = set()

    def add(self, value: object) -> None:
        """Add a value that is not null."""
        self._text = self._text or isinstance(value, str)
        if not isinstance(value, dict | list):
            self._lengths.add(-1)
            return
        self._nested = True
        numbers = [each for each in value if type(each) in (int, float)] if isinstance(value, list) else []
        same = len(numbers) == len(value) > 0 and all(abs(each) < 1 << 63 for each in numbers)
        self._float = self._float or any(type(each) is float for each in numbers)
        self._long = self._long or any(type(each) is int and abs(each) > 1 << 53 for each in numbers)
        if len(self._lengths) < 2:
            self._lengths.add(len(value) if same else -1)

    @property
    def nested(self) -> str | None:
        """What all of them are, as in Nested; None if none is nested. Lists beside text are text, which is no JSON."""
        if not self._nested:
            return None
        if self._text:
            return ""
        # Integers that no float holds stay as they are beside floats.
        if len(self._lengths) != 1 or -1 in self._lengths or (self._float and self._long):
            return JSON
        return "<f8" if self._float else "<i8"
