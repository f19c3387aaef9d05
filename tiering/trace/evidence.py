"""What a report shows of a trace beside its profile, collected in the same pass and in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tiering.trace.access_sizes import MOVES, AccessSizes, SizeCounter
from tiering.trace.busiest import Busiest, BusyTally, counted
from tiering.trace.call_times import CallTimer, CallTimes
from tiering.trace.process_times import ProcessTimer, ProcessTimes
from tiering.trace.program_files import is_noise
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


class EvidenceCollector:
    """Evidence while its events arrive.

    dataset_root: a directory whose files are data, even if they look like those of a library.
    """

    def __init__(self, dataset_root: Path | None = None) -> None:
        self._noise = is_noise(dataset_root)
        self._timeline, self._sizes, self._calls = TimelineBinner(dataset_root), SizeCounter(), CallTimer()
        self._processes, self._files, self._times = BusyTally("pid"), BusyTally("file"), ProcessTimer()

    def add(self, batch: pl.DataFrame) -> None:
        """Add a batch of events."""
        if batch.is_empty():
            return
        paths = batch.select("file", "path").unique("file").with_columns(noise=self._noise)
        data = batch
        if paths["noise"].any():
            data = batch.join(paths.select("file", "noise"), on="file", how="left", maintain_order="left")
            data = data.filter(~pl.col("noise"))
        moved = data.filter(pl.col("op").is_in(MOVES), pl.col("size") > 0)
        self._timeline.add_moves(moved, paths, begin=float(batch["time"].to_numpy().min()))
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
