"""Reads of mapped files, from page faults: which pages of which file, and when."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl

from tiering.system.accessed_bits import used_maps
from tiering.system.page_fault_events import PageFaultEvents
from tiering.system.perf_records import Change, Faults, Forked
from tiering.system.process_tree import TreeLook
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.watching.data_files import DataFiles, identity
from tiering.trace.watching.fault_runs import NO_FAULTS, PAGE, PageFaults, Runs, by_thread, runs_of, together
from tiering.trace.watching.mapped_data import MappedData
from tiering.trace.watching.observation import SourceUse
from tiering.trace.watching.source import NO_EVENTS, Look, Source, Unavailable
from tiering.units import format_bytes, format_percent

#: B by which the bytes that dirtied pages may exceed those written by calls, as whole pages are counted.
_SLACK = 1 << 16
#: s for which the last fault of a thread waits for the one that continues it.
_HELD = 0.25
#: Minor faults a second that are not worth their cost, 0.5 us each to the job: where those of mapped files are less
#: than a share of them, and in any case; and looks without them after that. Each copy of a sample causes others, too.
_TOO_MANY, _FAR_TOO_MANY = 10_000, 60_000
_WORTH = 0.003
#: s of as many faults from which on minor ones wait for the next look.
_BURST = 2.0
_PAUSE = 9
#: The share of one core for looking which files are mapped in large pieces.
_HUGE_SHARE = 0.002
#: s between two readings of all maps, which find those that moved.
_REFRESH = 20.0
_SHOWS = "which pages of mapped files are touched for the first time since they were mapped or dropped, and when"
_LACKS = (
    "touches of pages that stay in memory, the extent of a read within 64 KiB of a fault, and whether a page of a file "
    "mapped for writing was read or written"
)


def open_page_faults(tree: TreeLook, files: DataFiles, processors: Sequence[int] | None = None) -> Source:
    """Attach to the processes of a tree. processors: as for `PageFaultEvents`."""
    events = None
    try:
        events = PageFaultEvents(processors)
        for pid in tree.alive:
            events.attach(pid)
    except OSError as error:
        if events is not None:
            events.close()
        return Unavailable(SourceUse("page faults", used=False, shows=_SHOWS, lacks=_LACKS, reason=_refused(error)))
    return PageFaultSource(events, tree, files)


def _refused(error: OSError) -> str:
    """Say why the kernel refused the events."""
    try:
        paranoid = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    except (OSError, ValueError):
        return "this kernel has no perf events"
    if error.errno in {errno.EACCES, errno.EPERM} and paranoid > 2:
        return (
            f"/proc/sys/kernel/perf_event_paranoid is {paranoid}, which keeps them to root: "
            "sysctl kernel.perf_event_paranoid=2 allows them"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.ENOSYS}:
        return (
            "the system refuses perf_event_open (seccomp, as in containers, or too little lockable memory: ulimit -l)"
        )
    return os.strerror(error.errno or 0).lower()


class PageFaultSource:
    """Turns page faults into reads of mapped files."""

    counted = False

    def __init__(self, events: PageFaultEvents, tree: TreeLook, files: DataFiles, *, eases: bool = True) -> None:
        """Begin. eases: whether to leave out minor faults for a while if they are many and of no use."""
        self._events, self._eases = events, eases
        self.maps = MappedData(files)
        self._faults: list[Faults] = []
        self._changes: list[Change] = []
        self._held = NO_FAULTS
        #: The files that are mapped in pieces of 2 MiB, and when to look for more.
        self._huge: set[int] = set()
        self._huge_due = 0.0
        #: What was found since the last call of `shown`, if anybody calls it.
        self._shown: list[pl.DataFrame] | None = None
        self._lost = self._least = self._counted = self._most = 0
        #: Faults since the last look; and whether minor ones are switched off.
        self._waiting, self._is_off = 0, False
        self._looks = self._looks_without = self._pause = self._floods = 0
        #: Whether the last look with minor faults had enough of mapped files.
        self._worth = False
        #: B of each map that existed while minor faults were off, by process, place in memory and file.
        self._unseen: dict[tuple[int, int, int], int] = {}
        self._refreshed = time.monotonic()
        for pid in tree.alive:
            self.maps.read(pid)

    def use(self) -> SourceUse:
        """Return what page faults show."""
        return SourceUse("page faults", used=True, shows=_SHOWS, lacks=_LACKS)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when a ring is half full."""
        return self._events.fileno()

    def drain(self) -> None:
        """Empty the rings."""
        taken = self._events.take()
        self._faults += taken.faults
        self._changes += taken.changes
        self._lost += taken.lost
        self._waiting += sum(len(each.time) for each in taken.faults)
        if self._eases and not self._is_off and self._waiting > _BURST * self._bearable():
            # Whether they were worth it shows at the look.
            self._events.watch_minor(on=False)
            self._is_off = True
        if taken.lost:
            # A lost record may be that of a map.
            self._refreshed = float("-inf")

    def started(self) -> list[tuple[int, float]]:
        """Empty the rings, and return the processes that began since the last look: number, and s since boot."""
        self.drain()
        apart = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        forks = [each for each in self._changes if isinstance(each, Forked) and each.pid != each.parent]
        return [(each.pid, each.time / 1e9 + apart) for each in forks]

    def close(self) -> None:
        """Detach from all processes."""
        self._events.close()

    def take(self, look: Look) -> pl.DataFrame:
        """Return the reads of mapped files since the look before, and the maps that were made."""
        self.drain()
        self._attach(look)
        records, changes, self._faults, self._changes = self._faults, self._changes, [], []
        apart = time.time() - time.monotonic()
        found = self.maps.resolved(records, changes, sorted(self._events.majors), apart)
        self._ease(sum(len(each.time) for each in records), len(found.time), look.seconds)
        if time.monotonic() - self._refreshed > _REFRESH:
            self._refreshed = time.monotonic()
            for pid in look.tree.alive:
                self.maps.read(pid)
        self._find_huge(found)
        runs = self._runs(found, look.time - _HELD if look.tree.alive else float("inf"))
        events = self._table(runs, look)
        for stat in look.tree.ended:
            self._events.forget(stat.pid)
            self.maps.forget(stat.pid)
        return events

    @property
    def lost(self) -> int:
        """Faults that are missing."""
        return self._lost

    @property
    def unsure(self) -> int:
        """Return the B of mapped files that may have been read beyond those in the events."""
        return max(0, self._most - self._counted) + self.unseen()

    def unseen(self, but: Collection[int] = ()) -> int:
        """Return the B of the maps that processes had while minor faults were off, but some processes."""
        return sum(size for (pid, _, _), size in self._unseen.items() if pid not in but)

    def shown(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Return the B counted, and at the most, of each process and file since the last call; the first gives none."""
        parts, self._shown = self._shown or [], []
        if not parts:
            return {}
        sums = pl.concat(parts).group_by("pid", "file").agg(pl.col("size", "most").sum())
        return {(pid, file): (size, most) for pid, file, size, most in sums.rows()}

    def notes(self) -> list[str]:
        """Return what was lost, and how sure the bytes are."""
        notes = []
        if self._lost:
            notes.append(f"{self._lost:,} page faults came faster than they could be read, and are missing.")
        if self._most > self._least:
            notes.append(
                f"Of mapped files {format_bytes(self._counted)} are counted as read. Page faults show at least "
                f"{format_bytes(self._least)} and at most {format_bytes(self._most)}, since one maps up "
                "to 64 KiB; later touches of the same memory cause none."
            )
        if self._looks_without:
            share = format_percent(self._looks_without / self._looks)
            notes.append(
                f"In {share} of the looks only faults that waited for storage were watched: the others were too many."
            )
        if self._events.missed:
            notes.append(
                f"{self._events.missed:,} threads could not be watched for page faults: {self._events.reason}."
            )
        return notes

    def _attach(self, look: Look) -> None:
        """Attach to processes and threads that the kernel does not include by itself."""
        inherited = (
            {each.pid for each in self._changes if isinstance(each, Forked)} if self._events.includes_new else ()
        )
        fresh = [stat.pid for stat in look.tree.came if stat.pid not in inherited]
        for pid in fresh if self._events.includes_new else look.tree.alive:
            self._events.attach(pid)
        for pid in fresh:
            self.maps.read(pid)

    def _find_huge(self, found: PageFaults) -> None:
        """Look which files are mapped in large pieces, in the processes that had minor faults on data files."""
        now, begin = time.monotonic(), time.thread_time()
        if now < self._huge_due:
            return
        for pid in pl.Series(found.pid[~found.is_major]).unique():
            with suppress(OSError):
                self._huge |= {identity(each.path) for each in used_maps(pid) if each.huge}
        self._huge_due = now + (time.thread_time() - begin) / _HUGE_SHARE

    def _ease(self, records: int, useful: int, seconds: float) -> None:
        """Leave out minor faults for a while if too many of them are of no mapped file."""
        self._looks += 1
        if not self._eases:
            return
        self._waiting = 0
        self._looks_without += self._is_off
        if self._is_off:
            self._unseen |= {
                (pid, each.start, each.file): each.end_in_file - each.offset
                for pid, table in self.maps.tables.items()
                for each in table.maps
            }
        if self._pause:
            self._pause -= 1
        else:
            self._worth = useful > _WORTH * records
            is_flood = records > self._bearable() * max(seconds, 0.1) and useful < records / 2
            self._floods = self._floods + 1 if is_flood else 0
            # Programs that start cause many faults for a moment.
            self._pause = _PAUSE if self._floods > 1 else 0
        if self._is_off != bool(self._pause):
            self._is_off = bool(self._pause)
            self._events.watch_minor(on=not self._is_off)

    def _bearable(self) -> int:
        """Return how many minor faults a second are worth their cost."""
        return _FAR_TOO_MANY if self._worth else _TOO_MANY

    def _runs(self, found: PageFaults, until: float) -> Runs:
        """Join faults to runs, but hold back the last of each thread since `until`: the next look may continue it."""
        faults = by_thread(together([self._held, found]))
        runs, of_fault = runs_of(faults, self._huge)
        is_last = np.append(faults.thread[1:] != faults.thread[:-1], np.ones(min(1, len(faults.time)), np.bool_))
        # The whole run waits, not just its last fault.
        open_end = is_last & (faults.time > until)
        waits = np.zeros(len(runs.time), np.bool_)
        waits[of_fault[open_end]] = True
        waiting = waits[of_fault]
        self._held = faults.at(waiting)
        done = runs.at(~waits)
        self._least += int((~waiting).sum()) * PAGE
        self._counted += int((done.end - done.start).sum())
        self._most += int(done.most.sum())
        if self._shown is not None:
            sizes = {"pid": done.pid, "file": done.file, "size": done.end - done.start, "most": done.most}
            self._shown.append(pl.DataFrame(sizes))
        return done

    def _table(self, runs: Runs, look: Look) -> pl.DataFrame:
        rows = [
            (
                *(at, "mmap", each.file, each.offset, each.end_in_file - each.offset, pid, look.job, None, each.path),
                "rw" if each.is_shared_for_writing else "r",
            )
            for at, pid, each in self.maps.made()
        ]
        maps = pl.DataFrame(rows, EVENT_SCHEMA, orient="row") if rows else NO_EVENTS
        if not len(runs.time):
            return maps
        # A page of a map that is shared for writing was perhaps written, if the process dirtied pages without a call.
        dirty = [pid for pid, count in look.counts.items() if count.device_written > count.bytes_written + _SLACK]
        is_access = runs.is_shared_for_writing & np.isin(runs.pid, dirty)
        names = {file: self.maps.paths.get(file) for file in pl.Series(runs.file).unique()}
        reads = pl.DataFrame(
            {"time": runs.time, "file": runs.file, "offset": runs.start, "size": runs.end - runs.start, "pid": runs.pid}
        ).select(
            "time",
            pl.Series(np.where(is_access, "access", "read")).alias("op"),
            "file",
            "offset",
            "size",
            "pid",
            pl.lit(look.job).alias("group"),
            pl.lit(None).alias("duration"),
            pl.col("file").replace_strict(names, return_dtype=pl.String).alias("path"),
            pl.lit(None).alias("flags"),
        )
        return pl.concat([maps, reads.filter(pl.col("size") > 0).cast(EVENT_SCHEMA)])
