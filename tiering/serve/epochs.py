"""Epochs: the orders of all epochs dealt to ranks, and the place that is reached in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from tiering.errors import UsageError
from tiering.order import VERSION, IndexArray
from tiering.serve.share import Share
from tiering.serve.shuffle import Order, Shuffle, StickyOrder, epoch_order

#: A place in the epochs: a few numbers and words, fit for JSON.
State = dict[str, Any]

#: Epochs for which shares are kept by default: dealing them anew costs one epoch's fetching, a sixteenth of all then.
STICKY_EPOCHS: Final = 16


class Epochs:
    """What one rank serves of each epoch of n samples, in batches, and how far it has come.

    n: samples; block: samples in a block of the store. shuffle, seed, window, limit, batch_size, drop_last, rank,
    world_size, sticky, sticky_epochs: as the Loader has them; run: neighbours that sticky shares keep together.
    Raises ValueError for a setting that makes no sense.
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
        """Return the place reached: behind so many batches, by default those that were handed out."""
        position = self._share(self._begin).after(self._served if batches is None else batches)
        shares = {"shares": self._shares} if self._period else {}
        return self._identity() | {"epoch": self.epoch, "position": position} | shares

    def load(self, state: State) -> None:
        """Go on behind a place. Raises UsageError for a state of another order of samples."""
        identity = self._identity()
        other = [name for name, value in identity.items() if state.get(name) != value]
        if other:
            raise UsageError(
                "the loader's state",
                expected=", ".join(f"{name} {identity[name]!r}" for name in other),
                found=", ".join(f"{name} {state.get(name)!r}" for name in other),
                action="Make the loader with the settings that the state was saved with.",
            )
        self.epoch, self._begin, self._served = int(state["epoch"]), int(state["position"]), 0
        self._shares = int(state.get("shares", self._dealt[2]))

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

    def _share(self, begin: int) -> Share:
        return Share(begin, self._end, *self._dealt)
