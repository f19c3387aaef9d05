"""Epochs: deals the samples of each epoch to ranks in batches, and saves and resumes the position in an epoch."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from copy import copy
from itertools import accumulate, pairwise
from typing import Final

import numpy as np

from tiering.arrays import IndexArray
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
from tiering.serve.ranks import Even, RankBatches, Ranks, check_even
from tiering.serve.sampling import IDENTITY_KEYS, EpochSetting, Sampling, refuse_shuffle
from tiering.serve.states import State, refused, stated

#: Far more ranks than any job has; a table of shares has one entry per rank.
_MOST_SHARES: Final = 1 << 20
_MOST_BATCH: Final = 1 << 31

#: The batch size, the first position, and what was dealt before it, as in EpochSetting.
_Part = tuple[int, int, tuple[int, ...]]


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
        even: How to deal samples that the ranks cannot share evenly.
        limit: Serve only this many samples of each epoch, the first ones.
        unit: Samples in a cache unit, which StickyShuffle keeps together.
        sampling: What each epoch serves; by default every sample once.
        selection: Returns the digest of the selection that the samples are; None for a whole store.

    Raises:
        UsageError: For a shuffle that the sampling cannot have.
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
        even: Even = "pad",
        limit: int | None = None,
        unit: int = 1,
        sampling: Sampling | None = None,
        selection: Callable[[], str | None] | None = None,
    ) -> None:
        at_least_one("batch_size", batch_size)
        integer("seed", seed)
        check_even(even)
        if limit is not None:
            at_least_one("limit", limit)
        self.ranks = ranks or Ranks()
        self.epoch = 0
        self._shuffle = plain_shuffle(shuffle)
        self._unit, self._sampling, self._selection = unit, sampling, selection
        if sampling:
            refuse_shuffle(self._shuffle, sampling)
            n = sampling.positions
        self._period = self._shuffle.epochs if isinstance(self._shuffle, StickyShuffle) else 0
        #: Whether the order deals the samples to shares, one for each rank, and whether to their batches.
        self._to_batches = sampling is not None and sampling.dealt
        self._dealt = self._to_batches or isinstance(self._shuffle, BlockShuffle | StickyShuffle)
        #: With how many ranks the epoch began.
        self._shares = self.ranks.world_size
        #: For a mixture: with which batches these ranks serve it, from which position on, and what came before.
        self._part: _Part = (batch_size, 0, ())
        self._begin = self._served = 0
        #: Whether an iteration has reached the end of the epoch.
        self.ended = False
        self._n, self._block, self._seed = n, block, seed
        self._end = n if limit is None else min(limit, n)
        self._batch_size, self._drop_last, self._even = batch_size, drop_last, even
        self._batches(0).check()

    def __repr__(self) -> str:
        return f"shuffle={self._shuffle!r}, seed={self._seed}, {self.ranks!r}, epoch={self.epoch}"

    def __len__(self) -> int:
        """Return the number of batches from the position on."""
        return len(self._batches(self._begin))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to draw next. It is drawn from its start, unless a state of that epoch was loaded."""
        epoch = integer("epoch", epoch)
        if epoch != self.epoch:
            self._restart(epoch)

    def _restart(self, epoch: int) -> None:
        self.epoch, self._begin, self._served = epoch, 0, 0
        self._shares, self._part = self.ranks.world_size, (self._batch_size, 0, ())

    def at(self, epoch: int) -> Epochs:
        """Return the same epochs at the start of one of them, with a position of their own."""
        found = copy(self)
        found.ended = False
        found._restart(integer("epoch", epoch))  # noqa: SLF001 - of the same class
        return found

    def shared_by(self, ranks: Ranks) -> Epochs:
        """Return the same epochs at the same position for a process of other ranks."""
        found = copy(self)
        found.ranks = ranks
        found._restart(self.epoch)  # noqa: SLF001 - of the same class
        if self._begin:
            found.load(self.state(0))
        found._batches(self._begin).check()  # noqa: SLF001 - of the same class
        return found

    def resumed(self, state: State) -> Epochs:
        """Return the same epochs at a saved position, with a position of their own. Raises as `load`."""
        found = self.at(0)
        found.load(state)
        return found

    @property
    def deal(self) -> int:
        """How many times StickyShuffle has dealt the samples again by this epoch; 0 for other shuffles."""
        return self.epoch // self._period if self._period else 0

    def drawn(self, first: int = 0, step: int = 1) -> Iterator[list[IndexArray]]:
        """Yield the samples of every step-th remaining batch of the epoch, some batches at a time."""
        yield from self._by_batch(self._order().at, first, step)

    def drawn_with_windows(self, first: int = 0, step: int = 1) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Yield the batches of `drawn` one at a time, each with the window of every sample, for BlockShuffle.

        Windows are numbered in the order in which they are served, so the numbers never decrease.

        Raises:
            TypeError: For another shuffle.
        """
        order = self._order()
        if not isinstance(order, BlockOrder):
            raise TypeError(f"only BlockShuffle has windows, got {self._shuffle!r}")
        drawn = newest = 0
        for positions in self._batches(self._begin).positions(first, step):
            ends = np.cumsum([len(batch) for batch in positions])[:-1]
            together = np.concatenate(positions)
            if self.ranks.world_size % self._shares == 0:  # all of the positions belong to one share
                windows = order.window_of(together)
                # A sample of the beginning that is served again at the end belongs to the window there.
                windows = np.maximum.accumulate(np.maximum(windows, newest))
                newest = windows[-1]
            else:
                # A state of another number of ranks: this rank takes turns among several shares. Holding a window of
                # every share could need any amount of memory, so it holds as many samples as one window has.
                windows = np.arange(drawn, drawn + len(together)) // self.window
            drawn += len(together)
            yield from zip(np.split(order.at(together), ends), np.split(windows, ends), strict=True)

    def draws(self, first: int = 0, step: int = 1) -> Iterator[list[IndexArray]]:
        """Yield, for the batches of `drawn`, numbers that tell apart the draws of a sample: int64 (n,) each.

        They are 0 if the epoch serves each sample once.
        """
        draws_at: Callable[[IndexArray], IndexArray] = np.zeros_like
        if self._sampling:
            draws_at = self._sampling.order(self._setting(self.epoch, self._shares, self._part)).draws
        yield from self._by_batch(draws_at, first, step)

    def _by_batch(
        self, values_at: Callable[[IndexArray], IndexArray], first: int, step: int
    ) -> Iterator[list[IndexArray]]:
        """Yield the values at the positions of every step-th remaining batch, some batches at a time."""
        for positions in self._batches(self._begin).positions(first, step):
            ends = [0, *accumulate(len(batch) for batch in positions)]
            values = values_at(np.concatenate(positions))
            yield [values[begin:end] for begin, end in pairwise(ends)]

    @property
    def window(self) -> int:
        """Samples of a window of BlockShuffle; 0 for other shuffles."""
        return self._shuffle.window * self._block if isinstance(self._shuffle, BlockShuffle) else 0

    @property
    def padded(self) -> int | None:
        """The number of the batch whose last sample this rank serves again, to keep the ranks even, if there is one."""
        return self._batches(self._begin).padded

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
        shares = {"shares": self._shares} if self._dealt else {}
        batch_size, begin, given = self._part
        part = {"batch": batch_size, "begin": begin, "given": list(given)} if self._to_batches else {}
        identity = self._identity()
        if identity["selection"] is None:
            del identity["selection"]  # states of whole stores stay as they were in earlier versions
        return identity | {"epoch": self.epoch, "position": position} | shares | part

    def load(self, state: State) -> None:
        """Continue from a saved position.

        Raises:
            UsageError: For a state with another order of samples, or a position outside the epoch. Nothing changes.
        """
        if not isinstance(state, dict):
            raise refused("a dict from state_dict", repr(state))
        identity = dict.fromkeys(IDENTITY_KEYS) | self._identity()
        other = [name for name, value in identity.items() if state.get(name) != value]
        if other:
            raise refused(
                ", ".join(f"{name} {identity[name]!r}" for name in other),
                ", ".join(f"{name} {state.get(name)!r}" for name in other),
            )
        epoch = stated(state, "epoch")
        position = stated(state, "position", 0, self._end)
        if isinstance(self._shuffle, BlockShuffle):
            state = {"shares": 1} | state  # older states have none: all ranks shared each window
        shares = stated(state, "shares", 1, _MOST_SHARES) if self._dealt else self.ranks.world_size
        part = self._part_of(state, epoch, position, shares) if self._to_batches else (shares, self._part)
        self._batches(position).check()
        self.epoch, self._begin, self._served = epoch, position, 0
        self._shares, self._part = part

    def _identity(self) -> State:
        """Return the settings that decide the order of samples, with the keys of saved states."""
        blocks = self._shuffle if isinstance(self._shuffle, BlockShuffle) else None
        name = "block" if blocks else "global" if self._shuffle else False
        found: State = {"order": VERSION, "seed": self._seed, "shuffle": name, "samples": self._n, "limit": self._end}
        found |= {"sticky_epochs": self._period, "run": self._unit} if self._period else {"sticky_epochs": None}
        found["selection"] = self._selection() if self._selection else None
        found |= self._sampling.identity if self._sampling else {}
        return found | ({"block": self._block, "window": blocks.window} if blocks else {})

    def _order(self) -> Order:
        if self._sampling:
            return self._sampling.order(self._setting(self.epoch, self._shares, self._part))
        if self._period:
            return StickyOrder(self._n, self._unit, self._shares, self._seed, self.epoch, self._period)
        if isinstance(self._shuffle, BlockShuffle):
            return BlockOrder(self._n, self._block, self._shuffle.window, self._seed, self.epoch, self._shares)
        return EpochOrder(self._n, self._seed, self.epoch) if self._shuffle else StoreOrder()

    def _setting(self, epoch: int, shares: int, part: _Part) -> EpochSetting:
        return EpochSetting(self._seed, epoch, self._shuffle is not False, self._end, shares, *part)

    def _part_of(self, state: State, epoch: int, position: int, shares: int) -> tuple[int, _Part]:
        """Return how a mixture is served from a saved position on: as before, or dealt again to other ranks or batches.

        Raises UsageError for a state in which that is impossible.
        """
        sampling, own = self._sampling, (self.ranks.world_size, self._batch_size)
        given = state.get("given")
        if sampling is None or not isinstance(given, list) or not all(type(each) is int for each in given):
            raise refused("a list of integers as given", reprlib.repr(given))
        begin = stated(state, "begin", 0, position)
        if not sampling.check_given(tuple(given), begin):
            raise refused(f"samples of each store, {begin:,} in all, as given", reprlib.repr(given))
        part = stated(state, "batch", 1, _MOST_BATCH), begin, tuple(given)
        if (shares, part[0]) == own:
            return shares, part
        before = sampling.given_before(self._setting(epoch, shares, part), position)
        return (shares, part) if before is None else (own[0], (own[1], position, before))

    def _batches(self, begin: int) -> RankBatches:
        # Samples before the part of a mixture that was dealt again have other positions now.
        first = self._part[1] if self._to_batches else 0
        return RankBatches(begin, self._end, self._batch_size, self.ranks, self._drop_last, self._even, first)
