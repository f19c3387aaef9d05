"""Filler: brings samples from the origin, and into the cache as long as it has room, once for all who want them."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import Future
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.serve.cache.origin import Origin
from tiering.serve.cache.slots import Slots
from tiering.serve.cache.space import HEADER_BYTES, CacheSpace, Extent
from tiering.serve.cache.units import Units
from tiering.store.base import Buffer, IndexArray

#: How long a process waits for another one that lives and fetches what both want; a dead one is noticed at once.
WAIT_SECONDS: Final = 10.0
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.02

#: Samples asked for and not taken are kept up to so many bytes; the oldest are those of epochs that were broken off.
MOST_AHEAD_BYTES: Final = 512 << 20

#: Before each payload, so that an extent can be read without its dataset.
LENGTH_BYTES: Final = 8

_Samples = dict[int, Buffer]


class Filler:
    """Fetches for one process. Its coroutines run on the origin's thread, one piece at a time.

    header: begins the extents that it claims.
    """

    def __init__(self, origin: Origin, space: CacheSpace, slots: Slots, units: Units, header: bytes) -> None:
        self._origin, self._space, self._slots, self._units, self._header = origin, space, slots, units, header
        self._lock = threading.Lock()
        #: By sample: what comes, or None for what the cache has by then.
        self._coming: dict[int, Future[_Samples | None]] = {}
        self._most_ahead = origin.samples_in(MOST_AHEAD_BYTES)
        self._filling: dict[int, asyncio.Future[None]] = {}
        self._claiming = asyncio.Lock()
        self._extents: list[Extent] = []
        self._end = 0
        self._full = False
        self.admitted_bytes = 0

    @property
    def ahead(self) -> int:
        """Samples asked for and not taken yet."""
        return len(self._coming)

    def ask(self, samples: IndexArray) -> None:
        """Begin to fetch those samples that are not on their way."""
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
        """Tell which samples are on their way, or here and not taken."""
        coming = self._coming
        if not coming:
            return np.zeros(len(samples), dtype=np.bool_)
        return np.fromiter((sample in coming for sample in samples.tolist()), np.bool_, len(samples))

    def take(self, sample: int) -> Buffer | None:
        """Wait for a sample on its way and return it; None where the cache has it now, or nobody asked for it."""
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
        """Stop fetching, and let go of the extents."""
        self._origin.fetcher.close()
        for extent in self._extents:
            os.close(extent.descriptor)
        self._extents = []

    @property
    def full(self) -> bool:
        """Whether there was no further extent for this process, or the disk refused."""
        return self._full or self._space.frozen

    async def _obtain(self, unit: int, samples: list[int]) -> _Samples | None:
        """Bring a unit into the cache and return None, or return the samples where it takes no more."""
        at = np.array(samples, dtype=np.int64)
        while (other := self._filling.get(unit)) is not None:
            await other
        if self._admits(unit):
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
        """Fetch a unit and write it into the cache. Return whether it is there, and if not its bytes, if they came.

        Neither where another process fetches it and takes too long.
        """
        look, deadline = _FIRST_LOOK, time.monotonic() + WAIT_SECONDS
        while not self._slots.lock(unit):
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
            self._slots.unlock(unit)

    async def _keep(self, unit: int, payload: bytes) -> bool:
        """Write a payload behind the last one; tell whether there was room."""
        fetcher = self._origin.fetcher
        async with self._claiming:
            if not self._fits(len(payload)):
                if self._full or HEADER_BYTES + LENGTH_BYTES + len(payload) > self._space.extent_bytes:
                    return False
                claimed = await fetcher.in_thread(self._claim, len(payload))
                if claimed is None:
                    self._full = True
                    return False
                extent, self._end = claimed
                self._extents.append(extent)
            extent, begin = self._extents[-1], self._end
            self._end += LENGTH_BYTES + len(payload)
        parts = (len(payload).to_bytes(LENGTH_BYTES, "little"), payload)
        try:
            if await fetcher.in_thread(os.pwritev, extent.descriptor, parts, begin) != LENGTH_BYTES + len(payload):
                return False
        except OSError as error:
            self._space.freeze(error)
            return False
        self._slots.publish(unit, extent.number, begin + LENGTH_BYTES, google_crc32c.value(payload))
        self.admitted_bytes += len(payload)
        return True

    def _claim(self, size: int) -> tuple[Extent, int] | None:
        """Own an extent with room for a payload of so many bytes; return it, and where that begins."""
        but = {extent.number for extent in self._extents}
        while (claimed := self._space.claim(self._header, frozenset(but))) is not None:
            end = self._end_of(claimed.number) if claimed.begun else HEADER_BYTES
            if end + LENGTH_BYTES + size <= self._space.extent_bytes:
                return claimed, end
            but.add(claimed.number)
            os.close(claimed.descriptor)
        return None

    def _end_of(self, extent: int) -> int:
        """Return the end of the last payload in an extent that has a slot."""
        end = HEADER_BYTES
        for units, extents, offsets, _ in self._slots.filled():
            here = extents == extent
            for unit, offset in zip(units[here].tolist(), offsets[here].tolist(), strict=True):
                end = max(end, offset + self._units.bytes_of(unit))
        return end

    def _cached(self, unit: int) -> bool:
        return bool(self._slots.find(np.array([unit]))[0][0] >= 0)

    def _fits(self, size: int) -> bool:
        return bool(self._extents) and self._end + LENGTH_BYTES + size <= self._space.extent_bytes

    def _admits(self, unit: int) -> bool:
        return not self._space.frozen and (not self._full or self._fits(self._units.bytes_of(unit)))
