"""Mapped files: byte ranges of many files as views, and hints to the kernel that they will be read."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.errors import StoreError, from_os_error
from tiering.io_sizes import JOINED_GAP_BYTES, LITTLE_BYTES
from tiering.storage.local import open_to_read
from tiering.storage.location import Location
from tiering.store.columns import damaged
from tiering.system.madvise import will_need, will_need_file
from tiering.system.maps import advise, copied, is_out_of_maps, map_file
from tiering.system.page_cache import missing_bytes

#: How many files to keep mapped. A map needs no descriptor, so the limit is vm.max_map_count, 65,530 per process. Most
#: of these are left for other code.
KEPT: Final = 8_192


#: How often to check the page cache: once a second, or less often, so that it takes at most 1 % of the time. A page
#: that is dropped in between is read by a page fault.
_GLANCE_SECONDS: Final = 1.0
_GLANCE_COST: Final = 100


#: The most bytes of ranges to copy with one call, and how many times the bytes of the ranges that may be.
_MOST_COPIED: Final = 1 << 20
_MOST_SURPLUS: Final = 4


class _Mapped(NamedTuple):
    view: memoryview
    address: int


class _Maps(NamedTuple):
    """Files that are mapped: by number, and their addresses, 0 for those that are not."""

    mapped: dict[int, _Mapped]
    views: dict[int, memoryview]
    addresses: IndexArray


class Copies(NamedTuple):
    """Copies of some ranges: data[begin[i] : end[i]] is the i-th, and there are other bytes in between."""

    data: bytes
    begin: Sequence[int]
    end: Sequence[int]


class MappedFiles:
    """Files that are mapped on first use and read as views, up to KEPT at a time. No file stays open.

    paths: the files. sizes: the bytes that each must have. Nothing is opened before the first use, and a forked child
    inherits valid maps. So processes and threads can share one object: its tables only grow, and are replaced as a
    whole when maps are dropped.
    """

    def __init__(self, paths: Sequence[Path], sizes: Sequence[int]) -> None:
        self.paths = list(paths)
        self._sizes = list(sizes)
        self._lengths = np.array(sizes, dtype=np.int64)
        self._table = self._maps({})
        self._there, self._look_at = False, 0.0

    def views(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> list[memoryview]:
        """Return one view for each range. Floor: 0.1 us per sample, a slice of a memoryview."""
        ranges = file.tolist(), offset.tolist(), (offset + size).tolist()
        try:
            views = self._table.views
            if len(self.paths) == 1:
                view = views[0]
                return [view[begin:end] for _, begin, end in zip(*ranges, strict=True)]
            return [views[number][begin:end] for number, begin, end in zip(*ranges, strict=True)]
        except KeyError:
            # One file at a time, because a batch may need more files than are kept.
            return [self._of(number).view[begin:end] for number, begin, end in zip(*ranges, strict=True)]

    def copied(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> Copies | None:
        """Return copies of small ranges of similar sizes, for 50 ns each. None for others, and where one is not valid.

        Each range is copied together with bytes behind it, so that all have the length of the longest.
        """
        width = int(np.maximum.reduce(size))
        if not 0 < width * len(size) <= min(_MOST_COPIED, _MOST_SURPLUS * int(np.add.reduce(size))):
            return None
        # The table keeps its maps alive, whatever other threads drop meanwhile.
        table = self._table
        address = table.addresses[file]
        if not address.all():
            for number in set(file[address == 0].tolist()):
                self._of(number)
            table = self._table
            address = table.addresses[file]
            if not address.all():  # more files than are kept
                return None
        # What would reach over the end of a file begins earlier.
        begin = np.minimum(offset, self._lengths[file] - width)
        if np.minimum.reduce(begin) < 0 or np.minimum.reduce(size) < 0:
            return None
        data = copied(address + begin, width).tobytes()
        starts, within = range(0, len(data), width), offset - begin
        if not within.any():
            return Copies(data, starts, (np.arange(0, len(data), width) + size).tolist())
        if np.maximum.reduce(within) > width or np.maximum.reduce(within + size) > width:
            return None
        start = np.array(starts) + within
        return Copies(data, start.tolist(), (start + size).tolist())

    def announce(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> None:
        """Start reading ranges into the page cache without waiting for them.

        With the next few hundred samples announced, the kernel keeps the queue of the device full, which single page
        faults of 4 KiB cannot. To announce 110 kB takes 40 us in the kernel, without the GIL, or 2 us if they are
        cached.
        """
        number, begin, end = _merged(file, offset, offset + size)
        # In pieces, so that all files of a piece can be mapped at the same time.
        nth = np.cumsum(np.diff(number, prepend=number[0]) != 0)
        edges = np.searchsorted(nth, np.arange(0, int(nth[-1]) + KEPT + 1, KEPT))
        for first, last in pairwise(edges.tolist()):
            self._announce(number[first:last].tolist(), begin[first:last], (end - begin)[first:last])

    def _announce(self, number: list[int], begin: IndexArray, length: IndexArray) -> None:
        # These references keep the maps alive, whatever other threads drop meanwhile.
        used = {each: self._of(each) for each in set(number)}
        begin = begin + np.array([used[each].address for each in number], dtype=np.int64)
        if not will_need(begin.astype(np.uint64), length.astype(np.uint64)) and hasattr(mmap, "MADV_WILLNEED"):
            for at, size in zip(begin.tolist(), length.tolist(), strict=True):
                advise(at, size, mmap.MADV_WILLNEED)

    def resident(self) -> bool:
        """Return whether the page cache holds all files, as of a second ago.

        Some pages, such as those of LMDB's tree, are never announced, so a file would never be complete. So if little
        is missing, the rest is read too.
        """
        began = time.monotonic()
        if began >= self._look_at:
            self._look_at = began + _GLANCE_SECONDS
            watched = self.watched()
            missing = missing_bytes(watched, LITTLE_BYTES)
            self._there = missing == 0
            self._look_at += _GLANCE_COST * (time.monotonic() - began)
            if missing and missing <= LITTLE_BYTES:
                for path in watched:
                    will_need_file(path)
        return self._there

    @property
    def held(self) -> bool:
        """Whether the last look at the page cache found all files there. False when it is time to look again."""
        return self._there and time.monotonic() < self._look_at

    def watched(self) -> list[Path]:
        """Return the files that resident() looks at."""
        return self.paths

    def close(self) -> None:
        """Drop the maps; each is unmapped when its last view is gone."""
        self._table = self._maps({})

    def check(self, number: int, descriptor: int) -> None:
        """Raise StoreError for a wrong file; called before each mapping."""
        found = os.fstat(descriptor).st_size
        if found != self._sizes[number]:
            raise self.wrong(number, f"{found:,}", descriptor)

    def wrong(self, number: int, found: str, descriptor: int | None = None) -> StoreError:  # noqa: ARG002 - for ShardMaps
        """Return the error for a wrong file.

        found: what there is instead. descriptor: of the file, if it exists.
        """
        return damaged(Location.of(self.paths[number]), f"{self._sizes[number]:,} bytes by the manifest", found)

    def _of(self, number: int) -> _Mapped:
        """Return a file's map. A new map is kept; older ones are dropped if there are too many."""
        found = self._table.mapped.get(number)
        if found is None:
            found = self._map(number)
            if len(self._table.mapped) >= KEPT:
                self._give_up(KEPT // 2)
            table = self._table
            # Another thread may have mapped it meanwhile. Its map must stay: its address may be in use already.
            found = table.mapped.setdefault(number, found)
            table.views[number] = found.view
            table.addresses[number] = found.address
        return found

    def _give_up(self, kept: int) -> None:
        """Keep only the newest maps."""
        # Copy in one step, because other threads add to it.
        newest = list(self._table.mapped.copy().items())[-kept:] if kept else []
        self._table = self._maps(dict(newest))

    def _maps(self, mapped: dict[int, _Mapped]) -> _Maps:
        addresses = np.zeros(len(self.paths), dtype=np.int64)
        for number, each in mapped.items():
            addresses[number] = each.address
        return _Maps(mapped, {number: each.view for number, each in mapped.items()}, addresses)

    def _map(self, number: int) -> _Mapped:
        path = self.paths[number]
        try:
            descriptor = open_to_read(path)
        except FileNotFoundError:
            raise self.wrong(number, "no such file") from None
        except OSError as error:
            raise from_os_error(error) from error
        try:
            # By descriptor, so that the checked file is the one that is mapped, even if another file takes its name.
            self.check(number, descriptor)
            memory = self._memory(descriptor, self._sizes[number])
        except OSError as error:
            raise from_os_error(OSError(error.errno, error.strerror, str(path))) from error
        finally:
            os.close(descriptor)
        if hasattr(mmap, "MADV_RANDOM"):
            # Needed pages are announced. Read-ahead around a page fault would fetch megabytes more.
            advise(memory.ctypes.data, len(memory), mmap.MADV_RANDOM)
        return _Mapped(memory.data, memory.ctypes.data)

    def _memory(self, descriptor: int, size: int) -> npt.NDArray[np.uint8]:
        try:
            return map_file(descriptor, size)
        except OSError as error:
            if not is_out_of_maps(error):
                raise
            self._give_up(0)
            return map_file(descriptor, size)


def _merged(file: IndexArray, begin: IndexArray, end: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
    """Sort ranges, join neighbours, and return their files, begins and ends. Each begins at a page boundary."""
    begin = begin - begin % mmap.PAGESIZE
    order = np.lexsort((begin, file))
    file, begin = file[order], begin[order]
    # Lay the files end to end with more than a gap between them. Then one running maximum serves all of them.
    shift = file * (int(end.max()) + 2 * JOINED_GAP_BYTES)
    reach = np.maximum.accumulate(end[order] + shift)
    first = np.concatenate([[True], begin[1:] + shift[1:] > reach[:-1] + JOINED_GAP_BYTES])
    last = np.concatenate([first[1:], [True]])
    return file[first], begin[first], reach[last] - shift[first]
