"""Mapped files: byte ranges of many files as views, and the hint to the kernel that they will be wanted."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tiering.storage.location import Location
from tiering.store.advice import will_need, will_need_file
from tiering.store.columns import damaged
from tiering.store.residency import missing_bytes

#: Files kept mapped. Each map holds a descriptor, and the usual soft limit of a process is 1,024.
KEPT: Final = 512

IndexArray = npt.NDArray[np.int64]


#: Ranges this near to one another are announced as one: reading the gap costs less than another request.
_GAP: Final = 16 << 10


#: The page cache is looked at that often, or as seldom as makes it one per cent of the time; a page that it drops
#: between is read by a page fault.
_GLANCE_SECONDS: Final = 1.0
_GLANCE_COST: Final = 100
_LITTLE: Final = 64 << 20


class _Mapped(NamedTuple):
    view: memoryview
    map: mmap.mmap
    address: int


class MappedFiles:
    """Files mapped on first use and read as views, KEPT of them at a time.

    paths: the files; sizes: the bytes each must have. Nothing is opened before the first use, and a map that a fork
    inherits stays valid, so one object serves parents, children and threads: its tables are replaced, never changed.
    """

    def __init__(self, paths: Sequence[Path], sizes: Sequence[int]) -> None:
        self.paths = list(paths)
        self._sizes = list(sizes)
        self._mapped: dict[int, _Mapped] = {}
        self._views: dict[int, memoryview] = {}
        self._there, self._look_at = False, 0.0

    def views(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> list[memoryview]:
        """Return one view a range; the floor is a slice of a memoryview, about 0.1 us a sample."""
        ranges = file.tolist(), offset.tolist(), (offset + size).tolist()
        try:
            views = self._views
            return [views[number][begin:end] for number, begin, end in zip(*ranges, strict=True)]
        except KeyError:
            # A file at a time: a batch may need more of them than are kept.
            return [self._of(number).view[begin:end] for number, begin, end in zip(*ranges, strict=True)]

    def announce(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> None:
        """Start reading ranges into the page cache without waiting for them.

        Told of the next few hundred samples, the kernel keeps the device's queue full, which 4 KiB page faults one
        after another never do. Submitting 110 KB costs 40 us, all of it the kernel's and without the interpreter lock;
        2 us where they are there already.
        """
        number, begin, end = _merged(file, offset, offset + size)
        used = {each: self._of(each) for each in set(number)}
        base = np.array([used[each].address for each in number], dtype=np.uint64)
        if will_need(base + begin.astype(np.uint64), (end - begin).astype(np.uint64)):
            return
        if hasattr(mmap, "MADV_WILLNEED"):
            for each, start, length in zip(number, begin.tolist(), (end - begin).tolist(), strict=True):
                used[each].map.madvise(mmap.MADV_WILLNEED, start, length)

    def resident(self) -> bool:
        """Tell whether the page cache holds every file, as of a second ago.

        What announcing never asks for, like the pages of LMDB's tree, keeps a file from being whole there for ever: so
        once little is missing, that little is read too.
        """
        began = time.monotonic()
        if began >= self._look_at:
            self._look_at = began + _GLANCE_SECONDS
            watched = self.watched()
            missing = missing_bytes(watched, _LITTLE)
            self._there = missing == 0
            self._look_at += _GLANCE_COST * (time.monotonic() - began)
            if missing and missing <= _LITTLE:
                for path in watched:
                    will_need_file(path)
        return self._there

    def watched(self) -> list[Path]:
        """Return the files that resident() looks at."""
        return self.paths

    def close(self) -> None:
        """Drop the maps; each is unmapped when its last view is gone."""
        self._mapped, self._views = {}, {}

    def _of(self, number: int) -> _Mapped:
        """Return a file's map, made now and kept instead of the oldest where it is not there."""
        found = self._mapped.get(number)
        if found is None:
            found = self._map(number)
            kept = list(self._mapped.items())[-(KEPT - 1) :]
            self._mapped = dict([*kept, (number, found)])
            self._views = {number: mapped.view for number, mapped in self._mapped.items()}
        return found

    def _map(self, number: int) -> _Mapped:
        path, size = self.paths[number], self._sizes[number]
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno()).st_size
                if found != size:
                    raise damaged(Location.of(path), f"{size:,} bytes by the manifest", f"{found:,}")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise damaged(Location.of(path), f"{size:,} bytes by the manifest", "no such file") from None
        if hasattr(mmap, "MADV_RANDOM"):
            # What is needed is announced; read-ahead around a fault would fetch megabytes nobody asked for.
            mapped.madvise(mmap.MADV_RANDOM)
        view = memoryview(mapped)
        return _Mapped(view, mapped, np.frombuffer(view, dtype=np.uint8).ctypes.data)


def _merged(file: IndexArray, begin: IndexArray, end: IndexArray) -> tuple[list[int], IndexArray, IndexArray]:
    """Return the files, begins and ends of ranges in order of place, neighbours joined, begins at a page."""
    begin = begin - begin % mmap.PAGESIZE
    order = np.lexsort((begin, file))
    file, begin = file[order], begin[order]
    # Files laid end to end, each further away from the last than a gap: then one running maximum does for all.
    shift = file * (int(end.max()) + 2 * _GAP)
    reach = np.maximum.accumulate(end[order] + shift)
    first = np.concatenate([[True], begin[1:] + shift[1:] > reach[:-1] + _GAP])
    last = np.concatenate([first[1:], [True]])
    return file[first].tolist(), begin[first], reach[last] - shift[first]
