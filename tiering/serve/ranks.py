"""Ranks: the processes that share an epoch, and the positions that each of them serves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from tiering.arrays import IndexArray
from tiering.errors import UsageError
from tiering.serve.orders import integer

#: How an epoch whose samples cannot be divided evenly is dealt to the ranks.
Even = Literal["pad", "drop", "error", False]

#: Positions drawn at once: one call of an order costs as much as some thousand positions.
_DRAWN: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which share of every epoch a process serves.

    Together the ranks serve each sample once. If the samples cannot be divided evenly, the Loader's `even` says what
    happens at the end of the epoch.

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
    step are dealt to the ranks in turn. If `even` is "pad", ranks that get one fewer serve one from the beginning of
    the epoch again; if it is "drop", the others leave their last one out. `drop_last` leaves out the whole incomplete
    step.

    Example: positions 0 to 10, 2 ranks, batches of 2. Rank 0 has [0, 2], [4, 6], [8, 10]; rank 1 has [1, 3], [5, 7],
    [9]. After one step, positions 0 to 3 are served. With "pad", rank 1 ends with [9, 0]; with "drop", rank 0 ends
    with [8].

    Attributes:
        begin: The first position.
        end: The position after the last one.
        batch_size: Positions in a batch.
        ranks: This rank.
        drop_last: Leave out the incomplete step.
        even: How to deal an uneven number of positions.
        first: The first position that padding serves again; at most `begin`.
    """

    begin: int
    end: int
    batch_size: int
    ranks: Ranks = Ranks()
    drop_last: bool = False
    even: Even = "pad"
    first: int = 0

    def __len__(self) -> int:
        """Return the number of this rank's batches."""
        whole, rest = divmod(max(0, self._stop - self.begin), self._step)
        return whole + int(rest > self.ranks.rank)

    def after(self, batches: int) -> int:
        """Return the first unserved position once every rank has served that many batches."""
        return min(self.begin + batches * self._step, self.end)

    @property
    def padded(self) -> int | None:
        """The number of the batch whose last position is served again, if this rank has one: its last batch."""
        again = self._stop - self.end
        return len(self) - 1 if again > 0 and self.ranks.rank >= self.ranks.world_size - again else None

    def check(self) -> None:
        """Raise UsageError if `even` is "error" and the ranks would have unequal numbers of positions."""
        left, world_size = self.end - self.begin, self.ranks.world_size
        if self.even != "error" or self.drop_last or left % world_size == 0:
            return
        raise UsageError(
            "even", expected=f"samples that {world_size:,} ranks can share evenly", found=f"{left:,} samples",
            action=f'even="pad" serves {-left % world_size:,} of them twice an epoch; even="drop" leaves out '
            f"{left % world_size:,}, others in each epoch.",
        )  # fmt: skip

    def positions(self, first: int = 0, step: int = 1) -> Iterator[list[IndexArray]]:
        """Yield the positions of every step-th batch from the first on, some batches at a time, each int64 (n,)."""
        at_once = max(1, _DRAWN // self.batch_size)
        within = np.arange(self.batch_size, dtype=np.int64) * self.ranks.world_size + self.ranks.rank
        numbers = range(first, len(self), step)
        for begin in range(0, len(numbers), at_once):
            starts = np.array(numbers[begin : begin + at_once], dtype=np.int64) * self._step + self.begin
            batches = list(starts[:, None] + within)
            last = batches[-1][batches[-1] < self._stop]
            batches[-1] = np.where(last < self.end, last, self.first + (last - self.end) % (self.end - self.first))
            yield batches

    @property
    def _step(self) -> int:
        return self.batch_size * self.ranks.world_size

    @property
    def _stop(self) -> int:
        """The position after the last one that is served. Positions from `end` on stand for those from `first` on."""
        left = max(0, self.end - self.begin)
        if self.drop_last:
            return self.end - left % self._step
        if self.even == "pad":
            return self.end + -left % self.ranks.world_size
        return self.end - (left % self.ranks.world_size if self.even == "drop" else 0)


def check_even(even: object) -> None:
    """Raise ValueError for anything but an `Even`."""
    if not any(even is each or (isinstance(even, str) and even == each) for each in get_args(Even)):
        raise ValueError(f'even must be "pad", "drop", "error" or False, got {even!r}')
