"""The orders in which an epoch may be served: shuffled as a whole, block by block, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Final, Literal, Protocol

import numpy as np

from tiering.order import EpochOrder, IndexArray

#: "global": any sample at any position. "block": within windows of some blocks. False: as the store has them.
Shuffle = Literal["global", "block", False]

#: Blocks that are shuffled together. Their chunks are held decoded at the same time.
WINDOW: Final = 16

_Moved = Callable[[EpochOrder, IndexArray], IndexArray]


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


class Runs:
    """Runs of neighbouring samples in random order, which stay in order themselves.

    n: samples; run: samples in a run (the last may hold fewer); order: of the runs.
    """

    def __init__(self, n: int, run: int, order: EpochOrder) -> None:
        self._run, self._order = run, order
        # The last run may be short: what lies behind its slot begins earlier by what it lacks.
        self._short_slot = int(order.position_of(np.array([len(order) - 1]))[0])
        self._lacks = len(order) * run - n

    def at(self, places: IndexArray) -> IndexArray:
        """Return the samples at places of the sequence."""
        slot, within = self.slot_of(places)
        return self._order.at(slot) * self._run + within

    def position_of(self, samples: IndexArray) -> IndexArray:
        """Return the places of samples in the sequence."""
        number, within = np.divmod(samples, self._run)
        slot = self._order.position_of(number)
        found: IndexArray = slot * self._run + within - (slot > self._short_slot) * self._lacks
        return found

    def slot_of(self, places: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return the slots that places lie in, and where in them."""
        behind = places >= (self._short_slot + 1) * self._run - self._lacks
        slot, within = np.divmod(places + behind * self._lacks, self._run)
        return slot, within

    def begin(self, slot: int) -> int:
        """Return the place at which a slot begins."""
        slot = min(slot, len(self._order))
        return slot * self._run - (self._lacks if slot > self._short_slot else 0)


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
        self._n, self._window = n, window
        self._blocks = Runs(n, block, EpochOrder(-(-n // block), seed, epoch, "blocks"))

        @lru_cache(maxsize=16)
        def inside(number: int) -> EpochOrder:
            return EpochOrder(self._begin(number + 1) - self._begin(number), seed, epoch, f"window {number}")

        self._inside = inside

    def __len__(self) -> int:
        return self._n

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions."""
        return self._blocks.at(self._within(positions, EpochOrder.at))

    def position_of(self, samples: IndexArray) -> IndexArray:
        """Return the positions of samples."""
        return self._within(self._blocks.position_of(samples), EpochOrder.position_of)

    def _within(self, places: IndexArray, moved: _Moved) -> IndexArray:
        """Move places inside their windows."""
        found = np.empty(len(places), dtype=np.int64)
        windows = self._blocks.slot_of(places)[0] // self._window
        for number in np.unique(windows).tolist():
            chosen = windows == number
            begin = self._begin(number)
            found[chosen] = moved(self._inside(number), places[chosen] - begin) + begin
        return found

    def _begin(self, number: int) -> int:
        """Return the position at which a window begins."""
        return self._blocks.begin(number * self._window)


class StickyOrder:
    """Runs of samples dealt to shares, which keep them for a number of epochs, each share shuffled every epoch.

    n: samples; run: neighbours that stay together, as a cache moves them; shares: position p is of share p % shares, as
    ranks take positions; seed, epoch: any integers; period: epochs after which the runs are dealt anew.
    Memory is that of an EpochOrder for each share that is asked for. Raises ValueError for fewer than one sample.
    """

    def __init__(self, n: int, run: int, shares: int, seed: int, epoch: int, period: int) -> None:
        self._n, self._shares = n, shares
        self._runs = Runs(n, run, EpochOrder(-(-n // run), seed, epoch // period, "shares"))
        #: Where shares begin in the sequence of runs; a run that lies across two is of both.
        self._begins: IndexArray = np.array(
            [number * (n // shares) + min(number, n % shares) for number in range(shares)]
        )

        @cache
        def inside(share: int) -> EpochOrder:
            return EpochOrder(len(range(share, n, shares)), seed, epoch, f"share {share} of {shares}")

        self._inside = inside

    def __len__(self) -> int:
        return self._n

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions."""
        place, share = np.divmod(positions, self._shares)
        return self._runs.at(self._within(place, share, EpochOrder.at) + self._begins[share])

    def position_of(self, samples: IndexArray) -> IndexArray:
        """Return the positions of samples."""
        place = self._runs.position_of(samples)
        share = np.searchsorted(self._begins, place, side="right") - 1
        within = self._within(place - self._begins[share], share, EpochOrder.position_of)
        return within * self._shares + share

    def _within(self, places: IndexArray, share: IndexArray, moved: _Moved) -> IndexArray:
        """Move places inside their shares."""
        found = np.empty(len(places), dtype=np.int64)
        for number in np.unique(share).tolist():
            chosen = share == number
            found[chosen] = moved(self._inside(number), places[chosen])
        return found


def epoch_order(n: int, shuffle: Shuffle, seed: int, epoch: int, block: int, window: int) -> Order:
    """Return the order of an epoch. block: samples in a block; window: blocks shuffled together."""
    if shuffle is False:
        return StoreOrder(n)
    if shuffle == "block":
        return BlockOrder(n, block, window, seed, epoch)
    return EpochOrder(n, seed, epoch)
