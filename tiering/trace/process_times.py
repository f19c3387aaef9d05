"""What the processes of a trace do over time: read, write, make other calls, or something that the trace does not show.

A moment of a process counts once: for the call that covers it first. Processes are alive from their first event to the
end of their last one. Example: a process reads from 0 to 3 s, and a thread of it writes from 2 to 4 s; its last event
ends at 10 s. That is 3 s of reading, 1 s of writing, and 6 s outside calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tiering.trace.intervals import running_maximum

#: The kinds of calls, in the order of the rows of ProcessTimes.calls.
KINDS: Final = ("read", "write", "other")
_BINS: Final = 256
_SHORTEST: Final = 2.0**-20


@dataclass(frozen=True, slots=True)
class ProcessTimes:
    """Time of all processes together, in bins of time. Bin n begins n * bin_s after the start of the trace.

    Attributes:
        bin_s: s.
        calls: s in calls of each of KINDS, float64 (3, bins).
        alive: s in which the processes were alive, float64 (bins,).
    """

    bin_s: float
    calls: NDArray[np.float64]
    alive: NDArray[np.float64]

    @property
    def shares(self) -> dict[str, float]:
        """Share of the processes' time in calls of each of KINDS."""
        whole = float(self.alive.sum()) or 1.0
        return {kind: float(row.sum()) / whole for kind, row in zip(KINDS, self.calls, strict=True)}


class ProcessTimer:
    """Times while the trace is read. Memory is a row for each process."""

    def __init__(self) -> None:
        self._begin: float | None = None
        self._width = _SHORTEST
        self._sums = np.zeros((len(KINDS), _BINS))
        self._ids = np.empty(0, np.int64)
        # Of each process: its first event, its last end, in s.
        self._first, self._last = np.empty(0), np.empty(0)

    def add(self, data: pl.DataFrame) -> None:
        """Add events, in order of time. Those without a duration take none."""
        if data.is_empty():
            return
        if self._begin is None:
            self._begin = float(data["time"].to_numpy().min())
        pids = data["pid"].fill_null(-1).to_numpy().astype(np.int64)
        begins = np.maximum(data["time"].to_numpy() - self._begin, 0.0)
        ends = begins + np.maximum(data["duration"].fill_null(0.0).to_numpy(), 0.0)
        op = data["op"]
        kinds = np.where((op == "read").to_numpy(), 0, np.where((op == "write").to_numpy(), 1, 2))
        names, owner = np.unique(pids, return_inverse=True)
        if len(names) > 1:
            order = np.argsort(owner, kind="stable")
            begins, ends, kinds, owner = begins[order], ends[order], kinds[order], owner[order]
        first_rows = np.searchsorted(owner, np.arange(len(names)))
        at = self._rows(names, begins[first_rows])
        until = self._last[at]
        # Nanoseconds, because the running maximum of each process needs whole numbers.
        reach = running_maximum((ends * 1e9).astype(np.int64), owner) / 1e9
        before = np.append(0.0, reach[:-1])
        before[first_rows] = 0.0
        before = np.maximum(before, until[owner])
        self._last[at] = np.maximum(until, reach[np.append(first_rows[1:], len(owner)) - 1])
        self._widen(float(self._last[at].max()))
        starts = np.maximum(begins, before)
        counts = ends > starts
        for kind in range(len(KINDS)):
            rows = counts & (kinds == kind)
            self._sums[kind] += _binned(starts[rows], ends[rows], self._width)

    def _rows(self, names: NDArray[np.int64], first: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the rows of some processes; those seen for the first time begin now."""
        new = ~np.isin(names, self._ids)
        if new.any():
            ids = np.concatenate([self._ids, names[new]])
            order = np.argsort(ids)
            self._ids = ids[order]
            self._first = np.concatenate([self._first, first[new]])[order]
            self._last = np.concatenate([self._last, first[new]])[order]
        return np.searchsorted(self._ids, names)

    def _widen(self, latest: float) -> None:
        while latest >= self._width * _BINS:
            self._width *= 2
            halves = self._sums.reshape(len(KINDS), -1, 2).sum(axis=2)
            self._sums = np.hstack([halves, np.zeros_like(halves)])

    def found(self) -> ProcessTimes | None:
        """Return the times of the events added; None if no call has a duration."""
        if not self._sums.any():
            return None
        used = int(self._last.max() / self._width) + 1
        alive = _binned(self._first, self._last, self._width)
        return ProcessTimes(self._width, self._sums[:, :used], np.maximum(alive, self._sums.sum(axis=0))[:used])


def _binned(starts: NDArray[np.float64], ends: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return how many seconds of some intervals fall into each bin. All end before the last bin does."""
    first, last = (starts / width).astype(np.int64), (ends / width).astype(np.int64)
    inside = first == last
    head = np.where(inside, ends - starts, (first + 1) * width - starts)
    tail = np.where(inside, 0.0, ends - last * width)
    # Whole bins between the first and the last: +1 where they begin, -1 where they end.
    steps = np.bincount(first[~inside] + 1, minlength=_BINS + 2) - np.bincount(last[~inside], minlength=_BINS + 2)
    whole = np.cumsum(steps)[:_BINS] * width
    return whole + np.bincount(first, head, _BINS)[:_BINS] + np.bincount(last, tail, _BINS)[:_BINS]
