"""Epochs: the orders of all epochs dealt to ranks, and the place that is reached in them."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, SupportsIndex

import numpy as np

from tiering.errors import UsageError
from tiering.order import VERSION, IndexArray
from tiering.serve.orders import Order, Shuffle, StickyOrder, epoch_order

#: Positions drawn at once: one call of an order costs as much as some thousand positions.
_DRAWN: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class RankBatches:
    """The batches of one rank in positions [begin, end) of an epoch.

    A step of all ranks takes the next batch_size * world_size positions, of which rank r has every world_size-th from
    the r-th on. So whatever the number of ranks, what they have served after a step is one run of positions from the
    begin on, and any other number of ranks can go on behind it. The positions of the last, incomplete step go round
    the ranks in turn; drop_last leaves them out for all.

    Raises ValueError for a batch size, rank or world size that makes no sense.
    """

    begin: int
    end: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must lie in [0, world_size), got rank {self.rank} of {self.world_size}")

    def __len__(self) -> int:
        """Return the number of this rank's batches."""
        whole, rest = divmod(max(0, self.end - self.begin), self._step)
        return whole + int(not self.drop_last and rest > self.rank)

    def after(self, batches: int) -> int:
        """Return the position from which on nothing is served yet, once every rank has served that many batches."""
        return min(self.begin + batches * self._step, self.end)

    def positions(self, first: int = 0, step: int = 1) -> Iterator[list[IndexArray]]:
        """Yield the positions of every step-th batch from the first on, some batches at a time, each int64 (n,)."""
        at_once = max(1, _DRAWN // self.batch_size)
        within = np.arange(self.batch_size, dtype=np.int64) * self.world_size + self.rank
        numbers = range(first, len(self), step)
        for begin in range(0, len(numbers), at_once):
            starts = np.array(numbers[begin : begin + at_once], dtype=np.int64) * self._step + self.begin
            batches = list(starts[:, None] + within)
            batches[-1] = batches[-1][batches[-1] < self.end]
            yield batches

    @property
    def _step(self) -> int:
        return self.batch_size * self.world_size


#: A place in the epochs: a few numbers and words, fit for JSON.
State = dict[str, Any]

#: Epochs for which shares are kept by default: dealing them anew costs one epoch's fetching, a sixteenth of all then.
STICKY_EPOCHS: Final = 16

#: Far more ranks than any job has; a table of shares has one entry per rank.
_MOST_SHARES: Final = 1 << 20


class Epochs:
    """What one rank serves of each epoch of n samples, in batches, and how far it has come.

    n: samples; block: samples in a block of the store. shuffle, seed, window, limit, batch_size, drop_last, rank,
    world_size, sticky, sticky_epochs: as the Loader has them; run: neighbours that sticky shares keep together.
    Raises ValueError for a setting that makes no sense, TypeError for a number that is not an integer.
    """

    def __init__(
        self,
        n: int,
        block: int,
        *,
        batch_size: int,
        shuffle: Shuffle,
        seed: int,
        drop_last: bool,
        rank: int,
        world_size: int,
        limit: int | None,
        window: int,
        sticky: bool = False,
        sticky_epochs: int = STICKY_EPOCHS,
        run: int = 1,
    ) -> None:
        integers = {"batch_size": batch_size, "seed": seed, "rank": rank, "world_size": world_size, "window": window}
        for name, value in {**integers, "sticky_epochs": sticky_epochs, "limit": 1 if limit is None else limit}.items():
            integer(name, value)
        if shuffle not in ("global", "block", False):
            raise ValueError(f'shuffle must be "global", "block" or False, got {shuffle!r}')
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        if window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        if sticky_epochs < 1:
            raise ValueError(f"sticky_epochs must be at least 1, got {sticky_epochs}")
        if sticky and shuffle != "global":
            raise ValueError(f'sticky shares need shuffle="global", got {shuffle!r}')
        self.epoch = 0
        self._run = run
        self._shares, self._period = world_size, sticky_epochs if sticky else 0
        self._begin = self._served = 0
        self._n, self._block = n, block
        self._shuffle: Shuffle = shuffle
        self._seed, self._window = seed, window
        self._end = n if limit is None else min(limit, n)
        self._dealt = (batch_size, rank, world_size, drop_last)
        self._share(0)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._share(0))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch to draw next; from its start, unless a state of that epoch was loaded."""
        epoch = integer("epoch", epoch)
        if epoch != self.epoch:
            self.epoch, self._begin, self._served, self._shares = epoch, 0, 0, self._dealt[2]

    @property
    def turn(self) -> int:
        """How many times shares were dealt anew before the epoch; 0 where none are kept."""
        return self.epoch // self._period if self._period else 0

    def drawn(self, first: int = 0, step: int = 1) -> Iterator[list[IndexArray]]:
        """Yield the samples of every step-th batch of what is left of the epoch, some batches at a time."""
        self._served = 0
        order = self._order()
        for positions in self._share(self._begin).positions(first, step):
            ends = np.cumsum([len(batch) for batch in positions])
            yield np.split(order.at(np.concatenate(positions)), ends[:-1])

    def count(self, batches: int = 1) -> None:
        """Note that batches were handed out."""
        self._served += batches

    @property
    def served(self) -> int:
        """Batches handed out since drawing began."""
        return self._served

    def state(self, batches: int | None = None) -> State:
        """Return the position after a number of batches, by default those that were handed out.

        Raises TypeError for a number of batches that is not an integer, ValueError for one below 0.
        """
        if batches is not None and integer("batches", batches) < 0:
            raise ValueError(f"batches must be at least 0, got {batches}")
        position = self._share(self._begin).after(self._served if batches is None else batches)
        shares = {"shares": self._shares} if self._period else {}
        return self._identity() | {"epoch": self.epoch, "position": position} | shares

    def load(self, state: State) -> None:
        """Continue from a saved position.

        Raises UsageError for a state of another order of samples, or of a position outside the epoch; then nothing has
        changed.
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
        shares = stated(state, "shares", 1, _MOST_SHARES) if self._period else self._dealt[2]
        self.epoch, self._begin, self._served, self._shares = epoch, position, 0, shares

    def _identity(self) -> State:
        """Return what decides the order of samples."""
        found: State = {"order": VERSION, "seed": self._seed, "shuffle": self._shuffle, "samples": self._n}
        found["limit"] = self._end
        found |= {"sticky_epochs": self._period, "run": self._run} if self._period else {"sticky_epochs": None}
        return found | ({"block": self._block, "window": self._window} if self._shuffle == "block" else {})

    def _order(self) -> Order:
        if self._period:
            return StickyOrder(self._n, self._run, self._shares, self._seed, self.epoch, self._period)
        return epoch_order(self._n, self._shuffle, self._seed, self.epoch, self._block, self._window)

    def _share(self, begin: int) -> RankBatches:
        return RankBatches(begin, self._end, *self._dealt)


def integer(name: str, value: object) -> int:
    """Return a caller's number as an int. Raises TypeError if it is not an integer, and for True and False."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be an integer, got {reprlib.repr(value)}")
    return operator.index(value)


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
