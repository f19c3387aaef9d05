"""CacheLevel: the units of one dataset in one cache directory; Appender adds to them."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.cache.dataset_notes import DatasetNotes, join_dataset, open_slot_table
from tiering.cache.extents import HEADER_BYTES, Extent, header_of
from tiering.cache.slot_table import HEAD_BYTES, head, payloads_of
from tiering.cache.space import CacheSpace
from tiering.cache.units import CacheUnits
from tiering.errors import StoreError
from tiering.store.mapped_files import MappedFiles

#: How long a full level waits before it looks for room again: another dataset may no longer be in use.
_AGAIN_SECONDS: Final = 5.0

#: Runs a blocking call on a thread.
InThread = Callable[..., Awaitable[Any]]


class MappedExtents(MappedFiles):
    """The extents of some levels, of which not all are there. persistent: how many of them, the first, are files."""

    def __init__(self, spaces: list[CacheSpace]) -> None:
        pools = [space.pool for space in spaces]
        super().__init__(
            [path for pool in pools for path in pool.paths()],
            [pool.extent_bytes for pool in pools for _ in range(pool.extents)],
        )
        self.persistent = sum(space.pool.extents for space in spaces if not space.volatile)

    def watched(self) -> list[Path]:
        """Return the files to keep in the page cache."""
        return [path for path in self.paths[: self.persistent] if path.exists()]

    def payload(self, extent: int, offset: int, size: int) -> memoryview | None:
        """Return bytes of one extent, or None where it has none such: a slot may be damaged."""
        if extent >= len(self.paths):
            return None
        try:
            view = self.views(np.array([extent]), np.array([offset]), np.array([size]))[0]
        except StoreError:
            return None
        return view if len(view) == size else None


class CacheLevel:
    """The units of a dataset in one space, as a process finds them.

    about: the notes to write if the dataset is new; base: the number that the space's first extent has in `files`.
    Raises MachineError where the space has no room for the dataset's table, or cannot be written.
    """

    def __init__(
        self, space: CacheSpace, name: str, about: DatasetNotes, units: CacheUnits, files: MappedExtents, base: int
    ) -> None:
        self.space, self.base = space, base
        self.dataset = space.dataset(name)
        about, held = join_dataset(space, self.dataset, about)
        self.header = header_of(name, bytes.fromhex(about.filling))
        self.slots = open_slot_table(self.dataset)
        self._units, self._files = units, files
        #: By slot, the check value of the payload that this process has compared with its CRC-32C.
        self._checked: npt.NDArray[np.uint32] = np.zeros(len(self.slots), dtype=np.uint32)
        self._leave = weakref.finalize(self, _leave, space, held, os.getpid())

    def find(self, units: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return the extents (numbers in `files`, -1: not here) and offsets of units, each int64, as units.

        The first use of a payload by the process compares it with its CRC-32C; a damaged one loses its slot.
        """
        found = self.slots.find(units)
        extent, offset = found.extent, found.offset
        for at in np.flatnonzero((extent >= 0) & (self._checked[found.slot] != found.check)).tolist():
            slot, unit = int(found.slot[at]), int(units[at])
            if self._checked[slot] == found.check[at]:
                continue
            view = self._files.payload(self.base + int(extent[at]), int(offset[at]), self._units.bytes_of(unit))
            if view is not None and google_crc32c.value(bytes(view)) == found.crc[at]:
                self._checked[slot] = found.check[at]
            else:
                self.slots.withdraw(unit)
                extent[at] = -1
        extent[extent >= 0] += self.base
        return extent, offset

    def has(self, unit: int) -> bool:
        """Return whether a unit is here."""
        return bool(self.slots.find(np.array([unit])).extent[0] >= 0)

    def close(self) -> None:
        """Close the dataset. A volatile one is removed unless another process uses it."""
        self.slots.close()
        self._leave()


