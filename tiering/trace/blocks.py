"""A sample of the blocks that a trace reads, chosen by place and bounded in size.

SHARDS: Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015, sections 3 and 4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: B of a block, the unit in which re-use is counted.
BLOCK = 1 << 16
#: Blocks are kept or left out by sections of so many, so that a large read costs one decision a MiB.
_SECTION = 16
#: References kept at most; 16 B each, and what is worked out of them costs some 100 B each.
_MOST = 1 << 20
#: References that are expanded at once.
_SLICE = 1 << 21
_FULL = 1 << 32


class References(NamedTuple):
    """References to sampled blocks, in the order of the trace.

    block: identity; time: s; rate: share of all blocks that the sample holds, in (0, 1].
    """

    block: NDArray[np.uint64]
    time: NDArray[np.float64]
    rate: float


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash 64-bit numbers: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class BlockSample:
    """The sample, while the trace is read.

    It begins with all blocks, and halves its share whenever it grows too large: a block that stays has all its
    references in it. Reads that go on within a block that the read before had entered are no new reference to it.
    """

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.uint64]] = []
        self._times: list[NDArray[np.float64]] = []
        self._rows = 0
        self._threshold = _FULL

    def add(
        self,
        file: NDArray[np.uint64],
        start: NDArray[np.int64],
        end: NDArray[np.int64],
        time: NDArray[np.float64],
        goes_on: NDArray[np.bool_],
    ) -> None:
        """Add reads of bytes [start, end) of files. goes_on: the read begins where the last of its run ended."""
        first = start // BLOCK + (goes_on & (start % BLOCK != 0))
        last = (end - 1) // BLOCK
        sections = np.maximum(last // _SECTION - first // _SECTION + 1, 0)
        sections[last < first] = 0
        edges = np.cumsum(sections * _SECTION)
        begin = 0
        while begin < len(file):
            before = int(edges[begin - 1]) if begin else 0
            until = max(begin + 1, int(np.searchsorted(edges, before + _SLICE, side="right")))
            rows = slice(begin, until)
            self._add(file[rows], first[rows], last[rows], time[rows], sections[rows])
            begin = until

    def references(self) -> References:
        """Give the references sampled so far."""
        blocks = np.concatenate(self._blocks) if self._blocks else np.empty(0, np.uint64)
        times = np.concatenate(self._times) if self._times else np.empty(0, np.float64)
        return References(blocks, times, self._threshold / _FULL)

    def _add(
        self,
        file: NDArray[np.uint64],
        first: NDArray[np.int64],
        last: NDArray[np.int64],
        time: NDArray[np.float64],
        sections: NDArray[np.int64],
    ) -> None:
        row, place = _expanded(sections)
        section = first[row] // _SECTION + place
        chosen = self._is_chosen(file[row], section)
        row, section = row[chosen], section[chosen]
        low, high = np.maximum(first[row], section * _SECTION), np.minimum(last[row], section * _SECTION + _SECTION - 1)
        inner, place = _expanded(high - low + 1)
        row = row[inner]
        # The section's hash stands in the upper half, so that the share can be halved later.
        key = (self._hash(file[row], section[inner]) << np.uint64(32)) | (
            mixed(file[row] ^ mixed((low[inner] + place).astype(np.uint64))) >> np.uint64(32)
        )
        self._blocks.append(key)
        self._times.append(time[row])
        self._rows += len(key)
        if self._rows > _MOST:
            self._halve()

    def _halve(self) -> None:
        blocks, times, _ = self.references()
        while len(blocks) > _MOST // 2 and self._threshold > 1:
            self._threshold //= 2
            kept = (blocks >> np.uint64(32)) < self._threshold
            blocks, times = blocks[kept], times[kept]
        self._blocks, self._times, self._rows = [blocks], [times], len(blocks)

    @staticmethod
    def _hash(file: NDArray[np.uint64], section: NDArray[np.int64]) -> NDArray[np.uint64]:
        return mixed(file + mixed(section.astype(np.uint64))) >> np.uint64(32)

    def _is_chosen(self, file: NDArray[np.uint64], section: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self._threshold == _FULL:
            return np.ones(len(file), dtype=bool)
        return self._hash(file, section) < self._threshold


def _expanded(counts: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Repeat each row so many times: the row, and which of its repetitions."""
    counts = np.maximum(counts, 0)
    row = np.repeat(np.arange(len(counts)), counts)
    begins = np.cumsum(counts) - counts
    return row, np.arange(len(row)) - begins[row]
