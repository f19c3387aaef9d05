"""PackedStore: samples that lie in shard files as plain byte ranges, LMDB and uncompressed Zarr alike."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import TieringError
from tiering.storage.location import Location
from tiering.store.checked_reads import checked
from tiering.store.generation import Generation, Seen
from tiering.store.index import Index, open_index
from tiering.store.manifest import Manifest
from tiering.store.protocol import (
    BLOCK_BYTES,
    ByteRanges,
    Images,
    StoreBase,
    as_indices,
    check_ranges,
    images_of,
    samples_in,
    shape_of,
)
from tiering.store.remote_shards import shard_files


class PackedStore(StoreBase):
    """A packed dataset read through maps of its shards, or by ranges where it is remote.

    location: of the store. manifest: its manifest, whose generation this object keeps. origins: int64 (shards,), bytes
    to subtract from the offset column to get an offset in the shard's file; zeros if the column already has those.
    seen: the identities of the files that another process opened, to read the same files.
    """

    def __init__(self, location: Location, manifest: Manifest, origins: IndexArray, seen: Seen | None = None) -> None:
        self.location = location
        self.manifest = manifest
        self.index: Index = open_index(location / manifest.index, manifest.samples, manifest.columns)
        self._shape = shape_of(manifest)
        self._origins = origins
        counts: npt.NDArray[np.int64] = np.array([shard.samples for shard in manifest.shards], dtype=np.int64)
        self._ends = np.cumsum(counts)
        self._bytes: npt.NDArray[np.int64] = np.array([shard.bytes for shard in manifest.shards], dtype=np.int64)
        self._generation = Generation(location, manifest, seen) if location.local else None
        self._files = shard_files(location, manifest.shards, self._generation)
        self.views = self._shape is None and location.local is not None
        self.block = samples_in(BLOCK_BYTES, manifest)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process as a path, and the identities of the files there; maps stay here."""
        seen = self._generation.seen if self._generation else None
        return type(self), (self.location, self.manifest, self._origins, seen)

    def byte_ranges(self, indices: IndexArray) -> ByteRanges:
        """Say where samples lie in `files()`. Raises StoreError where the index is damaged."""
        indices = as_indices(indices, len(self))
        file = np.searchsorted(self._ends, indices, side="right")
        ranges = ByteRanges(file, self.index.offset[indices] - self._origins[file], self.index.size[indices])
        check_ranges(self, indices, ranges, self._bytes[file], self._shape)
        return ranges

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return samples in the order asked for, encoded ones as views.

        Raises StoreError if a shard is not the one that was there at opening, or arrives damaged over the network.
        """
        if self._generation:
            return self._read(indices, out)
        indices = as_indices(indices, len(self))
        return checked(self, indices, lambda: self._read(indices, out), self._read)

    def _read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        ranges = self.byte_ranges(indices)
        return images_of(self._files.views(ranges.file, ranges.offset, ranges.size), self._shape, out)

    def announce(self, indices: IndexArray) -> None:
        """Start reading samples into the page cache without waiting for them."""
        with suppress(TieringError, OSError, IndexError):  # read() will raise it
            if len(indices) and not self._files.resident():
                ranges = self.byte_ranges(indices)
                self._files.announce(ranges.file, ranges.offset, ranges.size)

    def files(self) -> list[Path]:
        """Return the shard files, where they are local."""
        return self._files.paths

    def close(self) -> None:
        """Drop the maps; views that are still referenced stay valid."""
        self._files.close()