class LevelWriter(Protocol):
    """Adds units to a level, for one process."""

    admitted_bytes: int

    @property
    def full(self) -> bool:
        """Whether there was no further room."""
        ...

    def admits(self, unit: int) -> bool:
        """Return whether there may be room for a unit."""
        ...

    async def keep(self, unit: int, payload: bytes) -> bool:
        """Add a unit; return whether there was room."""
        ...

    def close(self) -> None:
        """Close the files that this process writes to."""
        ...


class Appender:
    """The LevelWriter of a cache that never evicts: it appends payloads to extents that the process owns."""

    def __init__(self, level: CacheLevel, units: CacheUnits, in_thread: InThread) -> None:
        self._level, self._units, self._in_thread = level, units, in_thread
        self._claiming = asyncio.Lock()
        self._extents: list[Extent] = []
        self._end = 0
        self._again_at = 0.0
        self.admitted_bytes = 0

    @property
    def full(self) -> bool:
        """Whether there was no further extent for this process, or the disk refused."""
        return self._exhausted or self._level.space.pool.frozen

    def admits(self, unit: int) -> bool:
        """Return whether there may be room for a unit."""
        pool = self._level.space.pool
        fits = self._end + HEAD_BYTES + self._units.bytes_of(unit) <= pool.extent_bytes
        return not pool.frozen and (not self._exhausted or (bool(self._extents) and fits))

    async def keep(self, unit: int, payload: bytes) -> bool:
        """Append a payload; return whether there was room."""
        if (room := await self._room(unit, HEAD_BYTES + len(payload))) is None:
            return False
        extent, begin = room
        parts = (head(unit, len(payload)), payload)
        try:
            written = await self._in_thread(os.pwritev, extent.descriptor, parts, begin)
        except OSError as error:
            self._level.space.pool.freeze(error)
            return False
        offset, crc = begin + HEAD_BYTES, google_crc32c.value(payload)
        if written != sum(map(len, parts)) or not self._level.slots.publish(unit, extent.number, offset, crc):
            return False
        self.admitted_bytes += len(payload)
        return True

    @property
    def _exhausted(self) -> bool:
        return time.monotonic() < self._again_at

    def close(self) -> None:
        """Close the extents."""
        for extent in self._extents:
            os.close(extent.descriptor)
        self._extents = []

    async def _room(self, unit: int, size: int) -> tuple[Extent, int] | None:
        """Return an extent with enough free bytes, and the offset to write at."""
        async with self._claiming:
            if not self._level.slots.room(unit):
                return None
            if not self._extents or self._end + size > self._level.space.pool.extent_bytes:
                if self._exhausted or HEADER_BYTES + size > self._level.space.pool.extent_bytes:
                    return None
                claimed = await self._in_thread(self._claim, size)
                if claimed is None:
                    self._again_at = time.monotonic() + _AGAIN_SECONDS
                    return None
                extent, self._end = claimed
                self._extents.append(extent)
            begin = self._end
            self._end += size
            return self._extents[-1], begin

    def _claim(self, size: int) -> tuple[Extent, int] | None:
        """Claim an extent with enough free bytes; return it, and the offset to write at."""
        space, but = self._level.space, {extent.number for extent in self._extents}
        while (claimed := space.claim(self._level.header, frozenset(but))) is not None:
            end = self._end_of(claimed.number) if claimed.begun else HEADER_BYTES
            if end + size <= space.pool.extent_bytes:
                return claimed, end
            but.add(claimed.number)
            os.close(claimed.descriptor)
        return None

    def _end_of(self, extent: int) -> int:
        """Return the end of the last payload in an extent that has a slot."""
        path = self._level.space.pool.paths()[extent]
        ends = [found.offsets + found.sizes for found in payloads_of(self._level.slots, {extent: path})]
        return max((int(each.max()) for each in ends if len(each)), default=HEADER_BYTES)


def _leave(space: CacheSpace, held: int, process: int) -> None:
    """Close a dataset in the process that joined it; its forks share the descriptor."""
    if os.getpid() == process:
        os.close(held)
        space.leave()
