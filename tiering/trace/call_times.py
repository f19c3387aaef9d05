"""How long the calls of a trace take: their sum, and percentiles from a histogram with logarithmic bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tiering.trace.events import OPS

#: Bins of each doubling: a percentile is at most 4.5 % above the true one.
_PER_OCTAVE: Final = 16
_SHORTEST: Final = 1e-9
_BINS: Final = 45 * _PER_OCTAVE
#: A call that takes this many times the median is slow.
_SLOW: Final = 10
#: The percentiles of CallTimes.
PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class CallTimes:
    """The times of all calls of one operation whose duration the trace has.

    Attributes:
        op: The operation, of OPS.
        calls: How many.
        seconds: Their sum; calls of several processes may run at the same time.
        percentiles: s, one for each of PERCENTILES; each at most 4.5 % above the true one.
        longest: s.
        tail_seconds: Of `seconds`, those in calls that take more than ten times the median, about.
        tail_share: Their share of the calls.
        curve: Pairs of s and the share of the calls that take at most that.
    """

    op: str
    calls: int
    seconds: float
    percentiles: tuple[float, ...]
    longest: float
    tail_seconds: float
    tail_share: float
    curve: tuple[tuple[float, float], ...]

    def percentile(self, percent: float) -> float:
        """Return one of PERCENTILES, in s."""
        return self.percentiles[PERCENTILES.index(percent)]


class CallTimer:
    """Times while the trace is read. Memory does not grow."""

    def __init__(self) -> None:
        self._counts = np.zeros((len(OPS), _BINS), np.int64)
        self._seconds = np.zeros(len(OPS))
        self._longest = np.zeros(len(OPS))

    def add(self, timed: pl.DataFrame) -> None:
        """Add events with a duration."""
        ops = timed["op"].to_physical().to_numpy().astype(np.int64)
        seconds = timed["duration"].to_numpy()
        bins = np.ceil(_PER_OCTAVE * np.log2(np.maximum(seconds, _SHORTEST) / _SHORTEST)).astype(np.int64)
        flat = ops * _BINS + np.minimum(bins, _BINS - 1)
        self._counts += np.bincount(flat, minlength=self._counts.size).reshape(self._counts.shape)
        self._seconds += np.bincount(ops, seconds, len(OPS))
        np.maximum.at(self._longest, ops, seconds)

    def found(self) -> list[CallTimes]:
        """Return the times of each operation that the events have, the one that takes longest in all first."""
        made = [self._of(row) for row in np.flatnonzero(self._counts.any(axis=1)).tolist()]
        return sorted(made, key=lambda times: -times.seconds)

    def _of(self, row: int) -> CallTimes:
        counts: NDArray[np.int64] = self._counts[row]
        until = np.cumsum(counts)
        total, longest = int(until[-1]), float(self._longest[row])
        edges = _SHORTEST * 2.0 ** (np.arange(_BINS) / _PER_OCTAVE)
        at = [int(np.searchsorted(until, total * percent / 100)) for percent in PERCENTILES]
        seen = np.flatnonzero(counts)
        slow = np.arange(_BINS) > at[0] + np.log2(_SLOW) * _PER_OCTAVE
        # A bin's calls are known by its edge alone; the share of slow ones in the sum is hardly changed by that.
        weights = counts * edges
        return CallTimes(
            op=OPS[row],
            calls=total,
            seconds=float(self._seconds[row]),
            percentiles=tuple(min(float(edges[each]), longest) for each in at),
            longest=longest,
            tail_seconds=float(self._seconds[row] * weights[slow].sum() / weights.sum()),
            tail_share=float(counts[slow].sum() / total),
            curve=tuple((min(float(edges[each]), longest), float(until[each] / total)) for each in seen.tolist()),
        )
