"""A sample of the blocks that a trace reads, chosen by a hash of their position, of bounded size.

SHARDS (Waldspurger, Park, Garthwaite and Ahmad, "Efficient MRC Construction with SHARDS", FAST 2015, sections 3 and 4):
a block is in the sample if its hash is below a threshold. So either all references to a block are sampled or none, and
re-use within the sample is that of the whole. If the sample grows too large, halve the threshold and drop blocks.

Example: at threshold 1/2, blocks with hashes 0.3, 0.8, 0.1 leave the first and third, each with all its references.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiering.trace.hash_share import HashShare, mixed

#: B of a block, the unit in which re-use is counted.
BLOCK = 1 << 16
#: Most references kept, at 16 B each. Analysing them takes about 100 B each.
_MOST = 1 << 20
#: How many references are expanded at once.
_SLICE = 1 << 21


class References(NamedTuple):
    """References to sampled blocks, in the order of the trace.

    block: identity, uint64. time: s, float64. rate: the share of all blocks in the sample, in (0, 1].
    """

    block: NDArray[np.uint64]
    time: NDArray[np.float64]
    rate: float


class BlockSample:
    """The sample while the trace is read.

    It starts with all blocks and halves its share whenever it grows too large. A sequential read that continues within
    the block in which the previous one ended is not a new reference to it.
    """

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.uint64]] = []
        self._times: list[NDArray[np.float64]] = []
        self._rows = 0
        self._share = HashShare()

    def add(
        self,
        file: NDArray[np.uint64],
        start: NDArray[np.int64],
        end: NDArray[np.int64],
        time: NDArray[np.float64],
        goes_on: NDArray[np.bool_],
    ) -> None:
        """Add reads of bytes [start, end) of files. goes_on: whether a read continues the previous one of its run."""
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
        """Return the references sampled so far."""
        blocks = np.concatenate(self._blocks) if self._blocks else np.empty(0, np.uint64)
        times = np.concatenate(self._times) if self._times else np.empty(0, np.float64)
        return References(blocks, times, self._share.rate)

    def _add(
        self,
        file: NDArray[np.uint64],
        first: NDArray[np.int64],
        counts: NDArray[np.int64],
        time: NDArray[np.float64],
    ) -> None:
        row = np.repeat(np.arange(len(counts)), counts)
        position = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
        # Hash each block on its own. Neighbours are similarly hot: choosing them together made errors six times larger.
        key = mixed(file[row] ^ mixed((first[row] + position).astype(np.uint64)))
        chosen = self._share.has(key)
        self._blocks.append(key[chosen])
        self._times.append(time[row[chosen]])
        self._rows += len(self._blocks[-1])
        if self._rows > _MOST:
            self._halve()

    def _halve(self) -> None:
        blocks, times, _ = self.references()
        # Halve no more than needed: the final share then does not depend on the size of the batches.
        while len(blocks) > _MOST and self._share.halve():
            kept = self._share.has(blocks)
            blocks, times = blocks[kept], times[kept]
        self._blocks, self._times, self._rows = [blocks], [times], len(blocks)
