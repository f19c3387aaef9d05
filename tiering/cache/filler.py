"""Filler: fetches missing samples from the origin. Appender: adds them to the cache until it is full."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any, Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.cache.extents import HEADER_BYTES, Extent
from tiering.cache.level import CacheLevel, CacheUnits
from tiering.cache.origin import Origin
from tiering.cache.slot_table import HEAD_BYTES, head, payloads_of
from tiering.store.protocol import samples_in
from tiering.store.sample import Buffer

#: How long a process waits for another one that is fetching the same unit, in s. If that one dies, the kernel releases
#: its lock at once.
WAIT_SECONDS: Final = 10.0
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.02

#: Bytes of requested samples that are kept until they are taken. The oldest belong to epochs that were abandoned.
MOST_AHEAD_BYTES: Final = 512 << 20

#: How long a full level waits before it looks for free space again: another dataset may no longer be in use.
_AGAIN_SECONDS: Final = 5.0

#: Runs a blocking call on a thread.
InThread = Callable[..., Awaitable[Any]]

_Samples = dict[int, Buffer]


class Filler:
    """Fetches for one process. Its coroutines run on the fetcher's thread.

    Args:
        origin: The store behind the cache.
        units: The units of its samples.
        levels: The levels of the cache.
        writers: One for each level. They are tried in order, so that no unit is in two levels.
    """

    def __init__(
        self, origin: Origin, units: CacheUnits, levels: Sequence[CacheLevel], writers: Sequence[Appender]
    ) -> None:
        self._origin, self._units, self._levels, self._writers = origin, units, levels, writers
        self._lock = threading.Lock()
        #: By sample: a future whose result is its bytes, or None if the sample will be in the cache.
        self._coming: dict[int, Future[_Samples | None]] = {}
        self._most_ahead = samples_in(MOST_AHEAD_BYTES, origin.store.manifest)
        self._filling: dict[int, asyncio.Future[None]] = {}

    @property
    def ahead(self) -> int:
        """Samples that were requested and not taken yet."""
        return len(self._coming)

    def ask(self, samples: IndexArray) -> None:
        """Start to fetch samples, except those that are being fetched already."""
        with self._lock:
            by_unit: dict[int, list[int]] = {}
            for sample, unit in zip(samples.tolist(), self._units.of(samples).tolist(), strict=True):
                if sample not in self._coming:
                    by_unit.setdefault(unit, []).append(sample)
            for unit, members in by_unit.items():
                future = self._origin.fetcher.submit(self._obtain(unit, members))
                self._coming.update(dict.fromkeys(members, future))
            while len(self._coming) > self._most_ahead and self._coming[oldest := next(iter(self._coming))].done():
                del self._coming[oldest]

    def coming(self, samples: IndexArray) -> npt.NDArray[np.bool_]:
        """Return bool (n,): whether each sample is being fetched, or was fetched and not taken."""
        coming = self._coming
        if not coming:
            return np.zeros(len(samples), dtype=np.bool_)
        return np.fromiter((sample in coming for sample in samples.tolist()), np.bool_, len(samples))

    def take(self, sample: int) -> Buffer | None:
        """Wait for a requested sample; return None if it is in the cache now, or was not requested."""
        with self._lock:
            future = self._coming.get(sample)
        if future is None:
            return None
        try:
            found = future.result()
        finally:
            with self._lock:
                if self._coming.get(sample) is future:
                    del self._coming[sample]
        return None if found is None else found[sample]

    def close(self) -> None:
        """Stop fetching, and close the extents."""
        self._origin.fetcher.close()
        for writer in self._writers:
            writer.close()

    def settle(self) -> None:
        """Wait for running fetches, and close the extents."""
        with self._lock:
            coming = set(self._coming.values())
            self._coming.clear()
        wait(coming)
        for writer in self._writers:
            writer.close()

    @property
    def full(self) -> bool:
        """Whether every level was too full for the last unit of this process."""
        return all(writer.full for writer in self._writers)

    @property
    def admitted_bytes(self) -> int:
        """Bytes that this process wrote into the cache."""
        return sum(writer.admitted_bytes for writer in self._writers)

    async def _obtain(self, unit: int, samples: list[int]) -> _Samples | None:
        """Add a unit to the cache and return None, or return the samples if the cache is full."""
        at = np.array(samples, dtype=np.int64)
        while (other := self._filling.get(unit)) is not None:
            await other
        if any(writer.admits(unit) for writer in self._writers):
            done = self._filling[unit] = asyncio.get_running_loop().create_future()
            try:
                filled, payload = await self._fill(unit)
            finally:
                done.set_result(None)
                del self._filling[unit]
            if filled:
                return None
            if payload is not None:
                return dict(zip(samples, self._units.cut(payload, at), strict=True))
        elif self._cached(unit):
            return None
        return dict(zip(samples, await self._origin.read(at), strict=True))

    async def _fill(self, unit: int) -> tuple[bool, bytes | None]:
        """Fetch a unit and write it into the cache.

        Returns whether the unit is cached, and its bytes if this process fetched them. (False, None) means that another
        process is fetching it, and takes too long.
        """
        slots = self._levels[0].slots
        look, deadline = _FIRST_LOOK, time.monotonic() + WAIT_SECONDS
        while not slots.lock(unit):
            if self._cached(unit):
                return True, None
            if time.monotonic() > deadline:
                return False, None
            await asyncio.sleep(look)
            look = min(2 * look, _LAST_LOOK)
        try:
            if self._cached(unit):
                return True, None
            payload = b"".join(await self._origin.read(self._units.members(unit)))
            return await self._keep(unit, payload), payload
        finally:
            slots.unlock(unit)

    async def _keep(self, unit: int, payload: bytes) -> bool:
        """Add a unit to the first level that has space for it; return whether one had."""
        for writer in self._writers:
            if writer.admits(unit) and await writer.keep(unit, payload):
                return True
        return False

    def _cached(self, unit: int) -> bool:
        return any(level.has(unit) for level in self._levels)


class Appender:
    """Adds units to a level, for one process: it appends payloads to extents that the process owns.

    Args:
        level: The level to add to.
        in_thread: Runs a blocking call on a thread.
    """

    def __init__(self, level: CacheLevel, in_thread: InThread) -> None:
        self._level, self._in_thread = level, in_thread
        #: Bytes that this process wrote into the level.
        self.admitted_bytes = 0
        self._claiming = asyncio.Lock()
        self._extents: list[Extent] = []
        self._end = 0
        self._again_at = 0.0

    @property
    def full(self) -> bool:
        """Whether there was no further extent for this process, or the disk refused."""
        return self._exhausted or self._level.directory.pool.frozen

    def admits(self, unit: int) -> bool:
        """Return whether there may be space for a unit."""
        pool = self._level.directory.pool
        fits = self._end + HEAD_BYTES + self._level.units.bytes_of(unit) <= pool.extent_bytes
        return not pool.frozen and (not self._exhausted or (bool(self._extents) and fits))

    async def keep(self, unit: int, payload: bytes) -> bool:
        """Append a payload; return whether there was space."""
        if (reserved := await self._reserve(unit, HEAD_BYTES + len(payload))) is None:
            return False
        extent, begin = reserved
        parts = (head(unit, len(payload)), payload)
        try:
            written = await self._in_thread(os.pwritev, extent.descriptor, parts, begin)
        except OSError as error:
            self._level.directory.pool.freeze(error)
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

    async def _reserve(self, unit: int, size: int) -> tuple[Extent, int] | None:
        """Reserve space in an extent; return the extent, and the offset to write at."""
        async with self._claiming:
            if not self._level.slots.has_free(unit):
                return None
            if not self._extents or self._end + size > self._level.directory.pool.extent_bytes:
                if self._exhausted or HEADER_BYTES + size > self._level.directory.pool.extent_bytes:
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
        directory, but = self._level.directory, {extent.number for extent in self._extents}
        while (claimed := directory.claim(self._level.header, frozenset(but))) is not None:
            end = self._end_of(claimed.number) if claimed.begun else HEADER_BYTES
            if end + size <= directory.pool.extent_bytes:
                return claimed, end
            but.add(claimed.number)
            os.close(claimed.descriptor)
        return None

    def _end_of(self, extent: int) -> int:
        """Return the end of the last payload in an extent that has a slot."""
        path = self._level.directory.pool.paths()[extent]
        ends = [found.offsets + found.sizes for found in payloads_of(self._level.slots, {extent: path})]
        return max((int(each.max()) for each in ends if len(each)), default=HEADER_BYTES)
