"""Selection: some samples of another store, as a store.

It keeps the numbers of its samples in the other store, at most 8 bytes each, and nothing if they follow each other. It
copies no column: an array is gathered where it is indexed. So a selection of 10^7 samples opens at once.
"""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np

from tiering.arrays import AnyArray, IndexArray, PixelArray, row_parts
from tiering.store.index import Index
from tiering.store.indices import as_indices, inside
from tiering.store.lazy_column import LazyColumn
from tiering.store.manifest import Manifest
from tiering.store.protocol import ByteRanges, Images, Store, StoreBase, Values, samples_in
from tiering.store.rows import Rows, composed, numbers_at

T = TypeVar("T")

#: Samples whose mean size stands for that of the whole selection when a loader sizes its read-ahead.
_WEIGHED: Final = 256


class Selection(StoreBase):
    """Some samples of another store, in the order of that store.

    Made by `select`, `sample` and `split` of any store. It reads through the other store, which stays open when the
    selection is closed. Its numbers count its own samples; `in_origin` translates them.

    Attributes:
        origin: The store that it selects from; of a selection of a selection, the store behind both.
        rows: The numbers of its samples there, rising: a range, or an array of uint32 or int64.

    Args:
        origin: Any store.
        rows: Rising numbers of at least one sample, as tiering.store.rows makes them.
    """

    origin: Store
    rows: Rows

    def __init__(self, origin: Store, rows: Rows) -> None:
        outer = origin if isinstance(origin, Selection) else None
        self.origin = origin = outer.origin if outer else origin
        self.rows = rows = composed(outer.rows, rows, len(origin)) if outer else rows
        self.location, self.fields, self.views = origin.location, origin.fields, origin.views
        self.index = _index(origin.index, rows)
        reach = int(rows[-1]) - int(rows[0]) + 1
        #: As many selected neighbours as lie within a block of the other store, on average.
        self.block = max(1, round(origin.block * len(rows) / reach))

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Selection({len(self):,} of {self.origin!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the other store and the rows, and the digest if it was computed."""
        return _restored, (self.origin, self.rows, self.__dict__.get("selection"))

    @cached_property
    def manifest(self) -> Manifest:  # type: ignore[override]
        """The other store's manifest, with the samples and bytes of this selection."""
        size = self.index.size
        total = sum(int(size[part].sum()) for part in row_parts(len(self), 1 << 20))
        return self.origin.manifest.model_copy(update={"samples": len(self), "image_bytes": total})

    @cached_property
    def runs(self) -> Mapping[str, Store]:  # type: ignore[override]
        """For each field whose values are bytes, a selection of these values."""
        rows = self.rows
        return _Made(self.origin.runs, lambda run: Selection(run, rows))

    @cached_property
    def selection(self) -> str:
        """32 hexadecimal digits that differ for other samples, and do not depend on the format of the store."""
        within = getattr(self.origin, "selection", None)
        digest = hashlib.sha256(f"tiering-selection-1:{within or ''}:{len(self.origin)}:".encode())
        if isinstance(self.rows, range):
            digest.update(f"{self.rows.start}:{self.rows.stop}:{self.rows.step}".encode())
        else:
            digest.update(self.rows.astype(self.rows.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()[:32]

    @cached_property
    def mean_bytes(self) -> int:
        """About the mean size of its samples, at least 1: that of some, without a look at the size of each."""
        some = np.unique(np.linspace(0, len(self) - 1, _WEIGHED).astype(np.int64))
        return max(1, int(self.index.size[some].mean()))

    def in_origin(self, indices: IndexArray) -> IndexArray:
        """Return the numbers of samples in `origin`.

        Args:
            indices: int64 (n,), numbers in this selection.

        Raises:
            IndexError: An index is outside [0, len).
            TypeError: The indices are not integers.
        """
        return numbers_at(self.rows, as_indices(indices, len(self)))

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Read samples of the other store, as Store.read does. Takes about 2 us more for a batch of 256."""
        return self.origin.read(self.in_origin(indices), out)

    def read_field(self, name: str, indices: IndexArray) -> Values:
        """Read one field of samples of the other store, as Store.read_field does."""
        return self.origin.read_field(name, self.in_origin(indices))

    def read_fields(self, names: Iterable[str], indices: IndexArray) -> dict[str, Values]:
        """Read some fields of samples of the other store, as Store.read_fields does."""
        return self.origin.read_fields(names, self.in_origin(indices))

    def byte_ranges(self, indices: IndexArray) -> ByteRanges | None:
        """Return where samples are in `files()`; None if they are not stored as plain byte ranges."""
        return self.origin.byte_ranges(self.in_origin(indices))

    def announce(self, indices: IndexArray) -> None:
        """Announce samples to the other store."""
        self.origin.announce(numbers_at(self.rows, inside(indices, len(self))))

    @property
    def resident(self) -> bool:
        """Whether nothing needs to be announced to the other store."""
        return self.origin.resident

    def files(self) -> list[Path]:
        """Return the local files that hold the samples: of a folder the selected ones, otherwise all shards."""
        if self.origin.manifest.kind != "folder" or not self.origin.files():
            return self.origin.files()
        root = Path(self.location.url)
        return [root / os.fsdecode(key) for key in self.index.keys(np.arange(len(self)))]

    def close(self) -> None:
        """Do nothing: the other store may have more selections. Close that one."""


class _Made(Mapping[str, T], Generic[T]):
    """Values by name that are made from others when they are asked for: some are caches, or read files."""

    def __init__(self, others: Mapping[str, Any], make: Callable[[Any], T]) -> None:
        self._others, self._make = others, make

    def __getitem__(self, name: str) -> T:
        return self._make(self._others[name])

    def __contains__(self, name: object) -> bool:
        return name in self._others

    def __iter__(self) -> Iterator[str]:
        return iter(self._others)

    def __len__(self) -> int:
        return len(self._others)


def _restored(origin: Store, rows: Rows, digest: str | None) -> Selection:
    found = Selection(origin, rows)
    if digest is not None:
        found.__dict__["selection"] = digest
    return found


def unselected(store: Store) -> Store:
    """Return the store that a selection selects from, or the store itself if it is not a selection."""
    return store.origin if isinstance(store, Selection) else store


def selection_of(store: object) -> str | None:
    """Return the digest of a selection, also behind a cache; None for a whole store."""
    return getattr(store, "selection", None)


def fitting(size: int, store: Store) -> int:
    """Return how many samples of the mean size fit into that many bytes, at least one."""
    if mean := getattr(store, "mean_bytes", None):
        return max(1, size // int(mean))
    return samples_in(size, store.manifest)


def mean_bytes(store: Store) -> int:
    """Return about the mean size of the samples of a store in bytes, at least 1."""
    if mean := getattr(store, "mean_bytes", None):
        return int(mean)
    return max(1, store.manifest.image_bytes // max(1, len(store)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedIndex(Index):
    """The index of a selection. Its columns are slices of the origin's, or SelectedColumns; keys are those selected.

    The columns `key` and `key_end` are those of the origin: read keys with `keys`.
    """

    origin: Index
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def keys(self, indices: IndexArray) -> list[bytes]:
        """Return the keys of samples, byte-exact."""
        return self.origin.keys(numbers_at(self.rows, indices))


def _index(origin: Index, rows: Rows) -> SelectedIndex:
    """Return the index of some rows. No column is read."""
    columns = {each.name: getattr(origin, each.name) for each in fields(Index)}
    whole = {name: columns.pop(name) for name in ("key", "key_end")}
    of_fields = _Made(columns.pop("fields"), lambda column: _chosen(column, rows))
    chosen = {name: _chosen(column, rows) for name, column in columns.items()}
    return SelectedIndex(**whole, **chosen, fields=of_fields, origin=origin, rows=rows)


def _chosen(column: Any, rows: Rows) -> Any:
    """Return a column at some rows."""
    if not len(column):  # a folder has no CRC-32Cs and no offsets
        return column
    if isinstance(rows, range) and isinstance(column, np.ndarray):
        return column[rows.start : rows.stop : rows.step]
    return SelectedColumn(column, rows)


class SelectedColumn(LazyColumn):
    """A column of an index at some rows, gathered where it is indexed: `column[indices]` is an array.

    Args:
        column: The whole column, an array (n, ...).
        rows: Rising numbers in it, (k,).
    """

    def __init__(self, column: AnyArray, rows: Rows) -> None:
        self._column, self._rows = column, rows
        self.dtype = column.dtype
        self.shape = (len(rows), *column.shape[1:])

    def __getitem__(self, at: Any) -> Any:
        return self._column[_picked(self._rows, at)]


def _picked(rows: Rows, at: Any) -> Any:
    """Return the rows at positions, which are given as an array takes them: a number, a slice, numbers or a mask."""
    if not isinstance(rows, range):
        return rows[at]
    if isinstance(at, slice):
        found = rows[at]
        return np.arange(found.start, found.stop, found.step, dtype=np.int64)
    positions = np.asarray(at)
    if positions.ndim == 0:
        return rows[operator.index(positions[()])]
    if positions.dtype == np.bool_:
        if len(positions) != len(rows):
            raise IndexError(f"a mask of {len(positions):,} for {len(rows):,} rows")
        positions = np.flatnonzero(positions)
    positions = np.where(positions < 0, positions + len(rows), positions)
    if positions.size and not 0 <= int(positions.min()) <= int(positions.max()) < len(rows):
        raise IndexError(f"row {at} of {len(rows):,}")
    return numbers_at(rows, positions)
