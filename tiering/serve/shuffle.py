"""The orders in which an epoch may be served: shuffled as a whole, block by block, or not at all."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal, Protocol

import numpy as np

from tiering.order import EpochOrder, IndexArray

#: "global": any sample at any position. "block": within windows of some blocks. False: as the store has them.
Shuffle = Literal["global", "block", False]

#: Blocks that are shuffled together. Their chunks are held decoded at the same time.
WINDOW: Final = 16


class Order(Protocol):
    """A permutation of [0, n)."""

    def __len__(self) -> int:
        """Return n."""
        ...

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions: int64 (k,), as positions."""
        ...

    def position_of(self, samples: IndexArray) -> IndexArray:
        """Return the positions of samples: int64 (k,), as samples."""
        ...


class StoreOrder:
    """The order of the store itself."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the positions themselves."""
        return positions

    def position_of(self, samples: IndexArray) -> IndexArray:
        """Return the samples themselves."""
        return samples


class BlockOrder:
    """Blocks of neighbouring samples in random order, and the samples of each window of them shuffled.

    n: samples; block: samples in a block (the last may hold fewer); window: blocks shuffled together; seed, epoch: any
    integers. A sample is served within its window, so only window * block samples are wanted at a time. Memory is a
    table of that many, or none where an EpochOrder needs none.
    Raises ValueError for fewer than one sample, block or window.
    """

    def __init__(self, n: int, block: int, window: int, seed: int, epoch: int) -> None:
        if min(block, window) < 1:
            raise ValueError(f"a block and a window must hold at least one, got {block} and {window}")
        self._n, self._block, self._window = n, block, window
        count = -(-n // block)
        self._blocks = EpochOrder(count, seed, epoch, "blocks")
        # The last block may be short: what lies behind its slot begins earlier by what it lacks.
        self._short_slot = int(self._blocks.position_of(np.array([count - 1]))[0])
        self._lacks = count * block - n

        @lru_cache(maxsize=16)
        def inside(number: int) -> EpochOrder:
            return EpochOrder(self._begin(number + 1) - self._begin(number), seed, epoch, f"window {number}")

        self._inside = inside

    def __len__(self) -> int:
        return self._n

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions."""
        found = np.empty(len(positions), dtype=np.int64)
        windows = self._window_of(positions)
        for number in np.unique(windows).tolist():
            chosen = windows == number
            begin = self._begin(number)
            found[chosen] = self._inside(number).at(positions[chosen] - begin) + begin
        # From the place in the sequence of blocks to the place in the store.
        behind = found >= (self._short_slot + 1) * self._block - self._lacks
        slot, within = np.divmod(found + behind * self._lacks, self._block)
        return self._blocks.at(slot) * self._block + within

    def position_of(self, samples: IndexArray) -> IndexArray:
        """Return the positions of samples."""
        block, within = np.divmod(samples, self._block)
        slot = self._blocks.position_of(block)
        place = slot * self._block + within - (slot > self._short_slot) * self._lacks
        windows = self._window_of(place)
        found = np.empty(len(samples), dtype=np.int64)
        for number in np.unique(windows).tolist():
            chosen = windows == number
            begin = self._begin(number)
            found[chosen] = self._inside(number).position_of(place[chosen] - begin) + begin
        return found

    def _begin(self, number: int) -> int:
        """Return the position at which a window begins."""
        slot = min(number * self._window, len(self._blocks))
        return slot * self._block - (self._lacks if slot > self._short_slot else 0)

    def _window_of(self, places: IndexArray) -> IndexArray:
        behind = places >= (self._short_slot + 1) * self._block - self._lacks
        return (places + behind * self._lacks) // (self._block * self._window)


def epoch_order(n: int, shuffle: Shuffle, seed: int, epoch: int, block: int, window: int) -> Order:
    """Return the order of an epoch. block: samples in a block; window: blocks shuffled together."""
    if shuffle is False:
        return StoreOrder(n)
    if shuffle == "block":
        return BlockOrder(n, block, window, seed, epoch)
    return EpochOrder(n, seed, epoch)
