"""Columns on disk: each a file with a raw little-endian array, which is written in parts, and mapped to be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.arrays import AnyArray
from tiering.errors import StoreError
from tiering.storage.attempts import attempts
from tiering.storage.local import open_to_read
from tiering.storage.location import Location
from tiering.storage.scratch import scratch_directory
from tiering.system.maps import map_file

_PIECE: Final = 4 << 20

#: The most bytes in a small file of a store. The longest is the list of files that are left out.
SMALL_FILE: Final = 256 << 20

#: Bytes a key. Up to this size of the column from the first wanted key to the last, keys are cut out of a copy of it.
_DENSE: Final = 256

#: Returns the file of a column.
LocationOf = Callable[[str], Location]


class ColumnsWriter:
    """Writes columns without holding them in memory. The files appear when the `with` block ends without an error.

    schema: dtype of each column by name. In each part, key_end counts from the beginning of the part's own keys.
    scratch: directory for temporary files; by default they are beside the columns.
    """

    def __init__(self, location_of: LocationOf, schema: Mapping[str, str], scratch: Location | None = None) -> None:
        self._schema = schema
        self.crcs = dict.fromkeys(schema, 0)
        self.counts = dict.fromkeys(schema, 0)
        self._keys = 0
        self._open = ExitStack()
        self._files = {name: self._open.enter_context(location_of(name).writing(scratch)) for name in schema}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, failure, trace)

    def append(self, part: Mapping[str, AnyArray]) -> None:
        """Append some rows."""
        for name, dtype in self._schema.items():
            column = part[name]
            if name == "key_end":
                column = column + np.int64(self._keys)
            data = np.ascontiguousarray(column, dtype=dtype).tobytes()
            self._files[name].write(data)
            self.crcs[name] = google_crc32c.extend(self.crcs[name], data)
            self.counts[name] += len(column)
        self._keys += len(part["key"])


def map_column(location: Location, dtype: str, crc: int | None = None) -> AnyArray:
    """Map a column. A remote one is downloaded to a temporary file, which is removed with the last reference.

    crc: CRC-32C of a remote column, which is fetched again if it differs; a local column is not checked.
    Returns an array of shape (n,). Raises StoreError if the column is missing, or its last row is incomplete.
    """
    try:
        if location.local:
            return _mapped(location.local, dtype)
        with scratch_directory() as directory:
            path = directory / "column"
            if crc is None:
                return _mapped(location.fetched(path), dtype)
            if (found := sound_file(location, path, crc)) is None:
                raise damaged(location, f"a column with the CRC-32C of the manifest, {crc}", "other bytes")
            return _mapped(found, dtype)
    except (FileNotFoundError, ValueError) as error:
        raise damaged(location, f"a column of {np.dtype(dtype)}", str(error)) from error


def _mapped(path: Path, dtype: str) -> AnyArray:
    descriptor = open_to_read(path)
    try:
        return map_file(descriptor, os.fstat(descriptor).st_size).view(dtype)
    finally:
        os.close(descriptor)


def keys_at(key: npt.NDArray[np.uint8], key_end: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> list[bytes]:
    """Return the keys of some rows, byte-exact. Raises StoreError if key_end points outside the keys."""
    end = key_end[rows]
    begin = np.where(rows > 0, key_end[rows - 1], 0)
    if len(rows) and (int(begin.min()) < 0 or int(end.max()) > len(key) or (begin > end).any()):
        at = int(np.argmax((begin < 0) | (end > len(key)) | (begin > end)))
        raise damaged(Location("key_end"), f"keys within {len(key):,} bytes", f"one from {begin[at]:,} to {end[at]:,}")
    first, last = (int(begin.min()), int(end.max())) if len(rows) else (0, 0)
    if last - first <= _DENSE * len(rows):
        # Slices of bytes take a third of the time of views, so a copy of what lies between pays.
        data, begin, end = key[first:last].tobytes(), begin - first, end - first
        return [data[begin:end] for begin, end in zip(begin.tolist(), end.tolist(), strict=True)]
    view = key.data
    return [bytes(view[begin:end]) for begin, end in zip(begin.tolist(), end.tolist(), strict=True)]


def lay_end_to_end(keys: list[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return keys as the columns key and key_end."""
    key_end = np.cumsum(np.fromiter(map(len, keys), dtype=np.int64, count=len(keys)))
    return np.frombuffer(b"".join(keys), dtype=np.uint8), key_end


def sound_file(location: Location, path: Path, crc: int) -> Path | None:
    """Return a local path to a file of a store, or None if its CRC-32C is not this one.

    path: where to download a remote file; if its CRC-32C differs, it is fetched again, a few times.
    """
    for _ in attempts(location):
        found = location.fetched(path)
        if file_crc(found) == crc:
            return found
    return None


def sound_bytes(location: Location, crc: int) -> bytes | None:
    """Return the contents of a small file of a store, or None if its CRC-32C is not this one.

    Raises StoreError if the file is too large.
    """
    for _ in attempts(location):
        data = location.read(most=SMALL_FILE)
        if google_crc32c.value(data) == crc:
            return data
    return None


def file_crc(path: Path) -> int:
    """Return the CRC-32C of a file, read in pieces."""
    descriptor = open_to_read(path)
    try:
        return descriptor_crc(descriptor)
    finally:
        os.close(descriptor)


def descriptor_crc(descriptor: int) -> int:
    """Return the CRC-32C of a whole open file, read in pieces."""
    crc = at = 0
    while piece := os.pread(descriptor, _PIECE, at):
        crc, at = google_crc32c.extend(crc, piece), at + len(piece)
    return crc


def damaged(location: Location, expected: str, found: str) -> StoreError:
    """Return the error for a part of a store that is not what the manifest says."""
    return StoreError(
        str(location),
        expected=expected,
        found=found,
        action="The store is damaged or its copy incomplete: copy or convert it again.",
    )
