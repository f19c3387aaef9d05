"""Filler: fetches samples from the origin, and adds them to the cache as long as it has room."""

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

#: How long a process waits for a live one that fetches the same unit; the lock of a dead one is released at once.
WAIT_SECONDS: Final = 10.0
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.02

#: Bytes of requested samples that are kept until they are taken. The oldest belong to epochs that were broken off.
MOST_AHEAD_BYTES: Final = 512 << 20

_Samples = dict[int, Buffer]


class Filler:
    """Fetches for one process. Its coroutines run on the origin's thread, one piece at a time.

    levels: of the cache; writers: one for each level, tried in order, so that no unit is in two levels.
    """

    def __init__(
        self, origin: Origin, units: CacheUnits, levels: Sequence[CacheLevel], writers: Sequence[LevelWriter]
    ) -> None:
        self._origin, self._units, self._levels, self._writers = origin, units, levels, writers
        self._lock = threading.Lock()
        #: By sample: its result, None for a sample that will be in the cache.
        self._coming: dict[int, Future[_Samples | None]] = {}
        self._most_ahead = origin.samples_in(MOST_AHEAD_BYTES)
        self._filling: dict[int, asyncio.Future[None]] = {}

    @property
    def ahead(self) -> int:
        """Samples that were requested and not taken yet."""
        return len(self._coming)

    def ask(self, samples: IndexArray) -> None:
        """Start to fetch the samples that are not being fetched yet."""
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
        """Return a mask of the samples that are being fetched, or were fetched and not taken."""
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
        """Whether no level had further room for this process."""
        return all(writer.full for writer in self._writers)

    @property
    def admitted_bytes(self) -> int:
        """Bytes that this process wrote into the cache."""
        return sum(writer.admitted_bytes for writer in self._writers)

    async def _obtain(self, unit: int, samples: list[int]) -> _Samples | None:
        """Add a unit to the cache and return None; return the samples if the cache is full."""
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

        Returns whether the unit is cached, and otherwise its bytes; (False, None) if another process is fetching it and
        takes too long.
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
        """Add a unit to the first level that takes it; return whether one did."""
        for writer in self._writers:
            if writer.admits(unit) and await writer.keep(unit, payload):
                return True
        return False

    def _cached(self, unit: int) -> bool:
        return any(level.has(unit) for level in self._levels)
