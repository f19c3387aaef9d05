"""Iterations: which epoch each iteration serves. Loader, EpochSampler and EpochDataset share one rule.

- The first iteration serves epoch 0. Each iteration moves on: the next one serves the next epoch, whether or not this
  one reached its end. An iteration begins with `iter()`, not with the first batch.
- After `set_epoch(e)`, the next iteration serves epoch e. The ones after it go on from there.
- After `load_state_dict(state)`, the next iteration serves the rest of the saved epoch. The ones after it go on from
  there. `set_epoch` of that same epoch in between changes nothing; any later `set_epoch` begins an epoch at its start.
- `state_dict()` and `len()` describe the iteration that began last. Once it has reached its end, or after `set_epoch`
  or `load_state_dict`, they describe the next one. After a resume, `len()` is the number of batches that were left.
- Each iterator has a position of its own.

The workers of a DataLoader share these facts in memory (shared_iterations.py).
"""

from __future__ import annotations

import logging
from typing import Final

from tiering.serve.epochs import Epochs
from tiering.serve.ranks import Ranks
from tiering.serve.states import State

_log: Final = logging.getLogger("tiering")


def warn_of_repeat(epoch: int) -> None:
    """Log that set_epoch lets an epoch be served again, as a library does that is never told the next epoch."""
    _log.warning(
        "Epoch %s is served again: set_epoch(%s) was called for the last iteration too. If you did not mean that, "
        "call set_epoch with the next epoch, or not at all. Hugging Face's Accelerate calls it: after leaving an epoch "
        "early, call the prepared loader's set_epoch.", epoch, epoch,
    )  # fmt: skip


class Iterations:
    """The iterations of one process.

    Args:
        epochs: The epochs to serve, at the position of the first iteration.
    """

    def __init__(self, epochs: Epochs) -> None:
        self._next = epochs
        self._last: Epochs | None = None
        # The epochs that set_epoch has chosen for the next iteration, and had chosen for the last one.
        self._chosen: int | None = None
        self._chosen_before: int | None = None

    def __repr__(self) -> str:
        return repr(self._current)

    @property
    def _current(self) -> Epochs:
        return self._next if self._last is None or self._last.ended else self._last

    @property
    def epoch(self) -> int:
        """The epoch that is being served, or is next."""
        return self._current.epoch

    def __len__(self) -> int:
        """Return the number of batches that the current iteration serves in all, or the next one will."""
        return len(self._current)

    def share(self, ranks: Ranks) -> None:
        """Serve the next iterations to a process of other ranks."""
        if ranks != self._next.ranks:
            self._next = self._next.shared_by(ranks)

    def begin(self) -> Epochs:
        """Begin an iteration. Return its epoch, with a position of its own, and move on to the next one."""
        self._last = begun = self._next
        self._next = begun.at(begun.epoch + 1)
        self._chosen_before, self._chosen = self._chosen, None
        return begun

    def set_epoch(self, epoch: int) -> bool:
        """Let the next iteration serve an epoch, from its start unless a state of that epoch was just loaded.

        Returns:
            Whether set_epoch had chosen the same epoch for the last iteration.
        """
        self._next.set_epoch(epoch)
        self._last, self._chosen = None, self._next.epoch
        return self._chosen == self._chosen_before

    def load(self, state: State) -> None:
        """Let the next iteration serve the rest of a saved epoch. Raises as Epochs.load; nothing changes then."""
        self._next.load(state)
        self._last = self._chosen = self._chosen_before = None

    def state(self, batches: int | None = None) -> State:
        """Return the position of the iteration that began last.

        Args:
            batches: How many of its batches the training has finished; by default all that were handed out.
        """
        if batches is None:
            return self._current.state()
        return (self._next if self._last is None else self._last).state(batches)
