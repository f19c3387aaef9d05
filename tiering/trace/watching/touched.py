"""Which parts of files were read before: bytes read for the first time, and again, look by look."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

#: B of the smallest part that is told apart, and the most parts that are remembered, at 1 B each.
_PART = 1 << 12
_MOST = 1 << 26


class Touched:
    """Remembers the parts of files that were read. Parts grow where files are large, to keep memory below 64 MB."""

    def __init__(self) -> None:
        self._part = _PART
        self._seen: dict[int, npt.NDArray[np.bool_]] = {}

    def add(self, reads: pl.DataFrame) -> tuple[int, int]:
        """Add reads at known offsets (EVENT_SCHEMA). Return the B read for the first time, and again."""
        total = first = 0
        for (file,), rows in reads.group_by("file"):
            size = rows["size"].to_numpy()
            start = rows["offset"].to_numpy()
            read = int(size.sum())
            total += read
            first += min(read, self._first(int(str(file)), start, start + size))
        while sum(map(len, self._seen.values())) > _MOST:
            self._coarsen()
        return first, total - first

    def _first(self, file: int, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> int:
        """Return the B in parts of a file that were not read before, and remember them."""
        begin, until = start // self._part, -(-end // self._part)
        counts = until - begin
        ends = np.cumsum(counts)
        parts = np.repeat(begin - (ends - counts), counts) + np.arange(int(ends[-1]))
        seen = self._seen.get(file, np.zeros(0, np.bool_))
        if len(seen) < int(until.max()):
            longer = np.zeros(max(int(until.max()), min(2 * len(seen), len(seen) + (1 << 20))), np.bool_)
            longer[: len(seen)] = seen
            seen = self._seen[file] = longer
        fresh = parts[~seen[parts]]
        seen[fresh] = True
        # Parts that occur twice among the new ones are new once.
        return len(pl.Series(fresh).unique()) * self._part

    def _coarsen(self) -> None:
        """Join each four parts to one."""
        self._part *= 4
        for file, seen in self._seen.items():
            padded = np.zeros(-(-len(seen) // 4) * 4, np.bool_)
            padded[: len(seen)] = seen
            self._seen[file] = np.logical_or.reduce(padded.reshape(-1, 4), axis=1)
