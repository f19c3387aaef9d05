"""The index: one column for each property of the samples, mapped rather than read.

On disk the index is a Zarr v3 group of uncompressed columns with a single chunk each. Such a chunk is the raw array, so
its file can be mapped, and any Zarr reader can read it too. Opening an index of 10^8 samples reads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tiering.arrays import AnyArray, IndexArray
from tiering.storage.location import Location
from tiering.store.columns import ColumnsWriter, damaged, keys_at, map_column
from tiering.store.schema import Column, Field, columns_of_all
from tiering.store.zarr_documents import zarr_documents

#: label, split: numbers of names in the manifest, -1 for none. size: bytes of a sample. crc32c: of its bytes.
#: offset: see the store's format. key: all keys one after another. key_end: where each key ends.
COLUMNS: Final[dict[str, str]] = {
    "label": "<i4",
    "split": "|i1",
    "size": "<i8",
    "crc32c": "<u4",
    "offset": "<i8",
    "key": "|u1",
    "key_end": "<i8",
}

#: The group in an index that holds the columns of fields.
_FIELDS: Final = "fields"


@dataclass(frozen=True, slots=True)
class Index:
    """The columns of a store; n samples, keys of k bytes in all.

    label: int32 (n,); split: int8 (n,); size: int64 (n,), bytes; key: uint8 (k,); key_end: int64 (n,).
    crc32c: uint32 (n,) and offset: int64 (n,) are empty for a plain folder.
    fields: the columns of fields by name, see tiering.store.schema; (n,) or, for a vector, (n, *shape).
    """

    label: npt.NDArray[np.int32]
    split: npt.NDArray[np.int8]
    size: IndexArray
    key: npt.NDArray[np.uint8]
    key_end: IndexArray
    crc32c: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    offset: IndexArray = field(default_factory=lambda: np.empty(0, np.int64))
    fields: Mapping[str, AnyArray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.size)

    def keys(self, indices: IndexArray) -> list[bytes]:
        """Return the keys of samples, byte-exact."""
        return keys_at(self.key, self.key_end, indices)


def index_columns(fields: Iterable[Field]) -> dict[str, Column]:
    """Return the columns of an index by name: those of every store, and as `fields/NAME` those of fields."""
    common = {name: Column(dtype) for name, dtype in COLUMNS.items()}
    return common | {f"{_FIELDS}/{name}": column for name, column in columns_of_all(fields).items()}


def index_writer(index: Location, scratch: Location | None, fields: Iterable[Field] = ()) -> ColumnsWriter:
    """Begin an index in a new directory; scratch: a directory for temporary files."""
    schema = {name: column.dtype for name, column in index_columns(fields).items()}
    return ColumnsWriter(lambda name: column_location(index, name), schema, scratch)


def index_documents(name: str, counts: Mapping[str, int], fields: Sequence[Field] = ()) -> dict[str, bytes]:
    """Return the zarr.json files of an index directory: name -> contents. counts: rows of each column."""
    arrays: dict[str, dict[str, Any]] = {
        f"{name}/{column}": {
            "shape": (counts[column], *about.shape),
            "chunks": (max(1, counts[column]), *(max(1, side) for side in about.shape)),
            "dtype": np.dtype(about.dtype),
            "compressors": None,
        }
        for column, about in index_columns(fields).items()
    }
    return zarr_documents([name, *([f"{name}/{_FIELDS}"] if fields else [])], arrays)


def open_index(index: Location, samples: int, crcs: Mapping[str, int], fields: Sequence[Field] = ()) -> Index:
    """Map the index of a store. crcs: CRC-32C of each column, to check remote ones.

    Raises StoreError if a column is missing, has the wrong length, or arrives damaged every time.
    """
    mapped = {}
    for name, about in index_columns(fields).items():
        column = map_column(column_location(index, name), about.dtype, crcs.get(name))
        expected = samples * math.prod(about.shape)
        if name != "key" and len(column) != expected:
            raise damaged(column_location(index, name), f"{expected:,} numbers by the manifest", f"{len(column):,}")
        mapped[name] = column.reshape(samples, *about.shape) if about.shape else column
    of_fields = {name: mapped.pop(f"{_FIELDS}/{name}") for name in columns_of_all(fields)}
    found = Index(**mapped, fields=of_fields)
    end = int(found.key_end[-1]) if samples else 0
    if end != len(found.key):
        raise damaged(column_location(index, "key"), f"{end:,} bytes of keys", f"{len(found.key):,}")
    return found


def column_location(index: Location, name: str) -> Location:
    """Return the file that holds a column."""
    return index / name / "c" / "0"
