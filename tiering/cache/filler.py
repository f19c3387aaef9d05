"""Filler: brings samples from the origin, and into the cache as long as it has room, once for all who want them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.cache.level import CacheLevel, LevelWriter
from tiering.cache.origin import Origin
from tiering.cache.units import CacheUnits
from tiering.store.protocol import Buffer

#: How long a process waits for another one that lives and fetches what both want; a dead one is noticed at once.
WAIT_SECONDS: Final = 10.0
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.02

#: Samples asked for and not taken are kept up to so many bytes; the oldest are those of epochs that were broken off.
MOST_AHEAD_BYTES: Final = 512 << 20

_Samples = dict[int, Buffer]


class Filler:
    """Fetches for one process. Its coroutines run on the origin's thread, one piece at a time.

    levels: of the cache, and writers: to each of them, tried in turn, so that what the first holds no other does.
    """

    def __init__(
        self, origin: Origin, units: CacheUnits, levels: Sequence[CacheLevel], writers: Sequence[LevelWriter]
    ) -> None:
        self._origin, self._units, self._levels, self._writers = origin, units, levels, writers
        self._lock = threading.Lock()
        #: By sample: what comes, or None for what the cache has by then.
        self._coming: dict[int, Future[_Samples | None]] = {}
        self._most_ahead = origin.samples_in(MOST_AHEAD_BYTES)
        self._filling: dict[int, asyncio.Future[None]] = {}

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
        for writer in self._writers:
            writer.close()

    def settle(self) -> None:
        """Wait for what is on its way, and let go of the extents."""
        with self._lock:
            coming = set(self._coming.values())
            self._coming.clear()
        wait(coming)
        for writer in self._writers:
            writer.close()

    @property
    def full(self) -> bool:
        """Whether no level had further room for this process."""
        return all(writer.full for writer in self._writers)

    @property
    def admitted_bytes(self) -> int:
        """Bytes that this process wrote into the cache."""
        return sum(writer.admitted_bytes for writer in self._writers)

    async def _obtain(self, unit: int, samples: list[int]) -> _Samples | None:
        """Bring a unit into the cache and return None, or return the samples where it takes no more."""
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
        """Fetch a unit and write it into the cache. Return whether it is there, and if not its bytes, if they came.

        Neither where another process fetches it and takes too long.
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
        """Add a unit to the first level that takes it; tell whether one did."""
        for writer in self._writers:
            if writer.admits(unit) and await writer.keep(unit, payload):
                return True
        return False

    def _cached(self, unit: int) -> bool:
        return any(level.has(unit) for level in self._levels)
