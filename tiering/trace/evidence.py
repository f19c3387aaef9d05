"""What a report shows of a trace beside its profile, collected in the same pass and in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tiering.trace.access_sizes import MOVES, AccessSizes, SizeCounter
from tiering.trace.busiest import Busiest, BusyTally, counted
from tiering.trace.call_times import CallTimer, CallTimes
from tiering.trace.process_times import ProcessTimer, ProcessTimes
from tiering.trace.timeline import Timeline, TimelineBinner


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a trace shows, without the machinery of programs.

    Attributes:
        timeline: Bytes over time; None without times.
        sizes: How large the accesses are.
        calls: How long the calls of each operation take; empty without durations.
        processes: The busiest processes.
        files: The busiest files.
        process_times: What the processes do over time; None without times or durations.
    """

    timeline: Timeline | None
    sizes: AccessSizes
    calls: list[CallTimes]
    processes: Busiest
    files: Busiest
    process_times: ProcessTimes | None

    def sizes_explain_slow(self, calls: CallTimes) -> bool:
        """Return whether calls that take ten times the median may do so because they move far more than the others."""
        return calls.tail_share > 0 and self.sizes.share_of_large(calls.op) >= calls.tail_share / 2


class EvidenceCollector:
    """Evidence while its events arrive."""

    def __init__(self) -> None:
        self._timeline, self._sizes, self._calls = TimelineBinner(), SizeCounter(), CallTimer()
        self._processes, self._files, self._times = BusyTally("pid"), BusyTally("file"), ProcessTimer()

    def add(self, batch: pl.DataFrame, data: pl.DataFrame) -> None:
        """Add a batch of events, and those of them that are not of the machinery of programs (FileMarks)."""
        if batch.is_empty():
            return
        moved = data.filter(pl.col("op").is_in(MOVES), pl.col("size") > 0)
        self._timeline.add(moved, begin=float(batch["time"].to_numpy().min()))
        self._sizes.add(moved)
        rows = counted(data)
        self._processes.add(rows)
        self._files.add(rows)
        timed = data.filter(pl.col("duration").is_not_null())
        if len(timed):
            self._calls.add(timed)
            self._times.add(data)

    def found(self, *, timed: bool = True) -> Evidence:
        """Return the evidence of the events added. timed: whether their times are more than line numbers."""
        return Evidence(
            timeline=self._timeline.found() if timed else None,
            sizes=self._sizes.found(),
            calls=self._calls.found(),
            processes=self._processes.found(),
            files=self._files.found(),
            process_times=self._times.found() if timed else None,
        )
