"""Find the rows of keys among many, with 16 bytes of memory per key and no Python objects.

The keys are hashed to 64 bits and the hashes sorted, so that a binary search leads to a row. The key of that row is
then compared, so two keys with the same hash are never confused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.arrays import IndexArray, row_parts

NOWHERE: Final = -1


class KeyLookup:
    """Finds rows by key.

    n: number of rows. keys_of: returns the keys of some rows, int64 (m,).
    """

    def __init__(self, n: int, keys_of: Callable[[IndexArray], list[bytes]]) -> None:
        self._keys_of = keys_of
        hashes = np.empty(n, dtype=np.uint64)
        for rows in row_parts(n):
            hashes[rows] = _hashes(keys_of(rows))
        self._rows = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._rows]

    def find(self, keys: list[bytes]) -> IndexArray:
        """Return the row of each key as int64 (len(keys),), NOWHERE for unknown keys."""
        found = np.full(len(keys), NOWHERE, dtype=np.int64)
        if not len(self._rows) or not keys:
            return found
        hashes = _hashes(keys)
        position = np.searchsorted(self._sorted, hashes)
        same = np.flatnonzero(self._sorted[np.minimum(position, len(self._sorted) - 1)] == hashes)
        rows = self._rows[position[same]]
        for at, row, key in zip(same.tolist(), rows.tolist(), self._keys_of(rows), strict=True):
            if key == keys[at]:
                found[at] = row
        return found


def _hashes(keys: list[bytes]) -> npt.NDArray[np.uint64]:
    return pl.Series(keys, dtype=pl.Binary).hash().to_numpy()
