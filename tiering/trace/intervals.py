"""Unions of byte ranges: of many files at once (RangeUnion), or of one file with cuts (Spans).

The kernel is a sort. Ranges are sorted by file, group and start; a range begins a new union where its start is beyond
the furthest end so far. A growing union collects new ranges until they are as many as the merged ones, so that each
range takes part in O(log n) sorts.

Example: [0, 4) [8, 12) [2, 6) sort to [0, 4) [2, 6) [8, 12). The furthest ends are 4, 6, 12. Only 0 and 8 start beyond
the end before them, so the union is [0, 6) [8, 12).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiering.trace.hash_share import HashShare, mixed

_FEWEST = 1 << 17
#: Most disjoint ranges that are kept, at 28 B each, and several times that while they are merged.
MOST = 1 << 21
#: B. If there are too many ranges, parts of files of this size are kept or dropped as a whole.
_PART = 1 << 20
#: How many parts are processed at once.
_SLICE = 1 << 20


class Ranges(NamedTuple):
    """Half-open byte ranges [start, end) of files, each for one process group; one row per range."""

    file: NDArray[np.uint64]
    group: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    def at(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Ranges:
        """Return some of the ranges, by index, mask or slice."""
        return Ranges(self.file[rows], self.group[rows], self.start[rows], self.end[rows])


def joined(*parts: Ranges) -> Ranges:
    """Return the ranges of all parts, at least one, one after another."""
    return Ranges(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def union(ranges: Ranges) -> Ranges:
    """Merge ranges of the same file and group that overlap or touch. Sort by file, group and start.

    The cost is one sort. Empty ranges vanish.
    """
    ranges = ranges.at(ranges.end > ranges.start)
    file, group, start, end = ranges
    if not len(file):
        return ranges
    if (file == file[0]).all() and (group == group[0]).all():
        # One file, such as a block device: a single key sorts in half the time.
        ranges = ranges.at(np.argsort(start, kind="stable"))
    else:
        ranges = ranges.at(np.lexsort((start, group, file)))
    file, group, start, end = ranges
    first = np.empty(len(file), dtype=bool)
    first[0] = True
    first[1:] = (file[1:] != file[:-1]) | (group[1:] != group[:-1])
    reach = running_maximum(end, np.cumsum(first) - 1)
    begins = first.copy()
    begins[1:] |= start[1:] > reach[:-1]
    at = np.flatnonzero(begins)
    last = np.append(at[1:], len(file)) - 1
    return Ranges(file[at], group[at], start[at], reach[last])


def running_maximum(values: NDArray[np.int64], owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the running maximum of values within each owner. There must be a value, and none may be negative.

    owner: numbers from 0, never falling.
    """
    # An offset lifts each owner above the one before. If that overflows, ranks replace the values.
    most = int(values.max()) + 1
    if most * (int(owner[-1]) + 1) < 1 << 62:
        lift = owner * most
        return np.asarray(np.maximum.accumulate(lift + values) - lift)
    ranked, rank = np.unique(values, return_inverse=True)
    lift = owner * len(ranked)
    return np.asarray(ranked[np.maximum.accumulate(lift + rank) - lift])


class RangeUnion:
    """A growing union of ranges.

    Memory is that of the disjoint ranges: a file that is always read completely costs one, however often. Beyond two
    million ranges, only a share of all parts of files is kept, chosen by a hash of the position, and bytes are
    estimated: to about 0.1 % for a million parts of equal weight.
    """

    def __init__(self) -> None:
        self._merged = Ranges(
            np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64)
        )
        self._waiting: list[Ranges] = []
        self._waiting_rows = 0
        self._share = HashShare()

    @property
    def rate(self) -> float:
        """The share of the parts of files that are kept, in (0, 1]."""
        return self._share.rate

    def add(self, ranges: Ranges) -> None:
        """Add ranges, which may overlap."""
        # The time of a merge depends on the number of ranges, not on the size of the batches.
        while len(ranges.file):
            free = max(_FEWEST, len(self._merged.file)) - self._waiting_rows
            self._waiting.append(ranges.at(slice(0, free)))
            self._waiting_rows += len(self._waiting[-1].file)
            ranges = ranges.at(slice(free, None))
            if self._waiting_rows >= max(_FEWEST, len(self._merged.file)):
                self.merged()

    def merged(self) -> Ranges:
        """Return the disjoint ranges, sorted by file, group and start."""
        if self._waiting:
            fresh = joined(*self._waiting)
            fresh = chosen(fresh, self._share) if self.rate < 1 else fresh
            self._merged = union(joined(self._merged, fresh))
            self._waiting, self._waiting_rows = [], 0
            while len(self._merged.file) > MOST and self._share.halve():
                self._merged = chosen(self._merged, self._share)
        return self._merged


