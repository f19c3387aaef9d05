"""The counts of the caches of all workers of a dataset, and of the samples that they skipped, in shared memory."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Final

import numpy as np

from tiering.arrays import FloatArray
from tiering.cache.stats import CacheStats, stats_of
from tiering.store.protocol import Store
from tiering.system.shared_memory import SharedMemory

#: Momentary values of one process, which cannot be added up.
_NOW: Final = ("in_flight", "depth", "ahead")
_COUNTED: Final = tuple(each.name for each in fields(CacheStats) if each.name not in _NOW)
_SIZE: Final = 8 * len(_COUNTED)


class SharedCounts:
    """The sums of the counts of all processes that share a dataset. Each counts from its first read of the dataset.

    Args:
        store: The store that the processes read.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._memory = store, SharedMemory(_SIZE)
        self._cached = stats_of(store) is not None
        # The process whose counts were seen last, because a fork begins with none.
        self._process, self._seen = 0, np.zeros(len(_COUNTED))

    def begin(self) -> None:
        """Note what this process has counted before its first read of the dataset."""
        if self._process != os.getpid():
            self._process, self._seen = os.getpid(), self._values()

    def add(self, skipped: int = 0) -> None:
        """Add what this process has counted since the last time.

        Costs 30 us with a cache, 0.2 us without.

        Args:
            skipped: Samples that it has skipped since then.
        """
        if not self._cached and not skipped:
            return
        now = self._values()
        new, self._seen = now - self._seen, now
        new[_COUNTED.index("skipped")] += skipped
        if new.any():
            with self._memory.locked():
                self._memory.bytes[:_SIZE] = (self._sums() + new).tobytes()

    def total(self) -> CacheStats:
        """Return the sums. in_flight, depth and ahead are 0."""
        sums = zip(_COUNTED, self._sums().tolist(), strict=True)
        return CacheStats(**{name: value if name == "stall_seconds" else int(value) for name, value in sums})

    def _sums(self) -> FloatArray:
        return np.frombuffer(self._memory.bytes[:_SIZE])

    def _values(self) -> FloatArray:
        found = stats_of(self._store) or CacheStats()
        return np.array([getattr(found, name) for name in _COUNTED], dtype=np.float64)
