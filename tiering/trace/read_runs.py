"""Runs of reads: what a process reads of a file from one open to the next, across batches of events.

Rows (opens, reads, closes) are sorted by process and file. Then a run is a contiguous stretch of rows, and all its
properties are running sums or maxima over the stretch. A run that a batch leaves open is carried into the next batch as
one row.

Example: open, read [0, 4), read [4, 8), read [0, 4), close is one run of three reads. The furthest ends before each are
0, 4, 8, so no read skips ahead (no gap). The first two are sequential; the third is not, since the last end is 8.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tiering.trace.intervals import running_maximum

#: Rows of runs: an open, a read or a close, or a run that an earlier batch left open. position and furthest are B, or
#: null in a read or a close. depth is how often the file was open before this row, if an earlier batch left that.
_ROWS = pl.Schema(
    {
        "file": pl.UInt64,
        "group": pl.Int32,
        "pid": pl.Int32,
        "offset": pl.Int64,
        "size": pl.Int64,
        "opens": pl.Boolean,
        "reads": pl.Boolean,
        "closes": pl.Boolean,
        "opened": pl.Boolean,
        "no_gap": pl.Boolean,
        "earlier_reads": pl.Boolean,
        "position": pl.Int64,
        "furthest": pl.Int64,
        "time": pl.Float64,
        "depth": pl.Int64,
    }
)


_NO_READS = pl.DataFrame(
    schema={
        "file": pl.UInt64,
        "group": pl.Int32,
        "time": pl.Float64,
        "start": pl.Int64,
        "end": pl.Int64,
        "sequential": pl.Boolean,
        "visit": pl.Boolean,
    }
)


class RunBatch(NamedTuple):
    """The results for one batch of events.

    reads: one row per read of data (file, group, time, start, end, sequential, visit), in order. finished: one row per
    finished run of reads that began with an open (file, furthest, no_gap).
    """

    reads: pl.DataFrame
    finished: pl.DataFrame


class ReadRuns:
    """Follows the runs of a trace. Memory grows with the number of open files.

    A run begins with an open and ends with the next open of that process and file, or when the last of its descriptors
    is closed. Reads after the close of another descriptor continue it.

    A read without an offset is assumed to follow the previous one, from byte 0 after an open. A read is sequential if
    it begins at the end of the run's previous read, or at byte 0 as its first. A visit is the first read of a run; if a
    trace has no opens, it is a read of another file than the process's last.
    """

    def __init__(self) -> None:
        self._open = pl.DataFrame(schema=_ROWS)
        self._last = pl.DataFrame(schema={"pid": pl.Int32, "last": pl.UInt64})

    def add(self, events: pl.DataFrame) -> RunBatch:
        """Process a batch of events (EVENT_SCHEMA, in order)."""
        op, known = pl.col("op"), ("file", "group", "pid", "offset", "size", "time")
        opens, reads, closes = op == "open", (op == "read") & (pl.col("size") > 0), op == "close"
        fresh = events.filter(opens | reads | closes).select(
            *known, opens=opens, reads=reads, closes=closes, opened=opens,
            no_gap=pl.lit(value=True), earlier_reads=pl.lit(value=False),
            position=pl.when(opens).then(0), furthest=pl.when(opens).then(0), depth=0,
        )  # fmt: skip
        rows = pl.concat([self._open, fresh.select(_ROWS.names()).cast(_ROWS)])
        if rows.is_empty():
            return RunBatch(_NO_READS, rows.select("file", "furthest", "no_gap"))
        followed, runs = _followed(rows)
        over = pl.col("closed") | ~pl.col("latest")
        self._open = runs.filter(~over).select(_ROWS.names())
        finished = runs.filter(over & pl.col("opened") & pl.col("earlier_reads"))
        return RunBatch(self._visits(followed), finished.select("file", "furthest", "no_gap"))

    def rest(self) -> pl.DataFrame:
        """Return the runs that the trace left open, in the form of RunBatch.finished."""
        return self._open.filter("opened", "earlier_reads").select("file", "furthest", "no_gap")

    def _visits(self, reads: pl.DataFrame) -> pl.DataFrame:
        """Mark the reads that are visits, and remember the last file of each process."""
        reads = reads.join(self._last, on="pid", how="left", maintain_order="left")
        elsewhere = pl.col("file").ne_missing(pl.coalesce(pl.col("file").shift(1).over("pid"), "last"))
        self._last = pl.concat([self._last, reads.select("pid", last="file")]).unique("pid", keep="last")
        visit = pl.when("run_opened").then("first_read").otherwise(elsewhere)
        return reads.select("file", "group", "time", "start", "end", "sequential", visit=visit)


def _followed(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Follow rows of _ROWS, at least one, in order. Return the reads, in order, and one row per run.

    Columns of reads: file, group, pid, time, start, end, sequential, first_read, run_opened. Columns of runs: _ROWS, as
    the row to continue with, and closed and latest: whether the run was closed, and whether it is the last of that
    process and file.
    """
    # Sorted by process and file, a run is a contiguous stretch of rows.
    order = np.lexsort((rows["pid"].to_numpy(), rows["file"].to_numpy()))
    table = rows[order]
    file, pid, size = (table[name].to_numpy() for name in ("file", "pid", "size"))
    opens, reads, closes, opened, no_gap, earlier = (
        table[name].to_numpy() for name in ("opens", "reads", "closes", "opened", "no_gap", "earlier_reads")
    )
    first = np.append(True, (file[1:] != file[:-1]) | (pid[1:] != pid[:-1]))
    depth = _depth(opens.astype(np.int64) - closes + table["depth"].to_numpy(), np.flatnonzero(first))
    # Rows after the last close form another run, without an open.
    ended = closes & (depth == 0)
    begin = np.flatnonzero(first | opens | np.append(False, ended[:-1]))
    last = np.append(begin[1:], len(file)) - 1
    run = np.repeat(np.arange(len(begin)), last - begin + 1)

    moved = np.cumsum(size)
    start = table["offset"].fill_null(pl.Series(moved - size - (moved - size)[begin][run])).to_numpy()
    end = start + size
    placed = table["position"].is_not_null().to_numpy()
    position = np.where(placed, table["position"].fill_null(0).to_numpy(), end)
    known_position = np.maximum.accumulate(np.where(placed | reads, np.arange(len(file)), -1))
    before = _earlier(known_position, -1)
    before = np.where(before >= begin[run], position[before], 0)
    furthest = running_maximum(np.where(reads, end, table["furthest"].fill_null(0).to_numpy()), run)
    reached = _earlier(furthest, 0)
    reached[begin] = 0
    count = np.cumsum(reads)
    nth = count - (count - reads)[begin][run] + np.logical_or.reduceat(earlier, begin)[run]

    was_opened = np.logical_or.reduceat(opened, begin)
    followed = pl.DataFrame(
        {
            "file": file,
            "group": table["group"],
            "pid": pid,
            "time": table["time"],
            "start": start,
            "end": end,
            "sequential": start == before,
            "first_read": nth == 1,
            "run_opened": was_opened[run],
        }
    )
    in_order = np.empty_like(order)
    in_order[order] = np.arange(len(order))
    runs = table[begin].with_columns(
        size=moved[last] - (moved - size)[begin],
        offset=pl.lit(None, pl.Int64),
        opens=pl.lit(value=False),
        reads=pl.lit(value=False),
        closes=pl.lit(value=False),
        opened=was_opened,
        no_gap=np.logical_and.reduceat(no_gap & (~reads | (start <= reached)), begin),
        earlier_reads=np.logical_or.reduceat(earlier | reads, begin),
        position=pl.Series(position[known_position[last]]),
        furthest=furthest[last],
        time=table["time"][last],
        depth=depth[last],
        closed=ended[last],
        latest=np.append(first[begin[1:]], True),
    )
    return followed[in_order].filter(table["reads"][in_order]), runs


def _depth(steps: NDArray[np.int64], begins: NDArray[np.intp]) -> NDArray[np.int64]:
    """Sum steps up from each begin. Never go below 0: a trace may close what it did not see opened."""
    total = np.cumsum(steps)
    owner = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(steps))))
    total -= (total - steps)[begins][owner]
    # The lowest sum below 0 counts the closes without an open.
    below = running_maximum(np.maximum(-total, 0), owner)
    return np.asarray(total + below, np.int64)


def _earlier(values: NDArray[np.int64], before_all: int) -> NDArray[np.int64]:
    """Return the values shifted down by one row."""
    return np.append(before_all, values[:-1])
