"""The orders in which an epoch may be served: shuffled as a whole, by block, by share of a rank, or not at all."""

from __future__ import annotations

import operator
import reprlib
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Final, Literal, Protocol, SupportsIndex

import numpy as np

from tiering.arrays import IndexArray
from tiering.io_sizes import WINDOW_BLOCKS
from tiering.permutation import EpochOrder

#: A block order keeps the tables of at least this many windows, and of more while they have fewer samples than this.
_KEPT_WINDOWS: Final = 16
_KEPT_SAMPLES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class BlockShuffle:
    """Shuffle blocks of neighbouring samples, and the samples of each window of blocks.

    Use it for stores of compressed chunks that hold many samples, and for slow origins: each chunk is decoded once an
    epoch. Each rank has windows of its own, so each block is read by one rank.

    Attributes:
        window: Blocks that are shuffled together. The decoded chunks of one window are in memory at the same time.

    Raises:
        TypeError: If `window` is not an integer.
        ValueError: If it is below 1.
    """

    window: int = WINDOW_BLOCKS

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

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self._order)

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


def share_begins(n: int, shares: int) -> IndexArray:
    """Return where each share of n samples begins, and n: int64 (shares + 1,).

    Share s has the positions p of an epoch with p % shares == s, so the first n % shares shares hold one sample more.
    """
    number = np.arange(shares + 1, dtype=np.int64)
    return number * (n // shares) + np.minimum(number, n % shares)


class BlockOrder:
    """Blocks of neighbouring samples in random order, dealt to shares, which shuffle the samples of each window.

    A share takes blocks that follow each other in that random order. So every block belongs to one share, except those
    that a boundary cuts in two, at most shares - 1. A sample is served within its window, so only window * block
    samples of a share are needed at a time. Memory is a table of that many entries for each of the last windows, or
    none where an EpochOrder needs none.

    Example: 4 blocks in the order 2, 0, 3, 1 and 2 shares. Share 0 serves blocks 2 and 0 at positions 0, 2, 4 and so
    on; share 1 serves blocks 3 and 1 at positions 1, 3, 5 and so on.

    Args:
        n: Samples.
        block: Samples in a block; the last one may hold fewer.
        window: Blocks that are shuffled together.
        seed: Any integer.
        epoch: Any integer.
        shares: Number of shares. Position p belongs to share p % shares, because ranks take positions in turn.

    Raises:
        ValueError: For fewer than one sample, block, window or share.
    """

    def __init__(self, n: int, block: int, window: int, seed: int, epoch: int, shares: int = 1) -> None:
        if min(block, window, shares) < 1:
            message = f"a block, a window and shares must be at least one, got {block}, {window} and {shares}"
            raise ValueError(message)
        self._window, self._shares = window, shares
        self._blocks = ShuffledGroups(n, block, EpochOrder(-(-n // block), seed, epoch, "blocks"))
        self._begins = share_begins(n, shares)
        #: The block, counted in their random order, in which each share begins.
        self._first = self._blocks.nth_of(self._begins)[0]
        # Positions of many shares take turns among as many windows, or two each where one ends.
        kept = max(_KEPT_WINDOWS, min(2 * shares, _KEPT_SAMPLES // (block * window)))

        @lru_cache(maxsize=kept)
        def inside(share: int, number: int) -> tuple[int, EpochOrder]:
            begin, end = self._begin(share, number), self._begin(share, number + 1)
            # The order of a single share is part of the format.
            of = f" of share {share} of {shares}" if shares > 1 else ""
            return begin, EpochOrder(end - begin, seed, epoch, f"window {number}{of}")

        self._inside = inside

    def at(self, positions: IndexArray) -> IndexArray:
        """Return the samples at positions of an epoch, both int64 (k,)."""
        share, offsets, window = self._dealt(positions)
        key = share * (len(self._blocks) + 1) + window
        by_window = np.argsort(key, kind="stable")
        firsts = np.flatnonzero(np.diff(key[by_window], prepend=-1)).tolist()
        for first, end in pairwise([*firsts, len(positions)]):
            chosen = by_window[first:end]
            begin, order = self._inside(int(share[chosen[0]]), int(window[chosen[0]]))
            offsets[chosen] = order.at(offsets[chosen] - begin) + begin
        return self._blocks.at(offsets)

    def window_of(self, positions: IndexArray) -> IndexArray:
        """Return the window, from 0, of each position in its share, both int64 (k,)."""
        return self._dealt(positions)[2]

    def _dealt(self, positions: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
        """Return shares, offsets before the windows are shuffled, and windows of positions, int64 (k,) each."""
        nth, share = np.divmod(positions, self._shares)
        offsets = self._begins[share] + nth
        return share, offsets, (self._blocks.nth_of(offsets)[0] - self._first[share]) // self._window

    def _begin(self, share: int, number: int) -> int:
        """Return the offset at which a window of a share begins. The first one begins where the share does."""
        begin = self._blocks.begin(int(self._first[share]) + number * self._window)
        return min(max(begin, int(self._begins[share])), int(self._begins[share + 1]))


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
        self._begins = share_begins(n, shares)

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
