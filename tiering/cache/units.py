"""The runs of samples that a cache moves as one."""

from __future__ import annotations

import numpy as np

from tiering.arrays import IndexArray


class CacheUnits:
    """Samples in runs of equal length, stored contiguously.

    size: int64 (n,), bytes of each sample; samples: in a unit, the last of which may hold fewer.
    """

    def __init__(self, size: IndexArray, samples: int) -> None:
        self.samples = samples
        self._size = size
        self._nth = np.arange(samples - 1)

    def __len__(self) -> int:
        return (len(self._size) + self.samples - 1) // self.samples

    def of(self, samples: IndexArray) -> IndexArray:
        """Return the units that samples belong to."""
        return samples // self.samples

    def members(self, unit: int) -> IndexArray:
        """Return the samples of a unit."""
        first = unit * self.samples
        return np.arange(first, min(first + self.samples, len(self._size)))

    def bytes_of(self, unit: int) -> int:
        """Return the bytes of a unit."""
        return int(self._size[unit * self.samples : (unit + 1) * self.samples].sum())

    def within(self, samples: IndexArray) -> IndexArray:
        """Return where samples begin in their units, in bytes."""
        if self.samples == 1:
            return np.zeros(len(samples), dtype=np.int64)
        nth = samples % self.samples
        before = np.minimum((samples - nth)[:, None] + self._nth, len(self._size) - 1)
        begins: IndexArray = np.where(self._nth < nth[:, None], self._size[before], 0).sum(axis=1)
        return begins

    def cut(self, payload: bytes, samples: IndexArray) -> list[bytes]:
        """Return samples of one unit out of its payload."""
        begins, sizes = self.within(samples).tolist(), self._size[samples].tolist()
        return [payload[begin : begin + size] for begin, size in zip(begins, sizes, strict=True)]
