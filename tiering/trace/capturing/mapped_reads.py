"""Reads of mapped files beside the calls of a recorded command: no call shows them, page faults do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

import polars as pl

from tiering.system.page_fault_events import PageFaultEvents
from tiering.system.process_files import Counters, counters_of, stat_of
from tiering.system.process_tree import ProcessTree
from tiering.trace.completeness import Completeness
from tiering.trace.parquet_writer import TraceWriter
from tiering.trace.watching.data_files import DataFiles
from tiering.trace.watching.page_faults import PageFaultSource, open_page_faults
from tiering.trace.watching.source import NO_EVENTS, Look

#: s between looks at the processes.
_LOOK = 0.5


class MappedReads:
    """Follows the page faults of a command, and puts them between its calls."""

    def __init__(self, pid: int, events: PageFaultEvents | None, writer: TraceWriter, *, without: bool = False) -> None:
        """Follow a process and what it forks.

        events: attached to it, or None where the system does not allow it. writer: gets the events. without: leave out
        what the first process reads, which is a tracer.
        """
        self._writer = writer
        self._job = pid
        self._without = pid if without else -1
        #: B of the reads that were found.
        self.bytes = 0
        root = stat_of(pid)
        self._tree = ProcessTree([] if root is None else [root.identity])
        tree, self._files = self._tree.look(), DataFiles(None)
        self._source = (
            open_page_faults(tree, self._files)
            if events is None
            else PageFaultSource(events, tree, self._files, eases=False)
        )
        self._counts: dict[int, Counters] = {}
        self._waiting: list[pl.DataFrame] = []
        self._looked = time.monotonic()
        self._apart = time.time() - self._looked

    def look(self, *, now: bool = False) -> None:
        """Take the faults since the last look, if it is time. now: in any case."""
        seconds = time.monotonic() - self._looked
        if not now and seconds < _LOOK:
            self._source.drain()
            return
        self._looked += seconds
        tree = self._tree.look()
        counts = {}
        for pid in tree.alive:
            # Those of a program that its user may not inspect are unknown.
            with suppress(PermissionError):
                if (found := counters_of(pid)) is not None:
                    counts[pid] = found
        moved = {pid: found.minus(self._counts[pid]) for pid, found in counts.items() if pid in self._counts}
        self._counts = counts
        reads = self._source.take(Look(self._looked + self._apart, seconds, tree, moved, self._job))
        # The calls show the maps.
        reads = reads.filter((pl.col("op") != "mmap") & (pl.col("pid") != self._without))
        self._waiting.append(reads)

    def add(self, calls: pl.DataFrame) -> None:
        """Write calls (EVENT_SCHEMA, in order of time), with the faults before the last of them."""
        if not len(calls):
            return
        self._job = calls["group"][0]
        self._waiting = [self._taken()]
        sure = int(self._waiting[0]["time"].search_sorted(calls["time"][-1], side="right"))
        self._write(self._waiting[0][:sure], calls)
        self._waiting = [self._waiting[0][sure:]]

    def _write(self, reads: pl.DataFrame, calls: pl.DataFrame) -> None:
        # Of a program the first part is mapped before the one with its code, which tells it from data.
        paths = [path for path in reads["path"].unique().drop_nulls() if self._files.is_data(path)]
        reads = reads.filter(pl.col("path").is_in(paths))
        self.bytes += int(reads.filter(pl.col("op") == "read")["size"].sum())
        self._writer.add(pl.concat([calls, reads]).sort("time", maintain_order=True))

    def _taken(self) -> pl.DataFrame:
        return pl.concat([NO_EVENTS, *self._waiting]).sort("time").with_columns(group=pl.lit(self._job, pl.Int32))

    def finish(self) -> tuple[Completeness, Sequence[str]]:
        """Write the last faults. Return what they showed, and remarks."""
        self.look(now=True)
        self.look(now=True)
        self._write(self._taken(), NO_EVENTS)
        self._source.close()
        if not isinstance(self._source, PageFaultSource):
            reason = self._source.use().reason
            return Completeness(), [f"Reads of mapped files are not recorded: {reason}."] if self._is_mapped() else []
        # Pages that stay in memory are touched again without a fault, so what is seen is not all.
        return Completeness(mapped_once=not self._source.lost, mapped_unsure=self._source.unsure), self._source.notes()

    def _is_mapped(self) -> bool:
        return self._writer.mapped_bytes > 0