def chosen(ranges: Ranges, share: HashShare) -> Ranges:
    """Cut ranges at the bounds of parts, and keep those in parts that belong to the share."""
    return chosen_rows(ranges, share)[1]


def chosen_rows(ranges: Ranges, share: HashShare) -> tuple[NDArray[np.intp], Ranges]:
    """Do the same as `chosen`, and also return the row that each result was cut from, in order."""
    first, last = ranges.start // _PART, (ranges.end - 1) // _PART
    counts = np.maximum(last - first + 1, 0)
    edges = np.cumsum(counts)
    kept, begin = [(np.empty(0, np.intp), ranges.at(slice(0, 0)))], 0
    while begin < len(counts):
        # Limit the parts per step, so that long ranges fit in memory too.
        before = int(edges[begin - 1]) if begin else 0
        until = max(begin + 1, int(np.searchsorted(edges, before + _SLICE, side="right")))
        rows = slice(begin, until)
        row, parts = _chosen_parts(ranges.at(rows), first[rows], counts[rows], share)
        kept.append((row + begin, parts))
        begin = until
    rows_of, cut = zip(*kept, strict=True)
    return np.concatenate(rows_of), joined(*cut)


def _chosen_parts(
    ranges: Ranges, first: NDArray[np.int64], counts: NDArray[np.int64], share: HashShare
) -> tuple[NDArray[np.intp], Ranges]:
    row = np.repeat(np.arange(len(counts)), counts)
    part = first[row] + np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    kept = share.has(mixed(ranges.file[row] + mixed(part.astype(np.uint64))))
    row, part = row[kept], part[kept]
    start = np.maximum(ranges.start[row], part * _PART)
    end = np.minimum(ranges.end[row], (part + 1) * _PART)
    return row, Ranges(ranges.file[row], ranges.group[row], start, end)


def length(ranges: Ranges) -> int:
    """Return the bytes in ranges, counting overlaps repeatedly."""
    return int((ranges.end - ranges.start).sum())


def over_groups(ranges: Ranges) -> Ranges:
    """Merge the ranges of all process groups, as group 0."""
    return union(ranges._replace(group=np.zeros_like(ranges.group)))


class Spans:
    """Half-open byte spans of one file, no two of which touch. Reads add spans, writes cut them.

    An addition joins all spans that it touches, and a cut leaves at most two ends, so n of them cost n log n whatever
    their length. Example: adding [0, 8) and cutting [2, 4) leaves [0, 2) and [4, 8).
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def add(self, start: int, end: int) -> None:
        """Add the bytes [start, end)."""
        if start >= end:
            return
        first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last], self._ends[first:last] = [start], [end]

    def cut(self, start: int, end: int) -> list[tuple[int, int]]:
        """Remove the bytes [start, end), and return the spans that were removed."""
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if first >= last:
            return []
        taken = list(zip(self._starts[first:last], self._ends[first:last], strict=True))
        left = [(taken[0][0], start)] if taken[0][0] < start else []
        right = [(end, taken[-1][1])] if taken[-1][1] > end else []
        self._starts[first:last] = [begin for begin, _ in left + right]
        self._ends[first:last] = [until for _, until in left + right]
        taken[0] = (max(taken[0][0], start), taken[0][1])
        taken[-1] = (taken[-1][0], min(taken[-1][1], end))
        return taken
