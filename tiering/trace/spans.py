"""Disjoint spans of one file that grow by reads and are cut by writes, one at a time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


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
