"""The index: one column per fact about the samples, mapped rather than read.

On disk the index is a Zarr v3 group of uncompressed columns with a single chunk each. Such a chunk is the raw array, so
we map the chunk's file and any Zarr reader can read it: opening 10^8 samples reads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr

from tiering.errors import StoreError

INDEX: Final = "index"

#: label: -1 for none. size: bytes of a sample. crc32c: of its bytes. offset: see the store's format.
#: key: all keys one after another. key_end: where each key ends.
COLUMNS: Final[dict[str, str]] = {
    "label": "<i4",
    "size": "<i8",
    "crc32c": "<u4",
    "offset": "<i8",
    "key": "|u1",
    "key_end": "<i8",
}

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Index:
    """The columns of a store or of a part of it; n samples, keys of k bytes in all.

    label: int32 (n,); size: int64 (n,), bytes; key: uint8 (k,); key_end: int64 (n,).
    crc32c: uint32 (n,) and offset: int64 (n,) are empty for a plain folder.
    """

    label: npt.NDArray[np.int32]
    size: IndexArray
    key: npt.NDArray[np.uint8]
    key_end: IndexArray
    crc32c: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    offset: IndexArray = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.size)

    def keys(self, indices: IndexArray) -> list[bytes]:
        """Return the keys of samples, byte-exact."""
        ends = self.key_end[indices].tolist()
        begins = np.where(indices > 0, self.key_end[indices - 1], 0).tolist()
        data = self.key.data
        return [bytes(data[begin:end]) for begin, end in zip(begins, ends, strict=True)]

    def take(self, indices: IndexArray) -> Index:
        """Return the rows of some samples, in the order asked for; label, size and keys only."""
        keys = self.keys(indices)
        key_end = np.cumsum([len(key) for key in keys], dtype=np.int64)
        key = np.frombuffer(b"".join(keys), dtype=np.uint8)
        return Index(self.label[indices], self.size[indices], key, key_end)


class IndexWriter:
    """Writes the columns of a new store, part after part, without holding them."""

    def __init__(self, store: Path) -> None:
        self._path = store / INDEX
        self._group = zarr.create_group(self._path)
        self._crc = dict.fromkeys(COLUMNS, 0)
        self._count = dict.fromkeys(COLUMNS, 0)
        self._keys = 0
        for name in COLUMNS:
            self._chunk(name).parent.mkdir(parents=True)
        self._files = {name: self._chunk(name).open("wb") for name in COLUMNS}

    def append(self, part: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Append the columns of one shard; its key_end counts from the beginning of its own keys."""
        for name, dtype in COLUMNS.items():
            column = part[name]
            if name == "key_end":
                column = column + np.int64(self._keys)  # type: ignore[operator]
            data = np.ascontiguousarray(column, dtype=dtype).tobytes()
            self._files[name].write(data)
            self._crc[name] = google_crc32c.extend(self._crc[name], data)
            self._count[name] += len(column)
        self._keys += len(part["key"])

    def finish(self) -> dict[str, int]:
        """Close the columns, describe them to Zarr, and return the CRC-32C of each."""
        self.close()
        for name, dtype in COLUMNS.items():
            shape = (self._count[name],)
            self._group.create_array(
                name, shape=shape, chunks=shape, dtype=np.dtype(dtype), compressors=None, filters=None
            )
        return self._crc

    def close(self) -> None:
        """Close the files, finished or not."""
        for file in self._files.values():
            file.close()

    def _chunk(self, name: str) -> Path:
        return self._path / name / "c" / "0"


def open_index(store: Path, samples: int) -> Index:
    """Map the index of a store. Raises StoreError where a column is missing or has the wrong length."""
    mapped: dict[str, npt.NDArray[np.generic]] = {}
    for name, dtype in COLUMNS.items():
        path = column_path(store, name)
        try:
            # A memmap object is slow to slice; the plain array over the same map is not.
            mapped[name] = np.asarray(np.memmap(path, dtype=dtype, mode="r"))
        except (FileNotFoundError, ValueError) as error:
            raise _damaged(path, f"a column of {np.dtype(dtype)}", str(error)) from error
        if name != "key" and len(mapped[name]) != samples:
            raise _damaged(path, f"{samples:,} samples by the manifest", f"{len(mapped[name]):,}")
    index = Index(**mapped)  # type: ignore[arg-type]
    if samples and int(index.key_end[-1]) != len(index.key):
        raise _damaged(column_path(store, "key"), f"{int(index.key_end[-1]):,} bytes of keys", f"{len(index.key):,}")
    return index


def column_path(store: Path, name: str) -> Path:
    """Return the file that holds a column."""
    return store / INDEX / name / "c" / "0"


def column_crc(path: Path) -> int:
    """Return the CRC-32C of a file, read in pieces."""
    crc = 0
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 22), b""):
            crc = google_crc32c.extend(crc, piece)
    return crc


def _damaged(path: Path, expected: str, found: str) -> StoreError:
    return StoreError(
        str(path),
        expected=expected,
        found=found,
        action="The store is damaged or its copy incomplete: copy or convert it again.",
    )
