"""Which parts of files were read before: bytes read for the first time, and again, look by look."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.trace.hash_share import HashShare, mixed

#: B of a part.
_PART = 1 << 12
#: Where the keys of files may begin: 64 GiB apart. Parts further on may have the keys of another file, but hardly do.
_BEGINS = ~np.uint64((1 << 24) - 1)
#: Most parts that are remembered, at 8 B each. Beyond that a share of them is, chosen by a hash of the position.
_MOST = 1 << 22
#: New parts wait until they are as many as this, or as those that are sorted.
_FEWEST = 1 << 14


class Touched:
    """Remembers the parts of files that were read, 4 KiB each, in at most 64 MB. A look costs one sort of its parts."""

    def __init__(self) -> None:
        self._share = HashShare()
        self._known = np.empty(0, np.uint64)
        self._fresh: list[npt.NDArray[np.uint64]] = []

    def add(self, reads: pl.DataFrame) -> tuple[int, int]:
        """Add reads at known offsets (EVENT_SCHEMA). Return the B read for the first time, and again."""
        total = int(reads["size"].sum())
        parts, sizes = self._parts(reads.filter(pl.col("size") > 0))
        is_fresh = ~_is_in(parts, self._known)
        for waiting in self._fresh:
            is_fresh &= ~_is_in(parts, waiting)
        fresh = parts[is_fresh]
        if len(fresh):
            self._fresh.append(fresh)
        if sum(map(len, self._fresh)) > max(_FEWEST, len(self._known)) or len(self._fresh) > 16:
            self._known, self._fresh = np.sort(np.concatenate([self._known, *self._fresh])), []
        first = min(total, round(int(sizes[is_fresh].sum()) / self._share.rate))
        while len(self._known) > _MOST and self._share.halve():
            self._known = self._known[self._share.has(mixed(self._known))]
        return first, total - first

    def _parts(self, reads: pl.DataFrame) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Return the key of each part that was read, sorted and once each; and its B, to where the furthest read ends.

        The parts of a file have keys in a row, so that it is the reads that have to be sorted, and hardly the parts.
        """
        start, size = reads["offset"].to_numpy(), reads["size"].to_numpy()
        begin = start // _PART
        keys = (mixed(reads["file"].to_numpy()) >> np.uint64(1) & _BEGINS) + begin.astype(np.uint64)
        order = np.argsort(keys)
        keys, begin, end = keys[order], begin[order], (start + size)[order]
        counts = -(-end // _PART) - begin
        ends = np.cumsum(counts)
        step = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
        keys = np.repeat(keys, counts) + step.astype(np.uint64)
        sizes = np.minimum(_PART, np.repeat(end - begin * _PART, counts) - step * _PART)
        if (keys[1:] < keys[:-1]).any():
            # Reads overlap. Keys that are nearly sorted take this sort a tenth of the time.
            order = np.argsort(keys, kind="stable")
            keys, sizes = keys[order], sizes[order]
        firsts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
        if len(firsts) < len(keys):
            keys, sizes = keys[firsts], np.maximum.reduceat(sizes, firsts)
        if self._share.rate < 1:
            kept = self._share.has(mixed(keys))
            keys, sizes = keys[kept], sizes[kept]
        return keys, sizes


def _is_in(keys: npt.NDArray[np.uint64], known: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return whether each key is among those known, which are sorted."""
    if not len(known):
        return np.zeros(len(keys), np.bool_)
    found: npt.NDArray[np.bool_] = known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys
    return found
