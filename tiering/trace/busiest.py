"""Which processes and which files have most of the calls, the bytes and the time of a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from tiering.trace.access_sizes import MOVES

#: Rows that are kept while a trace is read, and at most half of them after a cut.
_MOST: Final = 1 << 18
_SUMS: Final = ("reads", "writes", "accesses", "others", "bytes_read", "bytes_written", "bytes_accessed", "seconds")
_MOVED: Final = pl.col("bytes_read") + pl.col("bytes_written") + pl.col("bytes_accessed")


@dataclass(frozen=True, slots=True)
class Busiest:
    """The busiest processes, or files.

    Attributes:
        table: A row for each of them, the one with most time first, or with most bytes where the trace has no
            durations: name, reads, writes, accesses (of traces that tell no reads from writes), others (calls),
            bytes_read, bytes_written, bytes_accessed (B), seconds (s in calls).
        count: How many there are in all; of files, those with any event. At least that many, if not exact.
        exact: Whether every row counts all events. Otherwise there were too many, and a row may miss early events.
        bytes: B moved by all of them, also by those without a row.
        seconds: s in calls of all of them.
    """

    table: pl.DataFrame
    count: int
    exact: bool
    bytes: int
    seconds: float


def counted(data: pl.DataFrame) -> pl.DataFrame:
    """Return events as the rows that BusyTally sums."""
    op, size = pl.col("op"), pl.col("size")
    return data.select(
        "file",
        "pid",
        "path",
        reads=(op == "read").cast(pl.Int64),
        writes=(op == "write").cast(pl.Int64),
        accesses=(op == "access").cast(pl.Int64),
        others=(~op.is_in(MOVES)).cast(pl.Int64),
        bytes_read=pl.when(op == "read").then(size).otherwise(0),
        bytes_written=pl.when(op == "write").then(size).otherwise(0),
        bytes_accessed=pl.when(op == "access").then(size).otherwise(0),
        seconds=pl.col("duration").fill_null(0.0),
    )


class BusyTally:
    """Sums for each process or file. Beyond 2^18 rows, those with the least bytes and time are dropped."""

    def __init__(self, key: Literal["pid", "file"]) -> None:
        self._key = key
        self._parts: list[pl.DataFrame] = []
        self._exact = True
        self._bytes, self._seconds = 0, 0.0

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows that `counted` made."""
        moved, seconds = rows.select(_MOVED.sum(), pl.col("seconds").sum()).row(0)
        self._bytes += moved
        self._seconds += seconds
        self._parts.append(rows.select(self._key, "path", *_SUMS))
        # Events are summed some batches at a time, because most of the work is done for each file of a batch.
        if sum(map(len, self._parts[1:])) > _MOST:
            self._parts = [self._cut(self._summed(pl.concat(self._parts)))]

    def _summed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.group_by(self._key).agg(pl.col("path").first(), pl.col(_SUMS).sum())

    def _cut(self, table: pl.DataFrame) -> pl.DataFrame:
        if len(table) <= _MOST:
            return table
        self._exact = False
        by_size, by_time = _MOVED.rank(descending=True), pl.col("seconds").rank(descending=True)
        ranked = table.with_columns(rank=pl.min_horizontal(by_size, by_time))
        return ranked.filter(pl.col("rank") <= _MOST // 4).drop("rank")

    def found(self, most: int = 20) -> Busiest:
        """Return the busiest `most`."""
        if not self._parts:
            return Busiest(pl.DataFrame(schema=["name", *_SUMS]), 0, exact=True, bytes=0, seconds=0.0)
        table = self._summed(pl.concat(self._parts))
        name = (
            pl.format("process {}", pl.col("pid").fill_null(0))
            if self._key == "pid"
            else pl.col("path").fill_null(pl.format("file {}", pl.col("file")))
        )
        # The name decides between equals, so that the list does not depend on how the trace was cut into batches.
        order = table.with_columns(name=name, size=_MOVED).sort(
            "seconds", "size", "name", descending=[True, True, False]
        )
        rows = order.head(most).select("name", *_SUMS)
        return Busiest(rows, len(table), exact=self._exact, bytes=self._bytes, seconds=self._seconds)
