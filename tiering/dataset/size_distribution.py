"""The distribution of file sizes, as counts of distinct sizes: exact up to a million of them, to 0.1 % beyond."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

#: How many distinct sizes are kept before they are rounded.
MAX_DISTINCT: Final = 1_000_000

#: Bits of a size that rounding keeps. A size is at most 2^-10 of itself away from the middle of its bucket.
_BITS: Final = 9

#: How many sizes are collected before they are sorted into the counts.
_WAITING: Final = 200_000


class Sizes:
    """A multiset of sizes in bytes. It takes 16 MB at most.

    Quantiles are exact for up to MAX_DISTINCT different sizes. Beyond that, their relative error is at most `error`.
    Count and total are always exact.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.empty = 0
        self.error = 0.0
        self._values = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._waiting: list[npt.NDArray[np.int64]] = []
        self._held = 0

    def add(self, sizes: npt.NDArray[np.int64]) -> None:
        """Add sizes in bytes, int64 (n,), not negative."""
        self.count += len(sizes)
        self.total += int(sizes.sum())
        self.empty += int((sizes == 0).sum())
        self._waiting.append(sizes)
        self._held += len(sizes)
        if self._held >= _WAITING:
            self._settle()

    def quantiles(self, shares: tuple[float, ...]) -> list[int]:
        """Return the size at each share of the sorted files: of n files, the one with number share x (n - 1).

        Raises ValueError if there is no size.
        """
        if not self.count:
            message = "quantiles: expected at least one size, found none"
            raise ValueError(message)
        self._settle()
        ends = np.cumsum(self._counts)
        ranks = [round(share * (self.count - 1)) for share in shares]
        return [int(self._values[np.searchsorted(ends, rank, side="right")]) for rank in ranks]

    def _settle(self) -> None:
        if not self._waiting:
            return
        found, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting, self._held = [], 0
        self._merge(found, counts)
        if len(self._values) > MAX_DISTINCT or self.error:
            self.error = 2.0**-10
            self._merge(np.empty(0, np.int64), np.empty(0, np.int64), rounded=True)

    def _merge(self, found: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], *, rounded: bool = False) -> None:
        values = np.concatenate([self._values, found])
        weights = np.concatenate([self._counts, counts])
        if rounded:
            values = _round(values)
        self._values, where = np.unique(values, return_inverse=True)
        self._counts = np.bincount(where, weights=weights, minlength=len(self._values)).astype(np.int64)


def _round(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Round to the middle of a bucket, which is 1/512 as wide as the power of two below. A middle stays as it is."""
    _, exponents = np.frexp(sizes.astype(np.float64))
    shift = np.maximum(exponents - 1 - _BITS, 0).astype(np.int64)
    rounded: npt.NDArray[np.int64] = (sizes >> shift << shift) + ((np.int64(1) << shift) >> 1)
    return rounded
