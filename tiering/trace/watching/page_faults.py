"""Reads of mapped files, from page faults: which pages of which file, and when."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.system.accessed_bits import huge_file_maps, used_maps
from tiering.system.page_fault_events import PageFaultEvents
from tiering.system.perf_records import Change, Faults, Forked
from tiering.system.process_tree import TreeLook
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.watching.data_files import DataFiles, identity
from tiering.trace.watching.fault_runs import NO_FAULTS, PAGE, PageFaults, Runs, by_thread, runs_of, together
from tiering.trace.watching.mapped_data import MappedData
from tiering.trace.watching.minor_faults import MinorFaults
from tiering.trace.watching.observation import SourceUse
from tiering.trace.watching.source import NO_EVENTS, Look, Source, Unavailable
from tiering.units import format_bytes, format_percent

#: B by which the bytes that dirtied pages may exceed those written by calls, as whole pages are counted.
_SLACK = 1 << 16
#: s for which the last fault of a thread waits for the one that continues it.
_HELD = 0.25
#: The share of one core for looking which files are mapped in large pieces.
_HUGE_SHARE = 0.002
#: Names of mapped files from which on those are forgotten that are mapped no more.
_NAMES = 1 << 16
#: s between two readings of all maps, which find those that moved.
_REFRESH = 20.0
_READ_OR_ACCESS = pl.Series(["read", "access"], dtype=EVENT_SCHEMA["op"])
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
        self._events, self._files, self._eases = events, files, eases
        self.maps = MappedData(files)
        self._faults: list[Faults] = []
        self._changes: list[Change] = []
        self._held = NO_FAULTS
        #: The files that are, or perhaps are, mapped in pieces of 2 MiB, and when to look for more; how many such
        #: pieces the machine had mapped; and the files that processes used while it mapped more.
        self._huge: set[int] = set()
        self._huge_due, self._huge_maps = 0.0, events.huge_maps
        self._unchecked: dict[int, set[int]] = {}
        #: What was found since the last call of `shown`, if anybody calls it.
        self._shown: list[pl.DataFrame] | None = None
        self._most_names = _NAMES
        self._lost = self._least = self._counted = self._most = 0
        self._minor = MinorFaults()
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
        self._minor.waiting += sum(len(each.time) for each in taken.faults)
        if self._eases and not self._minor.is_off and self._minor.is_burst:
            # Whether they were worth it shows at the look.
            self._events.watch_minor(on=False)
            self._minor.is_off = True
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
        found = self.maps.resolved(records, changes, sorted(self._events.majors))
        self._events.settle()
        self._ease(sum(len(each.time) for each in records), len(found.time), look.seconds)
        if time.monotonic() - self._refreshed > _REFRESH:
            self._refreshed = time.monotonic()
            for pid in look.tree.alive:
                self.maps.read(pid)
        self._find_huge(found, look.tree)
        runs = self._runs(found, look.time - _HELD if look.tree.alive else float("inf"))
        events = self._table(runs, look)
        for stat in look.tree.ended:
            self._events.forget(stat.pid)
            self.maps.forget(stat.pid)
        if len(self.maps.paths) > self._most_names:
            self.maps.forget_names(self._held.file.tolist())
            self._huge &= self.maps.paths.keys()
            self._most_names = max(_NAMES, 2 * len(self.maps.paths))
        return events

    @property
    def lost(self) -> int:
        """Faults that are missing."""
        return self._lost

    @property
    def unsure(self) -> int:
        """B of mapped files that may have been read beyond those in the events."""
        return max(0, self._most - self._counted) + self.unseen()

    def unseen(self, but: Collection[int] = ()) -> int:
        """Return the B that may be unseen as minor faults were left out, but those of some processes."""
        return self._minor.unseen(but)

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
                f"to {'2 MiB' if self._huge else '64 KiB'}; later touches of the same memory cause none."
            )
        if self._minor.looks_without:
            share = format_percent(self._minor.looks_without / self._minor.looks)
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

    def _find_huge(self, found: PageFaults, tree: TreeLook) -> None:
        """Look which files are mapped in large pieces, in the processes that had minor faults on data files."""
        maps = huge_file_maps()
        if maps != self._huge_maps:
            for pid, file in _used_by(found.pid[~found.is_major], found.file[~found.is_major]):
                self._unchecked.setdefault(pid, set()).add(file)
        self._huge_maps = maps
        now, begin = time.monotonic(), time.thread_time()
        is_due = now >= self._huge_due or not self._eases
        for pid in [pid for pid in self._unchecked if is_due or pid not in tree.alive]:
            perhaps = self._unchecked.pop(pid)
            try:
                mapped = used_maps(pid, self._files.is_data)
            except OSError:
                mapped = []
            # Of a process that has ended, or mapped nothing any more, it is not known.
            self._huge |= {identity(each.path) for each in mapped if each.huge} if mapped else perhaps
        if is_due:
            self._huge_due = now + (time.thread_time() - begin) / _HUGE_SHARE

    def _ease(self, records: int, useful: int, seconds: float) -> None:
        """Leave out minor faults for a while if too many of them are of no mapped file."""
        was_off = self._minor.is_off
        if self._eases and self._minor.look(records, useful, seconds, self.maps.tables) != was_off:
            self._events.watch_minor(on=was_off)

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
        # A file may end within the page of a fault.
        touched = np.bincount(of_fault, minlength=len(waits))[~waits] * PAGE
        self._least += int(np.minimum(touched, done.end - done.start).sum())
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
            _READ_OR_ACCESS.gather(is_access.astype(np.uint8)).alias("op"),
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


def _used_by(pid: npt.NDArray[np.int32], file: npt.NDArray[np.uint64]) -> set[tuple[int, int]]:
    """Return the processes that had faults, each with each of its files."""
    is_other = np.append(True, (pid[1:] != pid[:-1]) | (file[1:] != file[:-1]))[: len(pid)]
    return set(zip(pid[is_other].tolist(), file[is_other].tolist(), strict=True))
