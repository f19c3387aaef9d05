"""Reads of mapped files that stay in memory and cause no page fault any more, by the accessed bits of their pages."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable

import polars as pl

from tiering.system.accessed_bits import clear_accessed, used_maps
from tiering.trace.events import EVENT_SCHEMA, UNPLACED
from tiering.trace.watching.data_files import DataFiles, identity
from tiering.trace.watching.observation import SourceUse
from tiering.trace.watching.source import NO_EVENTS, KeptByKernel, Look

#: The share of one core that reading and clearing the bits may take.
_SHARE = 0.006
#: If more than this share of a file was used between two looks, some of it was perhaps used twice.
_FULL = 0.5

#: Takes the B that page faults showed of a file since the last call, by process and file: counted, and at the most.
TakeFaults = Callable[[], dict[tuple[int, int], tuple[int, int]]]


class WarmMaps(KeptByKernel):
    """Counts the pages of mapped files that were used between two looks, each once, however often it was used."""

    counted = False

    def __init__(self, files: DataFiles, faults: TakeFaults) -> None:
        """Begin. faults: what page faults show already, which is not counted again."""
        self._files, self._faults = files, faults
        self._cleared: set[int] = set()
        #: Clock ticks since boot: the bits of what started later say what it used since the watching began.
        self._begun = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
        #: Every process whose bits were read after they were cleared.
        self.covered: set[int] = set()
        #: B that page faults may still explain, as the last of them are reported later, by process and file.
        self._open: dict[tuple[int, str], int] = {}
        self._due = 0.0
        self._looks = self._full = 0
        self._refused = ""
        #: B that may have been used beyond those that were counted.
        self.unsure = 0

    def use(self) -> SourceUse:
        """Return what accessed bits show."""
        return SourceUse(
            "accessed bits",
            used=not self._refused,
            shows="how much of the mapped files was used between two looks, also of what stays in memory",
            lacks="which pages, in which order, and what was used twice between two looks",
            reason=self._refused,
        )

    def take(self, look: Look) -> pl.DataFrame:
        """Return the bytes of mapped files that were used, at unknown places, a row for each process and file."""
        if time.monotonic() < self._due:
            return NO_EVENTS
        begin = time.thread_time()
        shown = self._faults()
        before, self._open = self._open, {}
        rows = [row for pid in look.tree.alive for row in self._used(pid, shown, look, before)]
        rows += [_row(look, pid, path, size) for (pid, path), size in before.items()]
        self._cleared &= look.tree.alive.keys()
        self._due = time.monotonic() + (time.thread_time() - begin) / _SHARE
        return pl.DataFrame(rows, EVENT_SCHEMA, orient="row") if rows else NO_EVENTS

    def _used(
        self,
        pid: int,
        shown: dict[tuple[int, int], tuple[int, int]],
        look: Look,
        before: dict[tuple[int, str], int],
    ) -> list[tuple[object, ...]]:
        """Return the events of one process, and clear its bits. before: `_open` of the last look, emptied by this."""
        try:
            maps = [each for each in used_maps(pid) if self._files.is_data(each.path)]
            if maps:
                clear_accessed(pid)
        except OSError as error:
            self._refused = f"{error.strerror} for process {pid}"
            return []
        if not maps:
            return []
        is_first, self._cleared = pid not in self._cleared, self._cleared | {pid}
        if is_first and look.tree.alive[pid].started < self._begun:
            # The bits say what was used at any time before.
            return []
        self.covered.add(pid)
        used: Counter[str] = Counter()
        resident: Counter[str] = Counter()
        huge: Counter[str] = Counter()
        for each in maps:
            used[each.path] += each.used
            resident[each.path] += each.resident
            huge[each.path] += min(each.used, each.huge)
        rows: list[tuple[object, ...]] = []
        for path, size in used.items():
            counted, most = shown.get((pid, identity(path)), (0, 0))
            self._looks += 1
            # A process that has just mapped a file has only what it used in memory: the whole file is the measure.
            if size > _FULL * (self._files.size(path, pid) or resident[path]):
                self._full += 1
                self.unsure += size
            # The kernel marks the neighbours that it maps with a page as used, too.
            # A piece of 2 MiB is used as a whole, however little of it was read.
            self.unsure += max(0, huge[path] - counted)
            left = size - huge[path] - max(counted, most)
            self.unsure += max(0, min(size, most) - counted)
            if left > 0:
                self._open[pid, path] = left
            if (sure := before.pop((pid, path), 0) + min(0, left)) > 0:
                rows.append(_row(look, pid, path, sure))
        return rows

    def notes(self) -> list[str]:
        """Say when the bytes are only the least."""
        notes = []
        if self._full:
            notes.append(
                f"In {self._full:,} of {self._looks:,} looks at accessed bits over half of a mapped file had been "
                "used, so some of it was perhaps read more often than is counted."
            )
        return notes


def _row(look: Look, pid: int, path: str, size: int) -> tuple[object, ...]:
    return look.time, "read", identity(path), None, size, pid, look.job, None, path, UNPLACED
