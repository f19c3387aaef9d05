"""Totals of each file, one row per file, summed over batches; and the figures of a profile that follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from tiering.trace.hash_share import HashShare, mixed
from tiering.trace.running_totals import share

_FEWEST = 1 << 17
#: Most files kept. Beyond that, a share of them is kept, chosen by identity.
_MOST = 1 << 20

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
        self._share = HashShare()

    @property
    def rate(self) -> float:
        """The share of the files in the table, in (0, 1]."""
        return self._share.rate

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
        while len(self._files[0]) > _MOST and self._share.halve():
            self._files = [self._chosen(self._files[0])]
            self._ends = [self._chosen(each) for each in self._ends]
        return self._files[0]

    def _chosen(self, table: pl.DataFrame) -> pl.DataFrame:
        if self.rate == 1:
            return table
        return table.filter(pl.Series(self._share.has(mixed(table["file"].to_numpy())), dtype=pl.Boolean))

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


def file_figures(files: pl.DataFrame, rate: float, unique: int) -> dict[str, Any]:
    """Return the fields of a TraceProfile that describe its files.

    files, rate: the table and the share of a FileTally. unique: distinct bytes read.
    """
    is_read = (files["bytes_read"] > 0) | (files["mapped_bytes"] > 0)
    is_written = (files["bytes_written"] > 0) | files["mapped_for_writing"]
    used = int((is_read | is_written).sum())
    opened = files.filter(pl.col("opens") > 0)
    again = opened.filter(pl.col("opens") > 1)["opens"]
    inputs, outputs = opened.filter(~pl.col("writable")), opened.filter("writable")
    highest = files.filter(pl.col("bytes_read") > 0)["highest_read"]
    return {
        "files": round(used / rate),
        "untouched_share": share(int((~inputs["touched"]).sum()), len(inputs)),
        "untouched_output_share": share(int((~outputs["touched"]).sum()), len(outputs)),
        "opens_per_file": share(int(opened["opens"].sum()), len(opened)),
        # Sorted, so that the sum does not depend on the order of files.
        "opens_deviation": float(np.std(np.sort(opened["opens"].to_numpy()))) if len(opened) else 0.0,
        "reopened_share": share(len(again), len(opened)),
        "reopened_once_share": share(int((again == 2).sum()), len(again)),
        "reopened_rarely_share": share(int((again <= 5).sum()), len(again)),
        "whole_file_share": share(int(files["whole_runs"].sum()), int(files["runs"].sum())),
        "read_only_files": share(int((is_read & ~is_written).sum()), used),
        "write_only_files": share(int((is_written & ~is_read).sum()), used),
        "read_write_files": share(int((is_read & is_written).sum()), used),
        "file_size_mean": share(int(highest.sum()), len(highest)),
        "file_size_spread": float(np.log10(np.maximum(highest.sort().to_numpy(), 1)).std()) if len(highest) else 0.0,
        "file_coverage": min(1.0, share(unique, int(highest.sum()) / rate)),
    }
