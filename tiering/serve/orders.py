"""The orders in which an epoch may be served: shuffled as a whole, by block, by share of a rank, or not at all."""

from __future__ import annotations

import operator
import reprlib
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal, Protocol, SupportsIndex

import numpy as np

from tiering.arrays import IndexArray
from tiering.permutation import EpochOrder


@dataclass(frozen=True, slots=True)
class BlockShuffle:
    """Shuffle blocks of neighbouring samples, and the samples of each window of blocks.

    Use it for stores of compressed chunks that hold many samples, and for slow origins: each chunk is decoded once an
    epoch.

    Attributes:
        window: Blocks that are shuffled together. The decoded chunks of one window are in memory at the same time.

    Raises:
        TypeError: If `window` is not an integer.
        ValueError: If it is below 1.
    """

    window: int = 16

    def __post_init__(self) -> None:
        at_least_one("window", self.window)


@dataclass(frozen=True, slots=True)
class StickyShuffle:
    """Let each rank keep its share of the samples for some epochs, and shuffle each share on its own every epoch.

    The cache of a node then only needs space for the shares of its ranks. Cache units (neighbouring samples, about
    128 KiB) stay together.

    Attributes:
        epochs: Epochs after which the samples are dealt to the ranks again. Each new deal costs one epoch of fetching:
            by default one epoch in 16.

    Raises:
        TypeError: If `epochs` is not an integer.
        ValueError: If it is below 1.
    """

    epochs: int = 16

    def __post_init__(self) -> None:
        at_least_one("epochs", self.epochs)


#: How the samples of an epoch are ordered. True is "global": any sample at any position. False is the order of the
#: store. "block" and "sticky" are BlockShuffle() and StickyShuffle().
Shuffle = bool | Literal["global", "block", "sticky"] | BlockShuffle | StickyShuffle

#: The same, with one spelling for each meaning.
PlainShuffle = Literal["global", False] | BlockShuffle | StickyShuffle


class Order(Protocol):
    """A permutation of the samples of a store."""

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions of an epoch, both int64 (k,)."""
        ...


class StoreOrder:
    """The order of the store itself."""

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the positions themselves."""
        return positions


class ShuffledGroups:
    """Groups of neighbouring samples in random order; the samples of a group stay in order.

    Example: 7 samples in groups of 3 are (0 1 2) (3 4 5) (6). If the order of the groups is 2, 0, 1, the sequence is
    6, 0, 1, 2, 3, 4, 5. Offsets count in this sequence: sample 3 is at offset 4, in the third group (nth 2).

    Args:
        n: Samples.
        size: Samples in a group; the last one may hold fewer.
        order: The order of the groups.
    """

    def __init__(self, n: int, size: int, order: EpochOrder) -> None:
        self._size, self._order = size, order
        # The last group may be short: those after it in the sequence begin earlier by the samples that it lacks.
        self._short = int(order.position_of(np.array([len(order) - 1]))[0])
        self._lacks = len(order) * size - n

    def at(self, offsets: IndexArray) -> IndexArray:
        """Return the samples at offsets of the sequence."""
        nth, within = self.nth_of(offsets)
        return self._order.at(nth) * self._size + within

    def nth_of(self, offsets: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return the nth, from 0, of the group that each offset is in, and the offset in that group."""
        behind = offsets >= (self._short + 1) * self._size - self._lacks
        nth, within = np.divmod(offsets + behind * self._lacks, self._size)
        return nth, within

    def begin(self, nth: int) -> int:
        """Return the offset at which the nth group begins, from 0."""
        nth = min(nth, len(self._order))
        return nth * self._size - (self._lacks if nth > self._short else 0)


class BlockOrder:
    """Blocks of neighbouring samples in random order, and the samples of each window of them shuffled.

    A sample is served within its window, so only window * block samples are needed at a time. Memory is a table of that
    many entries, or none where an EpochOrder needs none.

    Args:
        n: Samples.
        block: Samples in a block; the last one may hold fewer.
        window: Blocks that are shuffled together.
        seed: Any integer.
        epoch: Any integer.

    Raises:
        ValueError: For fewer than one sample, block or window.
    """

    def __init__(self, n: int, block: int, window: int, seed: int, epoch: int) -> None:
        if min(block, window) < 1:
            raise ValueError(f"a block and a window must hold at least one, got {block} and {window}")
        self._window = window
        self._blocks = ShuffledGroups(n, block, EpochOrder(-(-n // block), seed, epoch, "blocks"))

        @lru_cache(maxsize=16)
        def inside(number: int) -> EpochOrder:
            return EpochOrder(self._begin(number + 1) - self._begin(number), seed, epoch, f"window {number}")

        self._inside = inside

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions of an epoch, both int64 (k,)."""
        offsets = np.empty(len(positions), dtype=np.int64)
        windows = self._blocks.nth_of(positions)[0] // self._window
        for number in np.unique(windows).tolist():
            chosen = windows == number
            begin = self._begin(number)
            offsets[chosen] = self._inside(number).at(positions[chosen] - begin) + begin
        return self._blocks.at(offsets)

    def _begin(self, number: int) -> int:
        """Return the position at which a window begins."""
        return self._blocks.begin(number * self._window)


class StickyOrder:
    """Cache units dealt to shares, which keep them for a number of epochs; each share is shuffled every epoch.

    Memory is that of an EpochOrder for each share in use.

    Args:
        n: Samples.
        unit: Samples in a cache unit, which stay together; the last unit may hold fewer.
        shares: Number of shares. Position p belongs to share p % shares, because ranks take positions in turn.
        seed: Any integer.
        epoch: Any integer.
        period: Epochs after which the units are dealt again.

    Raises:
        ValueError: For fewer than one sample.
    """

    def __init__(self, n: int, unit: int, shares: int, seed: int, epoch: int, period: int) -> None:
        self._shares = shares
        self._units = ShuffledGroups(n, unit, EpochOrder(-(-n // unit), seed, epoch // period, "shares"))
        #: Where shares begin in the sequence of units; a unit that crosses a boundary belongs to both.
        self._begins: IndexArray = np.array(
            [number * (n // shares) + min(number, n % shares) for number in range(shares)]
        )

        @cache
        def inside(share: int) -> EpochOrder:
            return EpochOrder(len(range(share, n, shares)), seed, epoch, f"share {share} of {shares}")

        self._inside = inside

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions of an epoch, both int64 (k,)."""
        nth, share = np.divmod(positions, self._shares)
        offsets = np.empty(len(positions), dtype=np.int64)
        for number in np.unique(share).tolist():
            chosen = share == number
            offsets[chosen] = self._inside(number).at(nth[chosen]) + self._begins[number]
        return self._units.at(offsets)


def plain_shuffle(shuffle: object) -> PlainShuffle:
    """Return a shuffle in its one spelling. Raises ValueError for anything else."""
    if isinstance(shuffle, BlockShuffle | StickyShuffle):
        return shuffle
    if shuffle is False:
        return False
    if shuffle is True or shuffle == "global":
        return "global"
    if shuffle == "block":
        return BlockShuffle()
    if shuffle == "sticky":
        return StickyShuffle()
    raise ValueError(
        f'shuffle must be True, False, "global", "block", "sticky", a BlockShuffle or a StickyShuffle, got {shuffle!r}'
    )


def integer(name: str, value: object) -> int:
    """Return a value as an int. Raises TypeError if it is not an integer, and for True and False."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be an integer, got {reprlib.repr(value)}")
    return operator.index(value)


def at_least_one(name: str, value: object) -> None:
    """Raise TypeError for a value that is not an integer, ValueError for one below 1."""
    if integer(name, value) < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
