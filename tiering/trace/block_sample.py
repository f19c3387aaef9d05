"""A sample of the blocks that a trace reads, chosen by place and bounded in size.

SHARDS: Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015, sections 3 and 4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: B of a block, the unit in which re-use is counted.
BLOCK = 1 << 16
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
        counts = np.maximum((end - 1) // BLOCK - first + 1, 0)
        edges = np.cumsum(counts)
        begin = 0
        while begin < len(file):
            before = int(edges[begin - 1]) if begin else 0
            until = max(begin + 1, int(np.searchsorted(edges, before + _SLICE, side="right")))
            rows = slice(begin, until)
            self._add(file[rows], first[rows], counts[rows], time[rows])
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
        counts: NDArray[np.int64],
        time: NDArray[np.float64],
    ) -> None:
        row = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
        # Each by itself: neighbours that share a decision share their heat, which made curves six times as far off.
        key = mixed(file[row] ^ mixed((first[row] + place).astype(np.uint64)))
        chosen = self._are_chosen(key)
        self._blocks.append(key[chosen])
        self._times.append(time[row[chosen]])
        self._rows += len(self._blocks[-1])
        if self._rows > _MOST:
            self._halve()

    def _halve(self) -> None:
        blocks, times, _ = self.references()
        # No further than needed: the share at the end is then that of the whole, however it was handed in.
        while len(blocks) > _MOST and self._threshold > 1:
            self._threshold //= 2
            kept = self._are_chosen(blocks)
            blocks, times = blocks[kept], times[kept]
        self._blocks, self._times, self._rows = [blocks], [times], len(blocks)

    def _are_chosen(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return (keys >> np.uint64(32)) < self._threshold
