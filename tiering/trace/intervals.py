"""Unions of byte ranges, for many files at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiering.trace.block_sample import mixed

_FEWEST = 1 << 17
#: Disjoint ranges kept; 28 B each, and several times that while they are merged.
MOST = 1 << 21
#: B; ranges are kept or left out by parts of files of this size once there are too many.
_PART = 1 << 20
#: Parts that are looked at together.
_SLICE = 1 << 20
FULL = 1 << 32


class Ranges(NamedTuple):
    """Half-open byte ranges [start, end) of a file as one process group saw it; one row a range."""

    file: NDArray[np.uint64]
    group: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    def at(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Ranges:
        """Give some of the ranges, by place, by mask or from one place to another."""
        return Ranges(self.file[rows], self.group[rows], self.start[rows], self.end[rows])


def union(ranges: Ranges) -> Ranges:
    """Merge ranges of the same file and group that overlap or touch; sorted by file, group and start.

    Costs one sort. Empty ranges vanish.
    """
    ranges = ranges.at(ranges.end > ranges.start)
    file, group, start, end = ranges
    if not len(file):
        return ranges
    if (file == file[0]).all() and (group == group[0]).all():
        # A block device: one key sorts in half the time.
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
    """Return the largest of each value and those before it of the same owner; at least one, none negative.

    owner: counted from 0, never falling.
    """
    # Each owner is lifted above the last. Where that takes numbers too large, ranks stand for the values.
    most = int(values.max()) + 1
    if most * (int(owner[-1]) + 1) < 1 << 62:
        lift = owner * most
        return np.asarray(np.maximum.accumulate(lift + values) - lift)
    ranked, rank = np.unique(values, return_inverse=True)
    lift = owner * len(ranked)
    return np.asarray(ranked[np.maximum.accumulate(lift + rank) - lift])


class RangeUnion:
    """A union of ranges that grows.

    Additions wait until they are as many as the ranges merged so far, so a range costs O(log n) sorts in
    all, and memory is that of the disjoint ranges: files read whole cost one each, however often. From two million
    ranges on, only those in a share of all parts of files are kept, by a hash of the place, and the bytes are
    estimated: with a million parts of equal weight, to about 0.1 %.
    """

    def __init__(self) -> None:
        self._merged = Ranges(
            np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64)
        )
        self._waiting: list[Ranges] = []
        self._waiting_rows = 0
        self._threshold = FULL

    @property
    def rate(self) -> float:
        """Share of the parts of files that are kept, in (0, 1]."""
        return self._threshold / FULL

    def add(self, ranges: Ranges) -> None:
        """Add ranges; they may overlap."""
        # When ranges are merged depends on their number, not on how they are handed in.
        while len(ranges.file):
            room = max(_FEWEST, len(self._merged.file)) - self._waiting_rows
            self._waiting.append(ranges.at(slice(0, room)))
            self._waiting_rows += len(self._waiting[-1].file)
            ranges = ranges.at(slice(room, None))
            if self._waiting_rows >= max(_FEWEST, len(self._merged.file)):
                self.merged()

    def merged(self) -> Ranges:
        """Give the disjoint ranges, sorted by file, group and start."""
        if self._waiting:
            fresh = Ranges(*(np.concatenate(columns) for columns in zip(*self._waiting, strict=True)))
            fresh = chosen(fresh, self._threshold) if self._threshold < FULL else fresh
            every = [self._merged, fresh]
            self._merged = union(Ranges(*(np.concatenate(columns) for columns in zip(*every, strict=True))))
            self._waiting, self._waiting_rows = [], 0
            while len(self._merged.file) > MOST and self._threshold > 1:
                self._threshold //= 2
                self._merged = chosen(self._merged, self._threshold)
        return self._merged


def chosen(ranges: Ranges, threshold: int) -> Ranges:
    """Cut ranges at the bounds of parts, and keep those in parts whose hash is below the threshold."""
    return chosen_rows(ranges, threshold)[1]


def chosen_rows(ranges: Ranges, threshold: int) -> tuple[NDArray[np.intp], Ranges]:
    """Do the same, and give the row that each was cut from, in order."""
    first, last = ranges.start // _PART, (ranges.end - 1) // _PART
    counts = np.maximum(last - first + 1, 0)
    edges = np.cumsum(counts)
    kept, begin = [(np.empty(0, np.intp), ranges.at(slice(0, 0)))], 0
    while begin < len(counts):
        # So many parts at once that they fit in memory, whatever the length of the ranges.
        before = int(edges[begin - 1]) if begin else 0
        until = max(begin + 1, int(np.searchsorted(edges, before + _SLICE, side="right")))
        rows = slice(begin, until)
        row, parts = _chosen_parts(ranges.at(rows), first[rows], counts[rows], threshold)
        kept.append((row + begin, parts))
        begin = until
    rows_of, cut = zip(*kept, strict=True)
    return np.concatenate(rows_of), Ranges(*(np.concatenate(columns) for columns in zip(*cut, strict=True)))


def _chosen_parts(
    ranges: Ranges, first: NDArray[np.int64], counts: NDArray[np.int64], threshold: int
) -> tuple[NDArray[np.intp], Ranges]:
    row = np.repeat(np.arange(len(counts)), counts)
    part = first[row] + np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    kept = (mixed(ranges.file[row] + mixed(part.astype(np.uint64))) >> np.uint64(32)) < threshold
    row, part = row[kept], part[kept]
    start = np.maximum(ranges.start[row], part * _PART)
    end = np.minimum(ranges.end[row], (part + 1) * _PART)
    return row, Ranges(ranges.file[row], ranges.group[row], start, end)


def length(ranges: Ranges) -> int:
    """Bytes in ranges, counting overlaps as often as they occur."""
    return int((ranges.end - ranges.start).sum())


def over_groups(ranges: Ranges) -> Ranges:
    """Unite the ranges of all process groups, as group 0."""
    return union(ranges._replace(group=np.zeros_like(ranges.group)))


class Spans:
    """Half-open spans of bytes, none of which touch.

    An addition joins all that it touches and a cut leaves two ends at most, so that n of them cost n log n however long
    they are.
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
        """Take the bytes [start, end) away, and give those that were there."""
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
