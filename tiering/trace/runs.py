"""Runs of reads: what a process does with a file from one open to the next, across batches of events."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

_RUN = ["pid", "file", "run"]
_CARRIED = pl.Schema(
    {
        "op": pl.String,
        "file": pl.UInt64,
        "group": pl.Int32,
        "pid": pl.Int32,
        "offset": pl.Int64,
        "size": pl.Int64,
        "opened": pl.Boolean,
        "no_gap": pl.Boolean,
        "earlier_reads": pl.Boolean,
        "position": pl.Int64,
        "furthest": pl.Int64,
        "time": pl.Float64,
    }
)


class RunBatch(NamedTuple):
    """What a batch of events adds.

    reads: one row a read of data (file, group, time, start, end, sequential, visit), in order; finished: one row
    a run of reads that began with an open and is over (file, furthest, no_gap).
    """

    reads: pl.DataFrame
    finished: pl.DataFrame


class Runs:
    """Follows the runs of a trace. Memory grows with the files that are open.

    A read whose offset is not known is taken to follow the one before it, from byte 0 after an open. A read
    is sequential where it begins at the end of the run's last read, or at byte 0 as the run's first. A visit
    is the first read of a run; where a trace shows no opens, a read of another file than the process's last.
    """

    def __init__(self) -> None:
        self._open = pl.DataFrame(schema=_CARRIED)
        self._last = pl.DataFrame(schema={"pid": pl.Int32, "last": pl.UInt64})

    def add(self, events: pl.DataFrame) -> RunBatch:
        """Take the events of a batch (EVENT_SCHEMA, in order)."""
        rows = events.filter(pl.col("op").is_in(["open", "close"]) | ((pl.col("op") == "read") & (pl.col("size") > 0)))
        rows = rows.select(
            pl.col("op").cast(pl.String),
            "file",
            "group",
            "pid",
            "offset",
            "size",
            opened=pl.col("op") == "open",
            no_gap=pl.lit(value=True),
            earlier_reads=pl.lit(value=False),
            position=pl.when(pl.col("op") == "open").then(0),
            furthest=pl.when(pl.col("op") == "open").then(0),
            time="time",
        )
        table = pl.concat([self._open, rows.cast(_CARRIED)]).with_row_index("row")
        is_read = pl.col("op") == "read"
        table = table.with_columns(run=(pl.col("op") == "open").cum_sum().over("pid", "file"))
        begins = pl.coalesce("offset", pl.col("size").cum_sum().over(_RUN) - pl.col("size"))
        table = table.with_columns(start=pl.when(is_read).then(begins))
        ends = pl.col("start") + pl.col("size")
        table = table.with_columns(position=pl.coalesce("position", ends), furthest=pl.coalesce("furthest", ends))
        table = table.with_columns(
            before=pl.col("position").forward_fill().shift(1).over(_RUN).fill_null(0),
            reached=pl.col("furthest").cum_max().forward_fill().shift(1).over(_RUN).fill_null(0),
            nth_read=(is_read.cast(pl.Int64).cum_sum() + pl.col("earlier_reads").any()).over(_RUN),
            run_opened=pl.col("opened").any().over(_RUN),
        )
        self._open, finished = self._close(table)
        reads = table.filter(is_read)
        reads = reads.join(self._last, on="pid", how="left", maintain_order="left")
        elsewhere = pl.col("file").ne_missing(pl.coalesce(pl.col("file").shift(1).over("pid"), "last"))
        latest = reads.select("pid", last="file")
        self._last = pl.concat([self._last, latest]).unique("pid", keep="last", maintain_order=True)
        return RunBatch(
            reads.select(
                "file",
                "group",
                "time",
                "start",
                end=pl.col("start") + pl.col("size"),
                sequential=pl.col("start") == pl.col("before"),
                visit=pl.when("run_opened").then(pl.col("nth_read") == 1).otherwise(elsewhere),
            ),
            finished,
        )

    def rest(self) -> pl.DataFrame:
        """Give the runs that the trace left open, in the form of RunBatch.finished."""
        return self._open.filter("opened", "earlier_reads").select("file", "furthest", "no_gap")

    @staticmethod
    def _close(table: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Divide the runs of a table into those still open, as rows to carry on with, and those over."""
        is_read = pl.col("op") == "read"
        runs = table.group_by(_RUN, maintain_order=True).agg(
            pl.col("group").first(),
            pl.col("size").sum(),
            pl.col("opened").any(),
            no_gap=pl.col("no_gap").all() & ((pl.col("start") <= pl.col("reached")) | ~is_read).all(),
            earlier_reads=pl.col("earlier_reads").any() | is_read.any(),
            position=pl.col("position").drop_nulls().last(),
            furthest=pl.col("furthest").max(),
            time=pl.col("time").last(),
            closed=(pl.col("op") == "close").any(),
        )
        over = pl.col("closed") | (pl.col("run") < pl.col("run").max().over("pid", "file"))
        still = runs.filter(~over).with_columns(op=pl.lit("carry"), offset=pl.lit(None, pl.Int64))
        finished = runs.filter(over, pl.col("opened"), pl.col("earlier_reads"))
        return still.select(list(_CARRIED)).cast(_CARRIED), finished.select("file", "furthest", "no_gap")
