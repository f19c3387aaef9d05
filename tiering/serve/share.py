"""Share: which positions of an epoch one rank serves, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from tiering.arrays import IndexArray

#: Positions drawn at once: one call of an order costs as much as some thousand positions.
_DRAWN: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Share:
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
