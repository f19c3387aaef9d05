"""The orders in which an epoch may be served: shuffled as a whole, block by block, or not at all."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, Protocol, SupportsIndex

import numpy as np

from tiering.arrays import IndexArray
from tiering.permutation import EpochOrder


@dataclass(frozen=True, slots=True)
class BlockShuffle:
    """Shuffle blocks of neighbouring samples, and the samples of each window of blocks.

    For stores of compressed chunks that hold many samples, and for slow origins: each chunk is decoded once an epoch.

    Attributes:
        window: Blocks that are shuffled together. Their chunks are held decoded at the same time.

    Raises:
        TypeError: If `window` is not an integer.
        ValueError: If it is below 1.
    """

    window: int = 16

    def __post_init__(self) -> None:
        at_least_one("window", self.window)


@dataclass(frozen=True, slots=True)
class StickyShuffle:
    """Let each rank keep its share of the samples for some epochs, shuffled by itself every epoch.

    The cache of a node then needs to hold no more than the shares of its ranks. Runs of neighbours, near 128 KiB, stay
    together, as caches move them.

    Attributes:
        epochs: Epochs after which the samples are dealt to the ranks again. Each new deal costs one epoch of fetching,
            with the default a sixteenth of all.

    Raises:
        TypeError: If `epochs` is not an integer.
        ValueError: If it is below 1.
    """

    epochs: int = 16

    def __post_init__(self) -> None:
        at_least_one("epochs", self.epochs)


#: How the samples of an epoch are ordered. True is "global": any sample at any position. False: as the store has them.
#: "block" and "sticky" are BlockShuffle() and StickyShuffle().
Shuffle = bool | Literal["global", "block", "sticky"] | BlockShuffle | StickyShuffle

#: The same, with one spelling for each meaning.
PlainShuffle = Literal["global", False] | BlockShuffle | StickyShuffle

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
        # The last run may be short: the slots after it begin earlier by the number of samples that it lacks.
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
        """Return the slot of each place, and the offset in it."""
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
    ranks take positions; seed, epoch: any integers; period: epochs after which the runs are dealt again.
    Memory is that of an EpochOrder for each share that is asked for. Raises ValueError for fewer than one sample.
    """

    def __init__(self, n: int, run: int, shares: int, seed: int, epoch: int, period: int) -> None:
        self._n, self._shares = n, shares
        self._runs = Runs(n, run, EpochOrder(-(-n // run), seed, epoch // period, "shares"))
        #: Where shares begin in the sequence of runs; a run that crosses a boundary belongs to both.
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


def plain_shuffle(shuffle: object) -> PlainShuffle:
    """Return a shuffle in its one spelling. Raises ValueError for anything that is none."""
    if isinstance(shuffle, BlockShuffle | StickyShuffle):
        return shuffle
    if shuffle is True or shuffle is False:
        return "global" if shuffle else False
    if shuffle == "global":
        return "global"
    if shuffle == "block":
        return BlockShuffle()
    if shuffle == "sticky":
        return StickyShuffle()
    raise ValueError(
        f'shuffle must be True, False, "global", "block", "sticky", a BlockShuffle or a StickyShuffle, got {shuffle!r}'
    )


def integer(name: str, value: object) -> int:
    """Return a caller's number as an int. Raises TypeError if it is not an integer, and for True and False."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be an integer, got {reprlib.repr(value)}")
    return operator.index(value)


def at_least_one(name: str, value: object) -> None:
    """Raise TypeError for a number that is no integer, ValueError for one below 1."""
    if integer(name, value) < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
