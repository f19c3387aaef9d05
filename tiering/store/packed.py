"""PackedStore: samples that lie in shard files as plain byte ranges, LMDB and uncompressed Zarr alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tiering.store.base import Buffer, ByteRanges, IndexArray, Manifest, Sample, sample_of
from tiering.store.index import Index, open_index
from tiering.store.mapped import MappedFiles


class PackedStore:
    """A packed dataset read through maps of its shards.

    path: the store's directory; manifest: its manifest; origins: int64 (shards,), what to take off the offset column to
    get a place in the shard's file (zeros where the column already counts within the file).
    """

    def __init__(self, path: Path, manifest: Manifest, origins: IndexArray) -> None:
        self.path = path
        self.manifest = manifest
        self.index: Index = open_index(path, manifest.samples)
        self._origins = origins
        counts: npt.NDArray[np.int64] = np.array([shard.samples for shard in manifest.shards], dtype=np.int64)
        self._ends = np.cumsum(counts)
        self._files = MappedFiles(
            [path / shard.name for shard in manifest.shards], [shard.bytes for shard in manifest.shards]
        )

    def __len__(self) -> int:
        return self.manifest.samples

    def __getitem__(self, i: int) -> Sample:
        return sample_of(self, i)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process as a path: maps stay where they are."""
        return type(self), (self.path, self.manifest, self._origins)

    def byte_ranges(self, indices: IndexArray) -> ByteRanges:
        """Say where samples lie in `files()`."""
        file = np.searchsorted(self._ends, indices, side="right")
        return ByteRanges(file, self.index.offset[indices] - self._origins[file], self.index.size[indices])

    def read(self, indices: IndexArray) -> list[Buffer]:
        """Return views of the samples' bytes, in the order asked for. Raises StoreError for a shard that changed."""
        ranges = self.byte_ranges(indices)
        return list(self._files.views(ranges.file, ranges.offset, ranges.size))

    def announce(self, indices: IndexArray) -> None:
        """Start reading samples into the page cache without waiting for them."""
        if len(indices):
            ranges = self.byte_ranges(indices)
            self._files.announce(ranges.file, ranges.offset, ranges.size)

    def files(self) -> list[Path]:
        """Return the shard files."""
        return self._files.paths

    def close(self) -> None:
        """Drop the maps; views that are still referenced stay valid."""
        self._files.close()
