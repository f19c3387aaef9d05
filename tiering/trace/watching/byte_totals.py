"""The bytes that the kernel counts for each process, where no other source shows them: totals without a place."""

from __future__ import annotations

import polars as pl

from tiering.trace.events import EVENT_SCHEMA, UNPLACED
from tiering.trace.watching.observation import SourceUse
from tiering.trace.watching.source import NO_EVENTS, KeptByKernel, Look, moved_bytes

#: The identity of the file that stands for all files whose names are unknown.
UNKNOWN_FILE = 0


class ByteTotals(KeptByKernel):
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

    def take(self, look: Look) -> pl.DataFrame:
        """Return the bytes that no event of `look` explains, a row for each process and direction."""
        placed = moved_bytes(look.events)
        rows = [
            (look.time, op, UNKNOWN_FILE, None, rest, pid, look.job, None, None, UNPLACED if op == "read" else None)
            for pid, count in look.counts.items()
            for op, size in (("read", count.bytes_read), ("write", count.bytes_written))
            if (rest := size - placed.get((pid, op), 0)) > 0
        ]
        return pl.DataFrame(rows, EVENT_SCHEMA, orient="row") if rows else NO_EVENTS
