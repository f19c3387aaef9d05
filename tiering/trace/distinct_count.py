"""Count distinct keys: exactly up to a quarter of a million, and by a sample beyond."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Most keys kept, at 8 B each, and as much again while they are merged.
_MOST = 1 << 18
_FULL = 1 << 64


class DistinctCount:
    """Counts distinct hashes of 64 bits.

    It keeps all hashes below a threshold, and halves the threshold whenever it has too many (Gibbons and Tirthapura,
    SPAA 2001). With at least 131,072 kept, the standard error is at most 0.3 %. Example: 150,000 hashes kept below 1/4
    of the range stand for 600,000 distinct ones.
    """

    def __init__(self) -> None:
        self._kept = np.empty(0, np.uint64)
        self._waiting: list[NDArray[np.uint64]] = []
        self._rows = 0
        self._threshold = _FULL

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Add hashes, which must be as uniform as those of tiering.trace.hash_share.mixed."""
        if self._threshold < _FULL:
            hashes = hashes[hashes < self._threshold]
        self._waiting.append(hashes)
        self._rows += len(hashes)
        if self._rows > _MOST // 2:
            self._merge()

    def count(self) -> int:
        """Return the number of distinct hashes."""
        self._merge()
        return round(len(self._kept) * (_FULL / self._threshold))

    def _merge(self) -> None:
        # Sorting plain numbers takes a tenth of numpy.unique's time.
        every = np.sort(np.concatenate([self._kept, *self._waiting]))
        self._kept = every[np.append(True, every[1:] != every[:-1])[: len(every)]]
        self._waiting, self._rows = [], 0
        while len(self._kept) > _MOST:
            self._threshold //= 2
            self._kept = self._kept[: np.searchsorted(self._kept, np.uint64(self._threshold))]
