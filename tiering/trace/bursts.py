"""Bursts of writes, most of which are checkpoints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

#: Initial length, in s, of a pause without writes that ends a burst.
_GAP = 0.5
#: Most bursts kept. If there are more, the gap doubles and neighbours merge.
_MOST = 4096
#: Bursts of at least this share of the largest count as large.
_LARGE = 0.25


class WriteBursts(BaseModel):
    """The large bursts of a trace: those with at least a quarter of the bytes of the largest."""

    model_config = ConfigDict(frozen=True)

    count: int
    size: float = Field(description="median B written in one burst")
    period: float | None = Field(description="median s from the beginning of one burst to the next; null for one burst")
    share: float = Field(description="share of all written bytes that belongs to them")


class BurstFinder:
    """Finds bursts while a trace is read, in bounded memory."""

    def __init__(self) -> None:
        self._begin = self._end = self._size = np.empty(0)
        self._gap = _GAP

    def add(self, begin: NDArray[np.float64], end: NDArray[np.float64], size: NDArray[np.int64]) -> None:
        """Add writes in order of time. begin, end: s. size: B."""
        if len(begin):
            parts = ((self._begin, begin), (self._end, end), (self._size, size.astype(np.float64)))
            self._begin, self._end, self._size = (np.concatenate(pair) for pair in parts)
            self._join()
            while len(self._begin) > _MOST:
                self._gap *= 2
                self._join()

    def found(self) -> WriteBursts | None:
        """Describe the large bursts. Returns None if nothing was written."""
        if not len(self._size) or self._size.max() <= 0:
            return None
        large = self._size >= _LARGE * self._size.max()
        begins, sizes = self._begin[large], self._size[large]
        return WriteBursts(
            count=len(sizes),
            size=float(np.median(sizes)),
            period=float(np.median(np.diff(begins))) if len(begins) > 1 else None,
            share=float(sizes.sum() / self._size.sum()),
        )

    def _join(self) -> None:
        reach = np.maximum.accumulate(self._end)
        starts = np.flatnonzero(np.append(True, self._begin[1:] - reach[:-1] > self._gap))
        self._begin = self._begin[starts]
        self._end = np.maximum.reduceat(self._end, starts)
        self._size = np.add.reduceat(self._size, starts)
