"""Find a key that occurs twice among many, with 8 bytes of memory per key.

Only a 64-bit hash of each key is kept. At the end the hashes are sorted, so equal ones become neighbours. Only if there
are any, the keys are read a second time, and those with a suspect hash are compared in full.

Example: keys a, b, a give hashes 7, 3, 7; sorted 3, 7, 7. The suspect is 7, and the second reading finds "a" twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import polars as pl


class RepeatedKeys:
    """Collects keys as 64-bit hashes. Sorting them at the end takes 16 bytes per key."""

    def __init__(self) -> None:
        self._hashes: list[npt.NDArray[np.uint64]] = []

    def add(self, keys: pl.Series) -> None:
        """Add keys, a Binary series."""
        self._hashes.append(keys.hash().to_numpy())

    def first(self, again: Callable[[], Iterable[pl.Series]]) -> bytes | None:
        """Return the first key that occurs a second time, or None.

        again: yields all keys once more, in the same order. It is called only if two hashes are equal, which happens by
        chance once in 180,000 sets of 10^7 keys.
        """
        if not self._hashes:
            return None
        hashes = np.sort(np.concatenate(self._hashes))
        suspects = pl.Series(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]), dtype=pl.UInt64)
        if suspects.is_empty():
            return None
        seen: set[bytes] = set()
        for keys in again():
            for key in keys.filter(keys.hash().is_in(suspects.implode())):
                if key in seen:
                    return bytes(key)
                seen.add(key)
        return None
