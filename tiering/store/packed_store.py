"""PackedStore: samples that lie in shard files as plain byte ranges, in LMDB and in uncompressed Zarr stores."""

from __future__ import annotations

from contextlib import suppress

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import TieringError
from tiering.storage.location import Location
from tiering.store.checked_reads import checked
from tiering.store.generation import FileIdentities
from tiering.store.manifest import Manifest, Settings
from tiering.store.protocol import BLOCK_BYTES, ByteRanges, Images, as_indices, images_of, samples_in
from tiering.store.shard_store import ShardStore


class PackedStore(ShardStore):
    """A packed dataset that is read through maps of its shards, or by requests for ranges if it is remote."""

    def __init__(
        self, location: Location, manifest: Manifest, settings: Settings, seen: FileIdentities | None = None
    ) -> None:
        super().__init__(location, manifest, settings, seen)
        self.views = self._shape is None and location.local is not None
        self.block = samples_in(BLOCK_BYTES, manifest)

    def byte_ranges(self, indices: IndexArray) -> ByteRanges:
        """Return where samples lie in `files()`. Raises StoreError if the index is damaged."""
        return self._ranges(as_indices(indices, len(self)), self._bytes)

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return samples in the order asked for, encoded ones as views.

        Raises StoreError if a shard is no longer the one that was opened, or if a sample arrives damaged over the
        network.
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
