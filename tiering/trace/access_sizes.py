"""How large the accesses of a trace are: calls and bytes by power of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: The operations that move data, in the order of the rows of AccessSizes.
MOVES: Final = ("read", "write", "access")
#: Bin n has accesses of 2^n B and more, below 2^(n + 1) B.
_BINS: Final = 63


@dataclass(frozen=True, slots=True)
class AccessSizes:
    """Accesses by size. Row n is that of MOVES[n]; bin m has accesses from 2^m B on, below 2^(m + 1) B.

    Attributes:
        calls: int64 (3, 63).
        bytes: B moved by them, int64 (3, 63).
    """

    calls: NDArray[np.int64]
    bytes: NDArray[np.int64]

    def share_below(self, op: str, size: int) -> float:
        """Return the share of the calls of an operation that move less than `size` B, a power of two; 0 without any."""
        calls = self.calls[MOVES.index(op)]
        return float(calls[: size.bit_length() - 1].sum() / max(1, calls.sum()))

    def share_of_large(self, op: str) -> float:
        """Return the share of the calls of an operation that move far more than the median; 0 without any.

        That is at least 4 times the median, as sizes are known: those from 16 times on surely count.
        """
        calls = self.calls[MOVES.index(op)]
        until = np.cumsum(calls)
        median = int(np.searchsorted(until, until[-1] / 2))
        return float(calls[median + 3 :].sum() / max(1, until[-1]))


class SizeCounter:
    """Sizes while the trace is read. Memory does not grow."""

    def __init__(self) -> None:
        self._calls = np.zeros((len(MOVES), _BINS), np.int64)
        self._bytes = np.zeros((len(MOVES), _BINS), np.int64)

    def add(self, moved: pl.DataFrame) -> None:
        """Add events of MOVES with a size above 0."""
        ops, all_sizes = moved["op"], moved["size"].to_numpy()
        for row, op in enumerate(MOVES):
            sizes = all_sizes[(ops == op).to_numpy()]
            # Exact below 2^53 B, which no call moves.
            bins = np.frexp(sizes.astype(np.float64))[1] - 1
            self._calls[row] += np.bincount(bins, minlength=_BINS)[:_BINS]
            np.add.at(self._bytes[row], bins, sizes)

    def found(self) -> AccessSizes:
        """Return the sizes of the events added."""
        return AccessSizes(self._calls, self._bytes)
