"""The index: one column for each property of the samples, mapped rather than read.

On disk the index is a Zarr v3 group of uncompressed columns with a single chunk each. Such a chunk is the raw array, so
its file can be mapped, and any Zarr reader can read it too. Opening an index of 10^8 samples reads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.storage.location import Location
from tiering.store.columns import ColumnsWriter, damaged, keys_at, map_column
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


@dataclass(frozen=True, slots=True)
class Index:
    """The columns of a store; n samples, keys of k bytes in all.

    label: int32 (n,); split: int8 (n,); size: int64 (n,), bytes; key: uint8 (k,); key_end: int64 (n,).
    crc32c: uint32 (n,) and offset: int64 (n,) are empty for a plain folder.
    """

    label: npt.NDArray[np.int32]
    split: npt.NDArray[np.int8]
    size: IndexArray
    key: npt.NDArray[np.uint8]
    key_end: IndexArray
    crc32c: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    offset: IndexArray = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.size)

    def keys(self, indices: IndexArray) -> list[bytes]:
        """Return the keys of samples, byte-exact."""
        return keys_at(self.key, self.key_end, indices)


def index_writer(index: Location, scratch: Location | None) -> ColumnsWriter:
    """Begin an index in a new directory; scratch: a directory for temporary files."""
    return ColumnsWriter(lambda name: column_location(index, name), COLUMNS, scratch)


def index_documents(name: str, counts: dict[str, int]) -> dict[str, bytes]:
    """Return the zarr.json files of an index directory: name -> contents. counts: elements of each column."""
    arrays: dict[str, dict[str, Any]] = {
        f"{name}/{column}": {
            "shape": (counts[column],),
            "chunks": (max(1, counts[column]),),
            "dtype": np.dtype(dtype),
            "compressors": None,
            "filters": None,
        }
        for column, dtype in COLUMNS.items()
    }
    return zarr_documents([name], arrays)


def open_index(index: Location, samples: int, crcs: Mapping[str, int]) -> Index:
    """Map the index of a store. crcs: CRC-32C of each column, to check remote ones.

    Raises StoreError if a column is missing, has the wrong length, or arrives damaged every time.
    """
    mapped = {name: map_column(column_location(index, name), dtype, crcs.get(name)) for name, dtype in COLUMNS.items()}
    for name, column in mapped.items():
        if name != "key" and len(column) != samples:
            raise damaged(column_location(index, name), f"{samples:,} samples by the manifest", f"{len(column):,}")
    found = Index(**mapped)
    end = int(found.key_end[-1]) if samples else 0
    if end != len(found.key):
        raise damaged(column_location(index, "key"), f"{end:,} bytes of keys", f"{len(found.key):,}")
    return found


def column_location(index: Location, name: str) -> Location:
    """Return the file that holds a column."""
    return index / name / "c" / "0"
