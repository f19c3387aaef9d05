"""KeyLookup: the row of a key among many, at 16 bytes a key and no Python object for any."""

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

    n: number of rows; keys_of: returns the keys of rows int64 (m,). Hashes of 64 bits lead to a row, and the key itself
    decides, so that two keys of one hash are never taken for each other.
    """

    def __init__(self, n: int, keys_of: Callable[[IndexArray], list[bytes]]) -> None:
        self._keys_of = keys_of
        hashes = np.empty(n, dtype=np.uint64)
        for rows in row_parts(n):
            hashes[rows] = _hashes(keys_of(rows))
        self._rows = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._rows]

    def find(self, keys: list[bytes]) -> IndexArray:
        """Return the row of each key, NOWHERE for keys that are not there: int64 (len(keys),)."""
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
