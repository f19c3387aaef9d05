"""Figures of a whole trace that are plain sums."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl

from tiering.trace.events import Unplaced


def share(part: float, whole: float) -> float:
    """Return part / whole, or 0 if whole is 0."""
    return part / whole if whole else 0.0


class Span:
    """The time span of the trace, and its processes."""

    def __init__(self) -> None:
        self.events = 0
        self.processes: set[int] = set()
        self._first, self._last = float("inf"), float("-inf")

    def add(self, batch: pl.DataFrame) -> None:
        """Add a batch of events (EVENT_SCHEMA)."""
        if batch.is_empty():
            return
        self.events += len(batch)
        self.processes.update(batch["pid"].unique())
        ends = batch["time"] + batch["duration"].fill_null(0.0)
        self._first = min(self._first, float(batch["time"].to_numpy().min()))
        self._last = max(self._last, float(ends.to_numpy().max()))

    @property
    def begin(self) -> float:
        """When the first event began, in s."""
        return self._first if self.events else 0.0

    @property
    def seconds(self) -> float:
        """The time from the first event to the end of the last, in s."""
        return self._last - self._first if self.events else 0.0


class Sums:
    """Sums over the whole trace, and over each process."""

    def __init__(self) -> None:
        names = (
            "opens",
            "reads",
            "writes",
            "bytes_read",
            "bytes_written",
            "mapped_bytes",
            "accesses",
            "bytes_accessed",
        )
        self.totals = dict.fromkeys(names, 0)
        self.placed_bytes_written = 0
        self.unplaced = Unplaced()
        self._processes = [pl.DataFrame(schema={"pid": pl.Int32, "size": pl.Int64})]

    def add(self, data: pl.DataFrame) -> None:
        """Add a batch of data events (EVENT_SCHEMA)."""
        op, size = pl.col("op"), pl.col("size")
        self.unplaced.add(data)
        counted = data.select(
            opens=(op == "open").sum(),
            reads=((op == "read") & (size > 0)).sum(),
            writes=((op == "write") & (size > 0)).sum(),
            bytes_read=size.filter(op == "read").sum(),
            bytes_written=size.filter(op == "write").sum(),
            mapped_bytes=size.filter(op == "mmap").sum(),
            accesses=(op == "access").sum(),
            bytes_accessed=size.filter(op == "access").sum(),
            placed=size.filter(op == "write", pl.col("offset").is_not_null()).sum(),
        ).row(0, named=True)
        self.placed_bytes_written += int(counted.pop("placed"))
        for name, value in counted.items():
            self.totals[name] += int(value)
        moved = data.filter(op.is_in(["read", "write"])).group_by("pid").agg(size.sum())
        self._processes = [pl.concat([*self._processes, moved]).group_by("pid").agg(size.sum())]

    def share_of(self, processes: Collection[int]) -> float:
        """Return the share of the moved bytes that some processes moved."""
        sizes = self._processes[0]
        mine = sizes.filter(pl.col("pid").is_in(list(processes)))["size"] if processes else sizes["size"].head(0)
        return share(int(mine.sum()), int(sizes["size"].sum()))

    def busiest_share(self) -> float:
        """Return the share of the moved bytes that the busiest hundredth of the processes moved, at least one."""
        sizes = np.sort(self._processes[0]["size"].to_numpy())[::-1]
        return share(int(sizes[: max(1, len(sizes) // 100)].sum()), int(sizes.sum()))
