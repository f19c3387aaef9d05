"""Epochs: deals the samples of each epoch to ranks in batches, and saves and resumes the position in an epoch."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tiering.arrays import IndexArray
from tiering.errors import UsageError
from tiering.permutation import VERSION, EpochOrder
from tiering.serve.orders import (
    BlockOrder,
    BlockShuffle,
    Order,
    Shuffle,
    StickyOrder,
    StickyShuffle,
    StoreOrder,
    at_least_one,
    integer,
    plain_shuffle,
)

#: Positions drawn at once: one call of an order costs as much as some thousand positions.
_DRAWN: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which share of every epoch a process serves.

    Together the ranks serve each sample exactly once. All have the same number of batches, except at the end of an
    epoch: if fewer than `world_size` samples are left over, that many ranks serve one more batch, of one sample.

    Attributes:
        rank: Number of this process, in [0, world_size).
        world_size: How many processes share the epoch.

    Raises:
        TypeError: If one of them is not an integer.
        ValueError: If `rank` is outside its range.

    Example:
        >>> Ranks(1, 4)
        Ranks(rank=1, world_size=4)
    """

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= integer("rank", self.rank) < integer("world_size", self.world_size):
            raise ValueError(f"rank must be in [0, world_size), got rank {self.rank} of {self.world_size}")


