"""The files of a walk: their rows, many at once, and those that wait until the walk knows whether they are samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from tiering.arrays import IndexArray

WALK_SCHEMA: Final = {"key": pl.Binary, "size": pl.Int64, "version": pl.Int64}
BATCH: Final = 50_000

#: A file: its key, its size in bytes, and its version.
Row = tuple[bytes, int, int]


@dataclass(frozen=True, slots=True)
class Files:
    """Neighbours in a directory, all of them images without anything beside them. sizes, versions: int64 (n,)."""

    keys: list[bytes]
    sizes: IndexArray
    versions: IndexArray

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Row]:
        return zip(self.keys, self.sizes.tolist(), self.versions.tolist(), strict=True)

    def part(self, begin: int, end: int) -> Files:
        """Return some of them."""
        return Files(self.keys[begin:end], self.sizes[begin:end], self.versions[begin:end])

    def frame(self) -> pl.DataFrame:
        """Return the files in the columns of WALK_SCHEMA."""
        keys = pl.Series(self.keys, dtype=pl.Binary)
        return pl.DataFrame({"key": keys, "size": self.sizes, "version": self.versions})


def frame_of(rows: list[Row]) -> pl.DataFrame:
    """Return rows in the columns of WALK_SCHEMA."""
    return pl.DataFrame(rows, schema=WALK_SCHEMA, orient="row")


class Waiting:
    """Files that may become samples, in the order in which they were met. Holds objects for at most 50,000 of them."""

    def __init__(self) -> None:
        self._frames: list[pl.DataFrame] = []
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Add a file."""
        self._rows.append(row)
        if len(self._rows) == BATCH:
            self._frames.append(frame_of(self._rows))
            self._rows = []

    def __iter__(self) -> Iterator[Row]:
        for frame in self._frames:
            yield from frame.iter_rows()
        yield from self._rows
