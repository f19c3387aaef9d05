"""The files of a walk: their rows, and those that wait until the walk knows whether they are samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

WALK_SCHEMA: Final = {"key": pl.Binary, "size": pl.Int64, "version": pl.Int64}
BATCH: Final = 50_000

#: A file: its key, its size in bytes, and its version.
Row = tuple[bytes, int, int]


class Waiting:
    """Files that may become samples, in the order in which they were met. Holds objects for at most 50,000 of them."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Add a file."""
        self._rows.append(row)
        if len(self._rows) == BATCH:
            self._frames.append(pl.DataFrame(self._rows, schema=WALK_SCHEMA, orient="row"))
            self._rows = []

    def __iter__(self) -> Iterator[Row]:
        for frame in self._frames:
            yield from frame.iter_rows()
        yield from self._rows
