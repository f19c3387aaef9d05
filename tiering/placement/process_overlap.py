"""How many processes of a trace run, and so wait, at the same time.

Processes whose times overlap wait for the storage together, like the ranks of a training job. Processes that run one
after the other, like the steps of a script, wait in turn. So the job waits as long as its heaviest chain of processes
that follow each other. The number of processes is the sum of all waits over the wait of that chain.

Example: 16 ranks that each make 1,000 reads in the same minute. Any chain holds one of them: 16,000 / 1,000 = 16.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

import polars as pl

from tiering.io_sizes import CACHE_UNIT_BYTES

_SCHEMA: Final = pl.Schema({"pid": pl.Int32(), "first": pl.Float64(), "last": pl.Float64(), "weight": pl.Float64()})
#: Rows to collect before they are summed.
_FEWEST: Final = 1 << 16


class ProcessOverlap:
    """Counts the processes of a stream of events. Memory holds one row for each process."""

    def __init__(self) -> None:
        self._rows = [pl.DataFrame(schema=_SCHEMA)]

    def add(self, batch: pl.DataFrame) -> None:
        """Count a batch of events (EVENT_SCHEMA)."""
        moves = batch.filter(pl.col("op").is_in(["read", "write", "mmap", "access"]), pl.col("size") > 0)
        found = moves.group_by("pid").agg(
            first=pl.col("time").min(),
            last=(pl.col("time") + pl.col("duration").fill_null(0.0)).max(),
            # A call waits for the latency, which moves about this many bytes on most devices, and for its own bytes.
            weight=(pl.col("size") + CACHE_UNIT_BYTES).cast(pl.Float64).sum(),
        )
        self._rows.append(found.select(_SCHEMA.names()).cast(_SCHEMA))
        if sum(map(len, self._rows[1:])) > max(_FEWEST, len(self._rows[0])):
            self._rows = [self._summed()]

    def processes(self) -> float:
        """Return how many processes run at the same time, by the weight of what they move; at least 1."""
        found = self._summed().drop_nulls()
        total = float(found["weight"].sum())
        chain = heaviest_chain(found.select("first", "last", "weight").iter_rows())
        return max(1.0, total / chain) if chain else 1.0

    def _summed(self) -> pl.DataFrame:
        rows = pl.concat(self._rows)
        return rows.group_by("pid").agg(pl.col("first").min(), pl.col("last").max(), pl.col("weight").sum())


def heaviest_chain(spans: Iterable[tuple[float, float, float]]) -> float:
    """Return the largest weight of spans that do not overlap (weighted interval scheduling).

    Args:
        spans: First and last second, and weight, of each process.

    Returns:
        The weight of the heaviest chain; 0 without spans.

    Example:
        >>> heaviest_chain([(0, 9, 5), (0, 9, 5), (10, 20, 3)])
        8.0
    """
    ends: list[float] = []
    best = [0.0]
    for first, last, weight in sorted(spans, key=lambda span: span[1]):
        best.append(max(best[-1], best[bisect_right(ends, first)] + weight))
        ends.append(last)
    return best[-1]
