"""Totals of each file: one row per file, summed over batches."""

from __future__ import annotations

import numpy as np
import polars as pl

from tiering.trace.block_sample import mixed

_FEWEST = 1 << 17
#: Most files kept. Beyond that, a share of them is kept, chosen by identity.
_MOST = 1 << 20
_FULL = 1 << 32

_MARKS = ("mapped_for_writing", "writable", "touched")
#: Operations that show a file was really used, not just opened, or that it is temporary.
_TOUCHES = ("read", "write", "mmap", "sync", "truncate", "unlink", "access")
_SUMS = ("opens", "reads", "writes", "bytes_read", "bytes_written", "mapped_bytes")
_EMPTY = pl.DataFrame(
    schema={
        "file": pl.UInt64,
        "path": pl.String,
        "inside": pl.Boolean,
        "mapped_for_writing": pl.Boolean,
        "writable": pl.Boolean,
        "touched": pl.Boolean,
        "highest_read": pl.Int64,
        **dict.fromkeys(_SUMS, pl.Int64),
    }
)
_NO_RUNS = pl.DataFrame(schema={"file": pl.UInt64, "furthest": pl.Int64, "runs": pl.Int64, "gapless": pl.Int64})


class FileTally:
    """Sums per file. New rows wait until they are as many as the summed ones; memory is one row per file.

    Beyond a million files only a share of them, chosen by identity, is kept: `rate`.
    """

    def __init__(self) -> None:
        self._files = [_EMPTY]
        self._ends = [_NO_RUNS]
        self._threshold = _FULL

    @property
    def rate(self) -> float:
        """The share of the files in the table, in (0, 1]."""
        return self._threshold / _FULL

    def add(self, data: pl.DataFrame, reads: pl.DataFrame, finished: pl.DataFrame) -> None:
        """Add a batch of events (EVENT_SCHEMA and `inside`), and the RunBatch for it."""
        op, size = pl.col("op"), pl.col("size")
        moves = size > 0
        highest = reads.group_by("file").agg(highest_read=pl.col("end").max())
        # Compute columns first and sum them afterwards: a filter within each group costs four times as much.
        counted = data.select(
            "file",
            "path",
            "inside",
            opens=op == "open",
            reads=(op == "read") & moves,
            writes=(op == "write") & moves,
            bytes_read=pl.when(op == "read").then(size).otherwise(0),
            bytes_written=pl.when(op == "write").then(size).otherwise(0),
            mapped_bytes=pl.when(op == "mmap").then(size).otherwise(0),
            mapped_for_writing=(op == "mmap") & (pl.col("flags") == "rw").fill_null(value=False),
            writable=(op == "open") & (pl.col("flags") != "r").fill_null(value=False),
            touched=op.is_in(_TOUCHES),
        )
        table = counted.group_by("file").agg(
            pl.col("path", "inside").first(), pl.col(_SUMS).sum(), pl.col(_MARKS).any()
        )
        table = self._chosen(table)
        table = table.join(highest, on="file", how="left").with_columns(pl.col("highest_read").fill_null(0))
        self._files.append(table.select(_EMPTY.columns).cast(_EMPTY.schema))
        if sum(map(len, self._files[1:])) > max(_FEWEST, len(self._files[0])):
            self._sum_up()
        self.add_finished(finished)

    def add_finished(self, finished: pl.DataFrame) -> None:
        """Add finished runs (RunBatch.finished)."""
        ends = finished.group_by("file", "furthest").agg(
            runs=pl.len().cast(pl.Int64), gapless=pl.col("no_gap").sum().cast(pl.Int64)
        )
        self._ends.append(self._chosen(ends))
        if sum(map(len, self._ends[1:])) > max(_FEWEST, len(self._ends[0])):
            self._ends = [self._summed_ends()]

    def table(self) -> pl.DataFrame:
        """Return one row per file: path, inside, sums, highest_read (B), runs, and whole_runs.

        A run is whole if it left no gap and reached the highest byte that any read of the file did.
        """
        files = self._sum_up()
        ends = self._summed_ends().join(files.select("file", "highest_read"), on="file")
        whole = pl.col("gapless").filter(pl.col("furthest") == pl.col("highest_read")).sum()
        runs = ends.group_by("file").agg(pl.col("runs").sum(), whole_runs=whole)
        return files.join(runs, on="file", how="left").with_columns(pl.col("runs", "whole_runs").fill_null(0))

    def _sum_up(self) -> pl.DataFrame:
        """Sum up to one row per file, and lower the share, for the whole trace, if there are too many."""
        self._files = [self._summed()]
        while len(self._files[0]) > _MOST and self._threshold > 1:
            self._threshold //= 2
            self._files = [self._chosen(self._files[0])]
            self._ends = [self._chosen(each) for each in self._ends]
        return self._files[0]

    def _chosen(self, table: pl.DataFrame) -> pl.DataFrame:
        if self._threshold == _FULL:
            return table
        hashed = mixed(table["file"].to_numpy()) >> np.uint64(32)
        return table.filter(pl.Series(hashed < self._threshold, dtype=pl.Boolean))

    def _summed(self) -> pl.DataFrame:
        return (
            pl.concat(self._files)
            .group_by("file")
            .agg(
                pl.col("path").first(),
                pl.col("inside").first(),
                pl.col(_MARKS).any(),
                pl.col("highest_read").max(),
                pl.col(_SUMS).sum(),
            )
        )

    def _summed_ends(self) -> pl.DataFrame:
        """Keep only the furthest end of each file, since only that can be a whole read, and the number of runs."""
        ends = pl.concat(self._ends).group_by("file", "furthest").agg(pl.col("runs", "gapless").sum())
        return (
            ends.sort("furthest")
            .group_by("file")
            .agg(pl.col("furthest").last(), pl.col("runs").sum(), pl.col("gapless").last())
        )
