"""All sources of evidence on one job: what they found at a look, put together."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from tiering.system.process_tree import TreeLook
from tiering.trace.completeness import Completeness
from tiering.trace.events import UNPLACED, in_order
from tiering.trace.watching.byte_totals import ByteTotals
from tiering.trace.watching.data_files import DataFiles
from tiering.trace.watching.file_positions import FilePositions
from tiering.trace.watching.observation import SourceUse
from tiering.trace.watching.page_faults import PageFaultSource, open_page_faults
from tiering.trace.watching.pipe_traffic import PipeTraffic
from tiering.trace.watching.source import NO_EVENTS, Look, Source
from tiering.trace.watching.system_calls import SystemCalls, open_system_calls
from tiering.trace.watching.touched import Touched
from tiering.trace.watching.warm_maps import WarmMaps

#: The share of the bytes read whose places may be unknown while it is still told what was touched.
_UNPLACED = 0.05
#: s of processor time that a source takes at a look for few events.
_OF_A_LOOK = 0.003


class Found(NamedTuple):
    """What all sources found at a look; see `Observation`."""

    events: pl.DataFrame
    files: int
    touched: int | None
    touched_again: int | None
    mapped: int | None


class Evidence:
    """The sources of a job, the most exact first. Close it to give them back."""

    def __init__(self, tree: TreeLook, files: DataFiles, *, warm_maps: bool) -> None:
        """Open the sources for the processes of a tree."""
        self._files, self._touched = files, Touched()
        self._open = ExitStack()
        #: The files that were read at unknown places, with their sizes.
        self._somewhere: dict[str, int | None] = {}
        #: s of processor time that the sources took for the number of events, beyond what a look takes.
        self.for_events = 0.0
        self._moved = self._nameless = self._reads = self._writes = self._mapped_read = 0
        self._root = next(iter(tree.alive), 0)
        self._faults = open_page_faults(tree, files)
        self._calls = open_system_calls(tree, files, with_maps=not isinstance(self._faults, PageFaultSource))
        self._positions, self._pipes = FilePositions(files), PipeTraffic()
        shown = self._faults.shown if isinstance(self._faults, PageFaultSource) else dict
        self._warm = WarmMaps(files, shown) if warm_maps else None
        found: list[Source | None] = [self._calls, self._faults, self._warm]
        # The calls leave nothing to positions and totals, which else come last: they are what no other source places.
        found += [] if self._sees_calls else [self._positions, ByteTotals()]
        self.sources: tuple[Source, ...] = tuple(source for source in found if source is not None)
        for source in self.sources:
            self._open.callback(source.close)

    def take(self, look: Look) -> Found:
        """Return what happened since the look before."""
        if not self._sees_calls:
            look = replace(look, counts=self._pipes.without(look))
        parts, counted = [NO_EVENTS], [NO_EVENTS]
        mapped = 0
        for source in self.sources:
            before = time.process_time()
            found = source.take(replace(look, events=pl.concat(counted)))
            if source is self._calls or source is self._faults:
                self.for_events += max(0.0, time.process_time() - before - _OF_A_LOOK)
            if len(found):
                parts.append(found)
                if source.counted:
                    counted.append(found)
                else:
                    is_read = found["op"] == "read"
                    read = int(found["size"].filter(is_read).sum())
                    mapped, self._mapped_read = mapped + read, self._mapped_read + read
                    self._reads += int(is_read.sum())
        events = in_order(pl.concat(parts))
        self._count(events, look)
        touched, again = self._of_dataset(events)
        is_seen = isinstance(self._faults, PageFaultSource)
        names = self._faults.maps.names() if isinstance(self._faults, PageFaultSource) else set()
        opened = self._calls.paths() if isinstance(self._calls, SystemCalls) else self._positions.paths
        return Found(events, len(names | opened), touched, again, mapped if is_seen else None)

    def started(self) -> list[tuple[int, float]]:
        """Return the processes that members of the tree began since the last look: number, and s since boot."""
        return self._faults.started() if isinstance(self._faults, PageFaultSource) else []

    @property
    def _sees_calls(self) -> bool:
        return isinstance(self._calls, SystemCalls)

    def completeness(self) -> Completeness:
        """Return what the sources showed of the job so far."""
        faults = self._faults if isinstance(self._faults, PageFaultSource) else None
        return Completeness(
            opens=self._sees_calls,
            names=self._nameless <= _UNPLACED * self._moved,
            reads=None if self._sees_calls else self._reads,
            writes=None if self._sees_calls else self._writes,
            mapped=self._warm is not None and self._warm.use().used,
            mapped_unsure=self._mapped_unsure(faults),
            mapped_read=self._mapped_read,
            mapped_files=self._mapped_files(faults),
            unplaced_file_bytes=self._unplaced_file_bytes(),
        )

    def _mapped_files(self, faults: PageFaultSource | None) -> int | None:
        """Return the B of the data files that were mapped; None if some are unknown."""
        sizes = [self._files.size(path, self._root) for path in (faults.maps.paths.values() if faults else ())]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def _mapped_unsure(self, faults: PageFaultSource | None) -> int:
        """Return the B of mapped files that may have been read beyond those in the events."""
        if self._warm is None or not self._warm.use().used:
            return 0 if faults is None else faults.unsure
        return self._warm.unsure + (0 if faults is None else faults.unseen(self._warm.covered))

    def _count(self, events: pl.DataFrame, look: Look) -> None:
        """Add up the calls, and the bytes whose files are unknown."""
        # Of columns, not of tables: for a table, Polars wakes its threads.
        op, size, path = (events[name] for name in ("op", "size", "path"))
        is_moved = (op == "read") | (op == "write")
        self._moved += int(size.filter(is_moved).sum())
        self._nameless += int(size.filter(is_moved & path.is_null()).sum())
        if (is_nowhere := _is_nowhere(events) & path.is_not_null()).any():
            somewhere = events.filter(is_nowhere).unique("path", keep="first")
            for name, pid in somewhere.select("path", "pid").rows():
                self._somewhere.setdefault(name, self._files.size(name, pid))
        self._reads += sum(count.reads for count in look.counts.values())
        self._writes += sum(count.writes for count in look.counts.values())

    def _unplaced_file_bytes(self) -> int | None:
        """Return the B of the files that were read at unknown places; None if some are unknown."""
        sizes = list(self._somewhere.values())
        return sum(size for size in sizes if size is not None) if sizes and None not in sizes else None

    def uses(self) -> tuple[SourceUse, ...]:
        """Return what each source shows and lacks."""
        return tuple(source.use() for source in self.sources)

    def notes(self) -> list[str]:
        """Return the remarks of all sources."""
        return [*(note for source in self.sources for note in source.notes()), *self._pipes.notes()]

    def close(self) -> None:
        """Give all sources back."""
        self._open.close()

    def _of_dataset(self, events: pl.DataFrame) -> tuple[int | None, int | None]:
        """Return the B read for the first time and again; None if the places of too many are unknown."""
        size, is_read = events["size"], events["op"] == "read"
        nowhere = int(size.filter(_is_nowhere(events)).sum())
        placed = events.select("file", "offset", "size", "path").filter(is_read & events["offset"].is_not_null())
        if self._files.has_dataset:
            names = placed["path"].unique().drop_nulls()
            mine = [name for name in names if self._files.is_of_dataset(name)]
            placed = placed.filter(pl.col("path").is_in(mine))
        touched = self._touched.add(placed) if len(placed) else (0, 0)
        return (None, None) if nowhere > _UNPLACED * int(size.filter(is_read).sum()) else touched


def _is_nowhere(events: pl.DataFrame) -> pl.Series:
    """Return which events are reads without even a likely position, as events.IS_NOWHERE has it."""
    is_unplaced = (events["flags"] == UNPLACED).fill_null(value=False)
    return is_unplaced & (events["op"] == "read") & events["offset"].is_null()
