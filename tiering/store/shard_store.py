"""ShardStore: the common part of stores whose samples lie in shard files, plain or in compressed chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tiering.arrays import IndexArray
from tiering.storage.location import Location
from tiering.store.columns import damaged
from tiering.store.generation import FileIdentities, Generation
from tiering.store.index import open_index
from tiering.store.manifest import Manifest, Settings
from tiering.store.protocol import ByteRanges, StoreBase, shape_of
from tiering.store.remote_shards import shard_files


class ShardStore(StoreBase):
    """The index and the shard files of a packed dataset.

    location: of the store. manifest: its manifest, whose generation this object keeps. settings: the manifest's.
    seen: the identities of the files that another process opened, to read the same files.
    """

    def __init__(
        self, location: Location, manifest: Manifest, settings: Settings, seen: FileIdentities | None = None
    ) -> None:
        self.location, self.manifest = location, manifest
        self.index = open_index(location / manifest.index, manifest.samples, manifest.columns)
        self._settings = settings
        self._shape = shape_of(manifest)
        self._generation = Generation(location, manifest, seen) if location.local else None
        self._files = shard_files(location, manifest.shards, self._generation)
        self._ends = np.cumsum([shard.samples for shard in manifest.shards], dtype=np.int64)
        self._bytes = np.array([shard.bytes for shard in manifest.shards], dtype=np.int64)
        #: The offset column counts through all Zarr shards, but within each LMDB shard.
        self._stride = settings.shard_bytes if manifest.kind == "zarr" else 0

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the location and the identities of the files there. Maps stay in this process."""
        seen = self._generation.seen if self._generation else None
        return type(self), (self.location, self.manifest, self._settings, seen)

    def files(self) -> list[Path]:
        """Return the shard files, if they are local."""
        return self._files.paths

    def close(self) -> None:
        """Drop the maps. Views that are still referenced stay valid."""
        self._files.close()

    def _ranges(self, indices: IndexArray, limit: IndexArray) -> ByteRanges:
        """Return the shard, offset and size of samples, with offsets from the beginning of a shard.

        limit: int64 (shards,), the end of the bytes in each shard in which samples may lie.
        Raises StoreError if the index is damaged: a sample outside its shard, or a label or split without a name.
        Otherwise a read could return the bytes of something else.
        """
        for column, largest in (("label", self.manifest.largest_label), ("split", len(self.manifest.splits) - 1)):
            number = getattr(self.index, column)[indices]
            if len(number) and not -1 <= int(number.min()) <= int(number.max()) <= largest:
                raise damaged(
                    self.location / self.manifest.index / column,
                    f"numbers from -1 to {largest:,}",
                    f"from {number.min():,} to {number.max():,}",
                )
        shard = np.searchsorted(self._ends, indices, side="right")
        ranges = ByteRanges(shard, self.index.offset[indices] - shard * self._stride, self.index.size[indices])
        end = limit[shard]
        # Compare each number first: the sum of two damaged ones may be too large for 64 bits.
        bad = (ranges.offset < 0) | (ranges.size < 0) | (ranges.offset > end) | (ranges.size > end - ranges.offset)
        if self._shape is not None:
            bad |= ranges.size != self._shape.nbytes
        if bad.any():
            at = int(np.argmax(bad))
            raise damaged(
                self.location / self.manifest.index,
                f"samples within the first {end[at]:,} bytes of their shard",
                f"{ranges.size[at]:,} from {ranges.offset[at]:,} on",
            )
        return ranges
