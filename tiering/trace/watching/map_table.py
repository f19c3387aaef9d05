"""Where the data files of one process are in its memory, as maps come and go."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class DataMap:
    """A part of a data file in memory.

    Attributes:
        start, end: Addresses.
        offset: B into the file, of `start`.
        file: The file's identity in the trace.
        path: Its name.
        size: B of the file, or None.
        is_shared_for_writing: Whether writes to this memory go to the file.
    """

    start: int
    end: int
    offset: int
    file: int
    path: str
    size: int | None
    is_shared_for_writing: bool

    @property
    def end_in_file(self) -> int:
        """B into the file, where the map or the file ends."""
        end = self.offset + self.end - self.start
        return end if self.size is None else max(self.offset, min(end, self.size))


class Columns(NamedTuple):
    """Maps as arrays. end_in_file: B into the file, where the map or the file ends."""

    start: npt.NDArray[np.uint64]
    end: npt.NDArray[np.uint64]
    offset: npt.NDArray[np.int64]
    file: npt.NDArray[np.uint64]
    end_in_file: npt.NDArray[np.int64]
    is_shared_for_writing: npt.NDArray[np.bool_]


class MapTable:
    """The data maps of a process, by address. A new map replaces what was there."""

    def __init__(self, maps: list[DataMap] | None = None) -> None:
        self._maps = sorted(maps or [], key=lambda each: each.start)
        self._starts = [each.start for each in self._maps]
        self._columns: Columns | None = None

    def __len__(self) -> int:
        return len(self._maps)

    @property
    def maps(self) -> tuple[DataMap, ...]:
        """The maps, by address."""
        return tuple(self._maps)

    def copy(self) -> MapTable:
        """Return the maps of a child that begins with them."""
        return MapTable(self._maps)

    def overlaps(self, start: int, end: int) -> bool:
        """Return whether a range of addresses holds any part of a data map."""
        first, after = max(0, bisect_right(self._starts, start) - 1), bisect_left(self._starts, end)
        return any(each.end > start for each in self._maps[first:after])

    def add(self, new: DataMap) -> None:
        """Add a map in the place of all that it overlaps."""
        self.remove(new.start, new.end)
        at = bisect_left(self._starts, new.start)
        self._columns = None
        self._maps.insert(at, new)
        self._starts.insert(at, new.start)

    def remove(self, start: int, end: int) -> None:
        """Remove what lies in a range of addresses, and keep the rest of maps that reach out of it."""
        first = max(0, bisect_right(self._starts, start) - 1)
        last = bisect_left(self._starts, end)
        kept = []
        self._columns = None
        for each in self._maps[first:last]:
            if each.start < start:
                kept.append(replace(each, end=min(each.end, start)))
            if each.end > end:
                begin = max(each.start, end)
                kept.append(replace(each, start=begin, offset=each.offset + begin - each.start))
        self._maps[first:last] = kept
        self._starts[first:last] = [each.start for each in kept]

    def find(self, addresses: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
        """Return the index in `maps` of each address, and -1 for those in none."""
        columns = self.columns()
        if not len(columns.start):
            return np.full(len(addresses), -1, np.intp)
        at = np.searchsorted(columns.start, addresses, side="right") - 1
        return np.where((at >= 0) & (addresses < columns.end[at]), at, -1)

    def columns(self) -> Columns:
        """Return the maps as arrays, in their order."""
        if self._columns is None:
            self._columns = Columns(
                np.array(self._starts, np.uint64),
                np.array([each.end for each in self._maps], np.uint64),
                np.array([each.offset for each in self._maps], np.int64),
                np.array([each.file for each in self._maps], np.uint64),
                np.array([each.end_in_file for each in self._maps], np.int64),
                np.array([each.is_shared_for_writing for each in self._maps], np.bool_),
            )
        return self._columns
