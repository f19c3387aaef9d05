"""DrawnIndex: an index that takes its epoch with it, from a sampler to a worker."""

from __future__ import annotations

from typing import Self


class DrawnIndex(int):
    """The number of a sample, with what its random numbers depend on.

    A DataLoader passes only indices to its workers, and a worker may still read samples of one epoch when the next one
    has begun. So each index has its epoch.

    Attributes:
        epoch: The epoch that draws it.
        seed: The seed of the epochs.
        draw: Tells apart the draws of a sample that an epoch serves more than once.
    """

    epoch: int
    seed: int
    draw: int

    def __new__(cls, index: int, epoch: int = 0, seed: int = 0, draw: int = 0) -> Self:
        """Make an index; a plain one is of epoch 0."""
        found = super().__new__(cls, index)
        found.epoch, found.seed, found.draw = epoch, seed, draw
        return found

    def __reduce__(self) -> tuple[type[DrawnIndex], tuple[int, int, int, int]]:
        return DrawnIndex, (int(self), self.epoch, self.seed, self.draw)
