"""Which epoch a running job is in, and when it ends: an estimate from what each look saw it read."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp
from typing import Final

import polars as pl

from tiering.trace.program_files import is_noise
from tiering.trace.watching.observation import Observation

#: s over which the rate of reading is averaged, and after which a job that reads nothing has stopped.
_AVERAGED: Final = 30.0
#: Share of the bytes touched that may be new while a job reads known data again.
_FEW: Final = 0.01
#: Share of the bytes touched. Once this share has been read with hardly a new byte, the whole dataset has been seen.
_SETTLED: Final = 0.1
#: Share of the bytes touched. Once this share has been read again, an epoch has ended.
_RETURNED: Final = 0.01
#: Share of the bytes read. Up to this share may be read at unknown places before "touched" becomes unknown.
_UNPLACED: Final = 0.05
#: Share of an epoch's bytes. If this share of further bytes is new, the epoch had not ended.
_MISTAKEN: Final = 0.1


@dataclass(frozen=True, slots=True)
class EpochEstimate:
    """Where a job is in its epochs, estimated from the bytes that it read.

    Attributes:
        number: The epoch, from 1. Epochs before the watch began do not count.
        done: The share of it that is read, in [0, 1].
        bytes: B of an epoch.
        seconds: s that an epoch takes at the rate of the last half minute; None while nothing is read.
        seconds_left: s to its end at that rate; None while nothing is read.
        anchored: Whether its beginning is known: the watch began with the job, or saw an epoch begin. If not, epochs
            are counted from where the watch began.
    """

    number: int
    done: float
    bytes: int
    seconds: float | None
    seconds_left: float | None
    anchored: bool


class EpochEstimator:
    """Estimates epochs in constant memory.

    A job that trains reads each byte of its dataset once an epoch. So its place in an epoch is the number of bytes that
    it has read since an epoch began, divided by those of an epoch. Two questions remain:

    How many bytes has an epoch? Those of the dataset, where it is given. Or those that the job has touched by the time
    that it touches hardly any new ones, which also holds for a job that reads a part of its dataset.

    When did an epoch begin? With the job, if the watch began with it. If not, the first re-reads show that an epoch
    begins where the order is shuffled. A fixed order shows re-reads only after a whole pass: then epochs are counted
    from where the watch began.

    Args:
        from_start: Whether the watch began with the job.
        dataset_bytes: B of the dataset; None if there is none to go by.

    Example:
        >>> estimator = EpochEstimator(from_start=True, dataset_bytes=50_000_000)
        >>> estimator.estimate() is None
        True
    """

    def __init__(self, *, from_start: bool, dataset_bytes: int | None = None) -> None:
        self.touched = self.touched_again = 0
        self._shown = False
        self._from_start = self._anchored = from_start
        self._given = dataset_bytes
        self._found: int | None = None
        self._by_events = self._read = 0
        # Where the current count of epochs began, and where the job last read many new bytes: B read by then.
        self._began = self._last_new = 0
        self._new = self._again = 0
        self._recent_bytes = self._recent_seconds = self._idle = 0.0

    def add(self, look: Observation) -> None:
        """Take note of a look."""
        before = self._read
        new, again = look.touched or 0, look.touched_again or 0
        self.touched += new
        self.touched_again += again
        if look.touched is None:
            self._by_events += _data_read(look.events)
        else:
            self._shown = True
        self._read = self.touched + self.touched_again + self._by_events
        moved = self._read - before
        kept = exp(-look.seconds / _AVERAGED)
        self._recent_bytes = self._recent_bytes * kept + moved
        self._recent_seconds = self._recent_seconds * kept + look.seconds
        self._idle = 0.0 if moved else self._idle + look.seconds
        self._new += new
        self._again += again
        self._find_epoch(before)

    def _find_epoch(self, before: int) -> None:
        """Find the bytes of an epoch, and where one began. before: B read before this look."""
        if not self.shows_bytes:
            return
        # No more of a dataset can be touched than it holds, but some sources count parts of files as wholes.
        touched = min(self.touched, self._given or self.touched)
        if self._new > _FEW * touched:
            self._new, self._last_new = 0, self._read
        if self._found is not None and touched > (1 + _MISTAKEN) * self._found:
            # What looked like the dataset was an index, or the first of several.
            self._found, self._again = None, 0
            self._anchored, self._began = self._from_start, 0
        if self.touched_again and self._read - self._last_new >= _SETTLED * touched:
            self._found = touched
        if not self._anchored and self._again > _RETURNED * max(touched, (self._given or 0) / 5):
            self._anchored, self._began = True, before

    @property
    def shows_bytes(self) -> bool:
        """Whether it is known which bytes were read, but for few."""
        return self._shown and self._by_events <= _UNPLACED * self._read

    @property
    def touched_share(self) -> float | None:
        """The share of the dataset that was touched; None where no source shows it, or the dataset is not known."""
        whole = self._given or self._found
        return min(1.0, self.touched / whole) if whole and self.touched and self.shows_bytes else None

    def estimate(self) -> EpochEstimate | None:
        """Return the estimate; None while the bytes of an epoch are not known, or nothing was read."""
        size = self._found or self._given
        if not size or not self._read:
            return None
        earlier = max(1, ceil(self._began / size - _MISTAKEN)) if self._began else 0
        whole, rest = divmod(self._read - self._began, size)
        rate = self._recent_bytes / self._recent_seconds if self._recent_seconds else 0.0
        moving = self._idle < _AVERAGED
        return EpochEstimate(
            number=1 + earlier + whole,
            done=rest / size,
            bytes=size,
            seconds=size / rate if moving else None,
            seconds_left=(size - rest) / rate if moving else None,
            anchored=self._anchored,
        )


def _data_read(events: pl.DataFrame) -> int:
    """Return the bytes of reads that are not of the program's own files."""
    if events.is_empty():
        return 0
    reads = events.filter(pl.col("op") == "read")
    return int(reads.filter(~is_noise())["size"].sum()) if len(reads) else 0
