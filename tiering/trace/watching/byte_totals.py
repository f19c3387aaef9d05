"""The bytes that the kernel counts for each process, where no other source shows them: totals without a place."""

from __future__ import annotations

import polars as pl

from tiering.trace.events import EVENT_SCHEMA, UNPLACED
from tiering.trace.watching.observation import SourceUse
from tiering.trace.watching.source import NO_EVENTS, Look

#: The identity of the file that stands for all files whose names are unknown.
UNKNOWN_FILE = 0


class ByteTotals:
    """Bytes of read and write by process, from /proc/PID/io, less those that other sources placed.

    An event stands for all calls of a process in an interval. Its file and offset are unknown.
    """

    counted = True

    def use(self) -> SourceUse:
        """Return what the counters show."""
        return SourceUse(
            "byte totals",
            used=True,
            shows="the bytes and calls of read and write of each process, exactly",
            lacks="files and offsets, and how much was of pipes and sockets; and the end of the first process",
        )

    def fileno(self) -> int | None:
        """Return None: the kernel keeps the totals."""
        return None

    def drain(self) -> None:
        """Do nothing: the kernel keeps the totals."""

    def take(self, look: Look) -> pl.DataFrame:
        """Return the bytes that no event of `look` explains, a row for each process and direction."""
        placed: dict[tuple[int, str], int] = {}
        if len(look.events):
            sums = (
                look.events.filter(pl.col("op").is_in(["read", "write"]))
                .group_by("pid", "op")
                .agg(pl.col("size").sum())
            )
            placed = {(pid, op): size for pid, op, size in sums.rows()}
        rows = [
            (look.time, op, UNKNOWN_FILE, None, rest, pid, look.job, None, None, UNPLACED if op == "read" else None)
            for pid, count in look.counts.items()
            for op, size in (("read", count.bytes_read), ("write", count.bytes_written))
            if (rest := size - placed.get((pid, op), 0)) > 0
        ]
        return pl.DataFrame(rows, EVENT_SCHEMA, orient="row") if rows else NO_EVENTS

    def notes(self) -> list[str]:
        """Return nothing."""
        return []

    def close(self) -> None:
        """Do nothing."""
