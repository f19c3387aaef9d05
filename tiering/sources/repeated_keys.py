"""Find a key that occurs twice among many, with 8 bytes a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import polars as pl


class Duplicates:
    """Keys seen so far, as hashes of 64 bits; sorting them at the end takes 16 bytes a key."""

    def __init__(self) -> None:
        self._hashes: list[npt.NDArray[np.uint64]] = []

    def add(self, keys: pl.Series) -> None:
        """Take note of some keys, Binary."""
        self._hashes.append(keys.hash().to_numpy())

    def first(self, again: Callable[[], Iterable[pl.Series]]) -> bytes | None:
        """Return the first key that occurs a second time, or None.

        again: gives all keys once more, in the same order. It is called only where two hashes are equal, which is
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
