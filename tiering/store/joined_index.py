"""The index of several stores one after another, without copies of their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiering.arrays import AnyArray, IndexArray
from tiering.store.index import Index
from tiering.store.lazy_column import LazyColumn

#: Changes the values of one part.
Change = Callable[[AnyArray], AnyArray]


def begins_of(sizes: Sequence[int]) -> IndexArray:
    """Return where each part begins, and the sum of all sizes: int64 (parts + 1,)."""
    return np.cumsum([0, *sizes], dtype=np.int64)


def parts_of(begins: IndexArray, indices: IndexArray) -> Iterator[tuple[int, IndexArray, IndexArray]]:
    """Yield the parts that some rows are in: the part, the places in `indices` of its rows, and their numbers in it.

    begins: as `begins_of` returns. indices: int64 (n,), valid rows.
    """
    part = np.searchsorted(begins, indices, side="right") - 1
    for number in np.unique(part).tolist():
        places = np.flatnonzero(part == number)
        yield number, places, indices[places] - begins[number]


class JoinedColumn(LazyColumn):
    """Some columns one after another.

    Args:
        columns: The columns, of one shape but for their lengths.
        changes: For each, a function that is applied to the values that are read; None leaves them as they are.
    """

    def __init__(self, columns: Sequence[AnyArray], changes: Sequence[Change | None] = ()) -> None:
        self._columns, self._changes = columns, changes or [None] * len(columns)
        self._begins = begins_of([len(column) for column in columns])
        self.dtype = np.result_type(*(column.dtype for column in columns))
        self.shape = (int(self._begins[-1]), *columns[0].shape[1:])

    def __getitem__(self, at: Any) -> Any:
        """Return the values of rows: an integer, a slice, or an array of integers or of booleans."""
        n = len(self)
        if isinstance(at, slice):
            begin, end, step = at.indices(n)
            return self._stretch(begin, end) if step == 1 else self._rows(np.arange(begin, end, step, dtype=np.int64))
        rows = np.asarray(at)
        if rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        if rows.size and not -n <= int(rows.min()) <= int(rows.max()) < n:
            raise IndexError(f"row {at} of a column of {n:,}")
        found = self._rows(np.where(rows < 0, rows + n, rows).reshape(-1).astype(np.int64))
        return found[0] if rows.ndim == 0 else found

    def max(self) -> Any:
        """Return the largest value, part by part."""
        return max(self._read(part, slice(None)).max() for part, column in enumerate(self._columns) if len(column))

    def sum(self) -> Any:
        """Return the sum of all values, part by part."""
        return sum(self._read(part, slice(None)).sum() for part in range(len(self._columns)))

    def _stretch(self, begin: int, end: int) -> AnyArray:
        """Return consecutive rows."""
        firsts = self._begins[:-1].tolist()
        found = [self._read(at, slice(max(0, begin - first), max(0, end - first))) for at, first in enumerate(firsts)]
        return np.concatenate(found)

    def _rows(self, rows: IndexArray) -> AnyArray:
        found = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        for part, places, numbers in parts_of(self._begins, rows):
            found[places] = self._read(part, numbers)
        return found

    def _read(self, part: int, rows: IndexArray | slice) -> AnyArray:
        values: AnyArray = self._columns[part][rows]
        change = self._changes[part]
        return change(values) if change else values


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedIndex(Index):
    """The indexes of several stores, whose columns are JoinedColumns; begins: as `begins_of` returns.

    The columns `key` and `key_end` are empty: read keys with `keys`.
    """

    parts: Sequence[Index]
    begins: IndexArray

    def __len__(self) -> int:
        return int(self.begins[-1])

    def keys(self, indices: IndexArray) -> list[bytes]:
        """Return the keys of samples, byte-exact."""
        found = [b""] * len(indices)
        for part, places, numbers in parts_of(self.begins, np.asarray(indices)):
            for place, key in zip(places.tolist(), self.parts[part].keys(numbers), strict=True):
                found[place] = key
        return found


def joined_index(
    parts: Sequence[Index], labels: Sequence[Change | None], splits: Sequence[Change | None]
) -> JoinedIndex:
    """Return the indexes of several stores as one, without the columns of fields.

    labels, splits: for each, how its numbers of classes and splits change.
    """
    no_bytes, no_numbers = np.empty(0, np.uint8), np.empty(0, np.int64)

    def joined(name: str, changes: Sequence[Change | None] = ()) -> Any:
        columns = [getattr(part, name) for part in parts]
        if [len(part) for part in parts] != [len(column) for column in columns]:
            return np.empty(0, columns[0].dtype)  # a plain folder has neither CRC-32Cs nor offsets
        return JoinedColumn(columns, changes)

    return JoinedIndex(
        label=joined("label", labels),
        split=joined("split", splits),
        size=joined("size"),
        key=no_bytes,
        key_end=no_numbers,
        crc32c=joined("crc32c"),
        offset=joined("offset"),
        parts=parts,
        begins=begins_of([len(part) for part in parts]),
    )


def renumbered(numbers: dict[int, int]) -> Change | None:
    """Return a function that changes numbers; None if they stay. Numbers that are not named become -1."""
    if all(old == new for old, new in numbers.items()):
        return None
    old = np.array([-1, *sorted(numbers)], dtype=np.int64)
    new = np.array([-1, *(numbers[each] for each in sorted(numbers))], dtype=np.int64)

    def changed(values: AnyArray) -> AnyArray:
        at = np.minimum(np.searchsorted(old, values), len(old) - 1)
        return np.where(old[at] == values, new[at], -1).astype(values.dtype)

    return changed
