"""A share of all blocks or files of a trace, chosen by a hash of each, that only ever becomes smaller.

A block or file belongs to the share if its hash is below a threshold, so either all rows about it are kept or none. A
count within the share, divided by its rate, estimates the whole. If too much is kept, the share is halved.

Example: at a rate of 1/2, the hashes 0.3, 0.8 and 0.1 of the range leave the first and the third.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_FULL: Final = 1 << 32


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash 64-bit numbers: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class HashShare:
    """The share while a trace is read. It begins with everything."""

    def __init__(self) -> None:
        self._threshold = _FULL

    @property
    def rate(self) -> float:
        """The share of all hashes that belong to it, in (0, 1]."""
        return self._threshold / _FULL

    def has(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which of some hashes (as from `mixed`) belong to the share."""
        return (hashes >> np.uint64(32)) < self._threshold

    def halve(self) -> bool:
        """Make it half as large. Return False if it is too small for that."""
        if self._threshold == 1:
            return False
        self._threshold //= 2
        return True
