"""Follows which data files the processes of a job have mapped, and finds the file and page of each page fault.

The maps of a process are read once, when it is attached to. From then on the kernel records each new map in order with
the faults, and each fork and change of program. Unmapping is not recorded: what lies there later is, as a new map.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.system.perf_records import Change, Executed, Faults, Forked, Mapped
from tiering.system.process_maps import mapped_files, plain_path
from tiering.trace.watching.data_files import DataFiles, identity
from tiering.trace.watching.fault_runs import NO_FAULTS, PAGE, PageFaults, only_ones, together
from tiering.trace.watching.map_table import DataMap, MapTable


class _Waiting:
    """The faults of one process in order of time, which are taken from the front. time: ns of the monotonic clock."""

    def __init__(self, faults: Faults, is_major: npt.NDArray[np.bool_]) -> None:
        order = np.argsort(faults.time, kind="stable")
        self._faults, self._is_major = Faults._make(column[order] for column in faults), is_major[order]
        self._taken = 0

    def until(self, time: int | None) -> tuple[Faults, npt.NDArray[np.bool_]]:
        """Take the faults before a time, or all that are left; and whether each waited for storage."""
        times = self._faults.time
        end = len(times) if time is None else int(np.searchsorted(times, np.uint64(time)))
        taken = slice(self._taken, end)
        self._taken = max(self._taken, end)
        return Faults._make(column[taken] for column in self._faults), self._is_major[taken]


def _by_process(faults: Sequence[Faults], majors: npt.NDArray[np.uint64]) -> dict[int, _Waiting]:
    if not faults:
        return {}
    every = Faults._make(np.concatenate(columns) for columns in zip(*faults, strict=True))
    at = np.minimum(np.searchsorted(majors, every.event), len(majors) - 1)
    is_major = majors[at] == every.event
    return {
        pid: _Waiting(Faults._make(column[rows] for column in every), is_major[rows])
        for pid in pl.Series(every.pid).unique()
        for rows in [every.pid == pid]
    }


class MappedData:
    """The data maps of all processes of a job."""

    def __init__(self, files: DataFiles) -> None:
        self._files = files
        self.tables: dict[int, MapTable] = {}
        #: The names of mapped files, by identity.
        self.paths: dict[int, str] = {}
        self._made: list[tuple[float, int, DataMap]] = []
        #: s from the monotonic clock to the epoch when watching began: a clock that is set later moves no event.
        self._apart = time.time() - time.monotonic()

    def read(self, pid: int) -> None:
        """Read the maps of a process from /proc."""
        known = {(each.start, each.end, each.file) for each in self.tables.get(pid, MapTable()).maps}
        try:
            found = mapped_files(pid)
        except OSError:
            return
        for each in found:
            if each.is_executable:
                self._files.note_program(each.path)
        maps = [
            self._data(pid, each.start, each.end, each.offset, each.path, shared=each.is_shared and each.is_writable)
            for each in found
            if self._files.is_data(each.path)
        ]
        self.tables[pid] = MapTable(maps)
        now = time.monotonic() + self._apart
        self._made += [(now, pid, each) for each in maps if (each.start, each.end, each.file) not in known]

    def made(self) -> list[tuple[float, int, DataMap]]:
        """Return the maps that were made since the last call: when (s since the epoch), by whom, and what."""
        made, self._made = self._made, []
        return made

    def names(self) -> set[str]:
        """Return the names of the data files that are mapped now."""
        return {each.path for table in self.tables.values() for each in table.maps}

    def forget(self, pid: int) -> None:
        """Forget a process that has ended."""
        self.tables.pop(pid, None)

    def forget_names(self, but: Collection[int]) -> None:
        """Forget the names of files that are mapped no more, but of these: a job may map each sample."""
        kept = {each.file for table in self.tables.values() for each in table.maps}.union(but)
        self.paths = {file: path for file, path in self.paths.items() if file in kept}

    def resolved(self, faults: Sequence[Faults], changes: Sequence[Change], majors: Sequence[int]) -> PageFaults:
        """Return the faults on data files.

        majors: the numbers of the events that count major faults, in order.
        """
        waiting = _by_process(faults, np.array(majors, np.uint64))
        parts = [NO_FAULTS]
        for change in sorted(changes, key=lambda each: each.time):
            if not self._matters(change):
                continue
            before = waiting.get(change.pid)
            if before is not None:
                parts.extend(self._found(change.pid, before.until(change.time)))
            self._apply(change)
        for pid, rest in waiting.items():
            parts.extend(self._found(pid, rest.until(None)))
        return together(parts)

    def _matters(self, change: Change) -> bool:
        if isinstance(change, Mapped):
            if change.is_executable:
                self._files.note_program(change.path)
            if self._files.is_data(change.path):
                return True
            table = self.tables.get(change.pid)
            return table is not None and table.overlaps(change.start, change.start + change.size)
        if isinstance(change, Forked):
            return change.pid != change.parent and change.parent in self.tables
        return isinstance(change, Executed)

    def _apply(self, change: Change) -> None:
        if isinstance(change, Forked):
            self.tables[change.pid] = self.tables[change.parent].copy()
        elif isinstance(change, Executed):
            self.tables.pop(change.pid, None)
        elif isinstance(change, Mapped):
            table = self.tables.setdefault(change.pid, MapTable())
            end = change.start + change.size
            if not self._files.is_data(change.path):
                table.remove(change.start, end)
                return
            shared = change.is_shared and change.is_writable
            path = plain_path(change.path.encode("utf-8", "surrogateescape"))
            data = self._data(change.pid, change.start, end, change.offset, path, shared=shared)
            table.add(data)
            self._made.append((change.time / 1e9 + self._apart, change.pid, data))

    def _data(self, pid: int, start: int, end: int, offset: int, path: str, *, shared: bool) -> DataMap:
        file = identity(path)
        self.paths[file] = path
        return DataMap(start, end, offset, file, path, self._files.size(path, pid), shared)

    def _found(self, pid: int, taken: tuple[Faults, npt.NDArray[np.bool_]]) -> Iterator[PageFaults]:
        faults, is_major = taken
        table = self.tables.get(pid)
        if table is None or not len(table) or not len(faults.time):
            return
        at = table.find(faults.address)
        is_data = at >= 0
        if not is_data.any():
            return
        at, address = at[is_data], faults.address[is_data].astype(np.int64)
        maps = table.columns()
        place = maps.offset[at] + address - maps.start[at].astype(np.int64)
        yield PageFaults(
            faults.time[is_data] / 1e9 + self._apart,
            np.full(len(at), pid, np.int32),
            faults.thread[is_data],
            maps.file[at],
            place // PAGE,
            address // PAGE,
            maps.offset[at] // PAGE,
            maps.end_in_file[at],
            is_major[is_data],
            maps.is_shared_for_writing[at],
            # The maps stayed as they were meanwhile.
            only_ones(address // PAGE),
        )
