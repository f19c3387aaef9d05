"""An LRU cache, kept only as a baseline for tiering's own, which never evicts within a dataset."""

from __future__ import annotations

import os
from bisect import bisect_left, insort
from collections import OrderedDict
from pathlib import Path
from threading import Lock

import google_crc32c

from tiering.arrays import IndexArray
from tiering.cache.cached_store import CachedStore
from tiering.cache.directory import CacheDirectory
from tiering.cache.extents import HEADER_BYTES
from tiering.cache.filler import InThread
from tiering.cache.level import CacheLevel
from tiering.cache.slot_table import HEAD_BYTES, head
from tiering.errors import UsageError
from tiering.store.open import open_store
from tiering.store.protocol import Store
from tiering.store.sample import Buffer


def lru_cached(path: str | Path, size: int, directory: Path) -> LruStore:
    """Put an LRU cache of `size` bytes in a new directory in front of the store at `path`."""
    return LruStore(open_store(path), CacheDirectory(directory, size))


class LruStore(CachedStore):
    """A CachedStore that always admits, and evicts the units used longest ago: for one process, in a new directory.

    It is for comparisons only. It returns copies, because it overwrites the payloads of evicted units.
    """

    def __init__(self, origin: Store, disk: CacheDirectory, memory: CacheDirectory | None = None) -> None:
        super().__init__(origin, disk, memory)
        self.views = False

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled: only one process may overwrite payloads."""
        raise UsageError("a cache with policy lru", expected="to stay in one process", found="one sent to another")

    def _cached(self, indices: IndexArray) -> tuple[IndexArray, list[Buffer]]:
        with self._lru.lock:
            extent, views = super()._cached(indices)
            self._lru.touch(self._units.of(indices[extent >= 0]))
            return extent, [bytes(view) for view in views]

    def _writers(self) -> list[Evicting]:
        self._lru = Evicting(self.levels[0], self._origin.fetcher.in_thread)
        return [self._lru]


class Evicting:
    """Adds units to a level, as `Appender` does, and evicts others.

    lock: held while payloads are copied out, and while their bytes are overwritten.
    """

    full = False

    def __init__(self, level: CacheLevel, in_thread: InThread) -> None:
        self.lock = Lock()
        self.admitted_bytes = 0
        self._level, self._in_thread = level, in_thread
        #: By unit, the one used longest ago first: begin and end of its head and payload, as if all extents were one.
        self._used: OrderedDict[int, tuple[int, int]] = OrderedDict()
        self._holes = Holes()
        self._descriptors: dict[int, int] = {}

    def admits(self, unit: int) -> bool:  # noqa: ARG002 - an Appender needs it
        """Return that there is space, or will be."""
        return True

    def touch(self, units: IndexArray) -> None:
        """Note that units were used. Under the lock."""
        for unit in units.tolist():
            if unit in self._used:
                self._used.move_to_end(unit)

    async def keep(self, unit: int, payload: bytes) -> bool:
        """Write a payload, over others if needed; return whether that made enough space."""
        return bool(await self._in_thread(self._keep, unit, payload))

    def close(self) -> None:
        """Close the extents."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors = {}

    def _keep(self, unit: int, payload: bytes) -> bool:
        size = HEAD_BYTES + len(payload)
        with self.lock:
            while (begin := self._holes.take(size)) is None or not self._level.slots.has_free(unit):
                if begin is not None:
                    self._holes.give(begin, begin + size)
                if not self._claim() and not self._evict():
                    return False
            number, offset = divmod(begin, self._level.directory.pool.extent_bytes)
            os.pwritev(self._descriptors[number], (head(unit, len(payload)), payload), offset)
            crc = google_crc32c.value(payload)
            if not self._level.slots.publish(unit, number, offset + HEAD_BYTES, crc):
                self._holes.give(begin, begin + size)
                return False
            self._used[unit] = begin, begin + size
            self.admitted_bytes += len(payload)
            return True

    def _claim(self) -> bool:
        """Take a further extent, as long as there are any."""
        pool = self._level.directory.pool
        if (extent := pool.create(self._level.header)) is None:
            return False
        self._descriptors[extent.number] = extent.descriptor
        first = extent.number * pool.extent_bytes
        self._holes.give(first + HEADER_BYTES, first + pool.extent_bytes)
        return True

    def _evict(self) -> bool:
        """Evict the unit that was used longest ago."""
        if not self._used:
            return False
        unit, span = self._used.popitem(last=False)
        self._level.slots.withdraw(unit)
        self._holes.give(*span)
        return True


class Holes:
    """Free room, as intervals of bytes; the smallest that is large enough is found without looking at the others."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: dict[int, int] = {}
        self._sizes: list[tuple[int, int]] = []

    def take(self, size: int) -> int | None:
        """Take so many bytes and return where they begin, or None where no hole is large enough."""
        at = bisect_left(self._sizes, (size, -1))
        if at == len(self._sizes):
            return None
        begin = self._sizes[at][1]
        end = self._remove(begin)
        if begin + size < end:
            self._add(begin + size, end)
        return begin

    def give(self, begin: int, end: int) -> None:
        """Make a hole, one with those beside it. Headers stand between extents, so no hole crosses them."""
        at = bisect_left(self._begins, begin)
        before = self._begins[at - 1] if at else None
        if end in self._ends:
            end = self._remove(end)
        if before is not None and self._ends[before] == begin:
            self._remove(before)
            begin = before
        self._add(begin, end)

    def _add(self, begin: int, end: int) -> None:
        insort(self._begins, begin)
        insort(self._sizes, (end - begin, begin))
        self._ends[begin] = end

    def _remove(self, begin: int) -> int:
        end = self._ends.pop(begin)
        del self._begins[bisect_left(self._begins, begin)]
        del self._sizes[bisect_left(self._sizes, (end - begin, begin))]
        return end