@dataclass(frozen=True, slots=True)
class RankBatches:
    """The batches of one rank in positions [begin, end) of an epoch.

    A step of all ranks takes the next batch_size * world_size positions. Rank r takes every world_size-th of them,
    starting with the r-th. After each step, the served positions are those from `begin` up to some position, however
    many ranks there are, so any other number of ranks can continue from there. The positions of the last, incomplete
    step are dealt to the ranks in turn; `drop_last` leaves them out for all ranks.

    Example: positions 0 to 10, 2 ranks, batches of 2. Rank 0 has [0, 2], [4, 6], [8, 10]; rank 1 has [1, 3], [5, 7],
    [9]. After one step, positions 0 to 3 are served.
    """

    begin: int
    end: int
    batch_size: int
    ranks: Ranks = Ranks()
    drop_last: bool = False

    def __len__(self) -> int:
        """Return the number of this rank's batches."""
        whole, rest = divmod(max(0, self.end - self.begin), self._step)
        return whole + int(not self.drop_last and rest > self.ranks.rank)

    def after(self, batches: int) -> int:
        """Return the first unserved position once every rank has served that many batches."""
        return min(self.begin + batches * self._step, self.end)

    def positions(self, first: int = 0, step: int = 1) -> Iterator[list[IndexArray]]:
        """Yield the positions of every step-th batch from the first on, some batches at a time, each int64 (n,)."""
        at_once = max(1, _DRAWN // self.batch_size)
        within = np.arange(self.batch_size, dtype=np.int64) * self.ranks.world_size + self.ranks.rank
        numbers = range(first, len(self), step)
        for begin in range(0, len(numbers), at_once):
            starts = np.array(numbers[begin : begin + at_once], dtype=np.int64) * self._step + self.begin
            batches = list(starts[:, None] + within)
            batches[-1] = batches[-1][batches[-1] < self.end]
            yield batches

    @property
    def _step(self) -> int:
        return self.batch_size * self.ranks.world_size


#: A position in the epochs: a few numbers and words, fit for JSON.
State = dict[str, Any]

#: Far more ranks than any job has; a table of shares has one entry per rank.
_MOST_SHARES: Final = 1 << 20


class Epochs:
    """The samples that one rank serves in each epoch, in batches, and the position it has reached.

    Args:
        n: Samples in the store.
        block: Samples in a block of the store, for BlockShuffle.
        batch_size: Samples in a batch.
        shuffle: See `Shuffle`.
        seed: Seed of the shuffles, any integer.
        ranks: The share of this process; by default all of it.
        drop_last: Leave out the incomplete end of each epoch.
        limit: Serve only this many samples of each epoch, the first ones.
        unit: Samples in a cache unit, which StickyShuffle keeps together.

    Raises:
        ValueError: For a setting that makes no sense.
        TypeError: For a number that is not an integer.
    """

    def __init__(
        self,
        n: int,
        block: int = 1,
        *,
        batch_size: int,
        shuffle: Shuffle = True,
        seed: int = 0,
        ranks: Ranks | None = None,
        drop_last: bool = False,
        limit: int | None = None,
        unit: int = 1,
    ) -> None:
        at_least_one("batch_size", batch_size)
        integer("seed", seed)
        if limit is not None:
            at_least_one("limit", limit)
        self.ranks = ranks or Ranks()
        self.epoch = 0
        self._shuffle = plain_shuffle(shuffle)
        self._unit = unit
        self._period = self._shuffle.epochs if isinstance(self._shuffle, StickyShuffle) else 0
        self._shares = self.ranks.world_size
        self._begin = self._served = 0
        self._n, self._block, self._seed = n, block, seed
        self._end = n if limit is None else min(limit, n)
        self._batch_size, self._drop_last = batch_size, drop_last

    def __repr__(self) -> str:
        return f"shuffle={self._shuffle!r}, seed={self._seed}, {self.ranks!r}, epoch={self.epoch}"

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._batches(0))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to draw next. It is drawn from its start, unless a state of that epoch was loaded."""
        epoch = integer("epoch", epoch)
        if epoch != self.epoch:
            self.epoch, self._begin, self._served, self._shares = epoch, 0, 0, self.ranks.world_size

    @property
    def deal(self) -> int:
        """How many times StickyShuffle has dealt the samples again by this epoch; 0 for other shuffles."""
        return self.epoch // self._period if self._period else 0

    def drawn(self, first: int = 0, step: int = 1) -> Iterator[list[IndexArray]]:
        """Yield the samples of every step-th remaining batch of the epoch, some batches at a time."""
        self._served = 0
        order = self._order()
        for positions in self._batches(self._begin).positions(first, step):
            ends = np.cumsum([len(batch) for batch in positions])
            yield np.split(order.at(np.concatenate(positions)), ends[:-1])

    def count(self, batches: int = 1) -> None:
        """Note that batches were handed out."""
        self._served += batches

    def state(self, batches: int | None = None) -> State:
        """Return the position after a number of batches, by default those that were handed out.

        Raises:
            TypeError: For a number of batches that is not an integer.
            ValueError: For one below 0.
        """
        if batches is not None and integer("batches", batches) < 0:
            raise ValueError(f"batches must be at least 0, got {batches}")
        position = self._batches(self._begin).after(self._served if batches is None else batches)
        shares = {"shares": self._shares} if self._period else {}
        return self._identity() | {"epoch": self.epoch, "position": position} | shares

    def load(self, state: State) -> None:
        """Continue from a saved position.

        Raises:
            UsageError: For a state with another order of samples, or a position outside the epoch. Nothing changes.
        """
        if not isinstance(state, dict):
            raise refused("a dict from state_dict", repr(state))
        identity = self._identity()
        other = [name for name, value in identity.items() if state.get(name) != value]
        if other:
            raise refused(
                ", ".join(f"{name} {identity[name]!r}" for name in other),
                ", ".join(f"{name} {state.get(name)!r}" for name in other),
            )
        epoch = stated(state, "epoch")
        position = stated(state, "position", 0, self._end)
        shares = stated(state, "shares", 1, _MOST_SHARES) if self._period else self.ranks.world_size
        self.epoch, self._begin, self._served, self._shares = epoch, position, 0, shares

    def _identity(self) -> State:
        """Return the settings that decide the order of samples, with the keys of saved states."""
        blocks = self._shuffle if isinstance(self._shuffle, BlockShuffle) else None
        name = "block" if blocks else "global" if self._shuffle else False
        found: State = {"order": VERSION, "seed": self._seed, "shuffle": name, "samples": self._n, "limit": self._end}
        found |= {"sticky_epochs": self._period, "run": self._unit} if self._period else {"sticky_epochs": None}
        return found | ({"block": self._block, "window": blocks.window} if blocks else {})

    def _order(self) -> Order:
        if self._period:
            return StickyOrder(self._n, self._unit, self._shares, self._seed, self.epoch, self._period)
        if isinstance(self._shuffle, BlockShuffle):
            return BlockOrder(self._n, self._block, self._shuffle.window, self._seed, self.epoch)
        return EpochOrder(self._n, self._seed, self.epoch) if self._shuffle else StoreOrder()

    def _batches(self, begin: int) -> RankBatches:
        return RankBatches(begin, self._end, self._batch_size, self.ranks, self._drop_last)


def stated(state: State, name: str, least: float = -math.inf, most: float = math.inf) -> int:
    """Return a number from a state. Raises UsageError if it is not an integer from least to most."""
    try:
        number = integer(name, state.get(name))
    except TypeError as error:
        raise refused(f"an integer as {name}", reprlib.repr(state.get(name))) from error
    if not least <= number <= most:
        raise refused(f"{name} from {least:,} to {most:,}", reprlib.repr(number))
    return number


def refused(expected: str, found: str) -> UsageError:
    """Return the error for a state that does not fit this loader."""
    return UsageError(
        "the loader's state",
        expected=expected,
        found=found,
        action="Make the loader with the settings that it had when the state was saved.",
    )
