"""RangeStore: samples or values that are plain byte ranges of files, read through maps or by requests to a server."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from tiering.arrays import AnyArray, IndexArray, PixelArray
from tiering.errors import StoreError, TieringError
from tiering.images.shape import PixelShape
from tiering.io_sizes import BLOCK_BYTES
from tiering.storage.location import Location
from tiering.store.checked_reads import checked
from tiering.store.columns import damaged
from tiering.store.generation import Generation
from tiering.store.index import Index
from tiering.store.indices import as_indices
from tiering.store.manifest import Manifest
from tiering.store.protocol import ByteRanges, Images, StoreBase, images_of, samples_in
from tiering.store.remote_shards import shard_files
from tiering.store.schema import schema_of


class RangeStore(StoreBase):
    """Byte ranges of the files that a manifest names.

    location: of the store. manifest: its shards are the files. index: where each sample is in them. generation: the
    files of a local store as they were at opening. shape: of pixels; None for bytes of any kind. stride: distance in
    bytes between the beginnings of two files, if offsets in the index count through all files; 0 if offsets start at 0
    in each file.
    """

    def __init__(
        self,
        location: Location,
        manifest: Manifest,
        index: Index,
        generation: Generation | None,
        shape: PixelShape | None = None,
        stride: int = 0,
    ) -> None:
        self.location, self.manifest, self.index = location, manifest, index
        self.fields = schema_of(manifest.fields)
        self.views = shape is None and location.local is not None
        self.block = samples_in(BLOCK_BYTES, manifest)
        self._shape, self._generation, self._stride = shape, generation, stride
        self._files = shard_files(location, manifest.shards, generation)
        #: How many numbers of classes and of splits there are, with -1 for none.
        self._named = manifest.largest_label + 2, len(manifest.splits) + 1
        self._ends = np.cumsum([shard.samples for shard in manifest.shards], dtype=np.int64)
        #: Where each shard begins in what the offsets count. The numbers of purged shards leave gaps.
        self._begins = np.array([shard.number for shard in manifest.shards], dtype=np.int64) * stride
        self._bytes = np.array([shard.bytes for shard in manifest.shards], dtype=np.int64)

    def byte_ranges(self, indices: IndexArray) -> ByteRanges | None:
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
        ranges = self._ranges(as_indices(indices, len(self)), self._bytes)
        return images_of(self._files.views(ranges.file, ranges.offset, ranges.size), self._shape, out)

    def pixel_views(self, indices: IndexArray) -> list[PixelArray] | None:
        """Return the pixels of samples as views of mapped files, (height, width, channels) each, read-only.

        None for encoded samples, for compressed pixels, and for a store behind a URL. Raises StoreError as `read` does.
        """
        if self._shape is None or self._generation is None:
            return None
        ranges, sides, numbers = self.byte_ranges(indices), self._shape.sides, self._shape.numbers
        if ranges is None:
            return None
        views = self._files.views(ranges.file, ranges.offset, ranges.size)
        return [np.frombuffer(view, numbers).reshape(sides) for view in views]

    def announce(self, indices: IndexArray) -> None:
        """Start reading samples into the page cache without waiting for them."""
        with suppress(TieringError, OSError, IndexError):  # read() will raise it
            if len(indices) and not self._files.resident():
                ranges = self._ranges(as_indices(indices, len(self)), self._bytes)
                self._files.announce(ranges.file, ranges.offset, ranges.size)

    @property
    def resident(self) -> bool:
        """Whether nothing needs to be announced, as of the last look at the page cache."""
        return self._files.held

    def files(self) -> list[Path]:
        """Return the shard files, if they are local."""
        return self._files.paths

    def close(self) -> None:
        """Drop the maps. Views that are still referenced stay valid."""
        self._files.close()

    def _check_names(self, indices: IndexArray) -> None:
        """Raise StoreError if a sample has a label or a split that the manifest does not name."""
        if not len(indices):
            return
        label, split = self.index.label[indices], self.index.split[indices]
        most_labels, most_splits = self._named
        # Counted from 0 as unsigned numbers, those below -1 are too large: one pass finds both kinds.
        if np.maximum.reduce((label + 1).view(np.uint32)) >= most_labels:
            raise self._unnamed("label", label, most_labels - 2)
        if np.maximum.reduce((split + 1).view(np.uint8)) >= most_splits:
            raise self._unnamed("split", split, most_splits - 2)

    def _unnamed(self, column: str, number: AnyArray, largest: int) -> StoreError:
        return damaged(
            self.location / self.manifest.index / column,
            f"numbers from -1 to {largest:,}",
            f"from {number.min():,} to {number.max():,}",
        )

    def _ranges(self, indices: IndexArray, limit: IndexArray) -> ByteRanges:
        """Return the shard, offset and size of samples, with offsets from the beginning of a shard.

        limit: int64 (shards,), the end of the bytes in each shard in which samples may lie.
        Raises StoreError if the index is damaged: a sample outside its shard, or a label or split without a name.
        Otherwise a read could return the bytes of something else.
        """
        self._check_names(indices)
        shard = self._ends.searchsorted(indices, side="right")
        offset, size, end = self.index.offset[indices], self.index.size[indices], limit[shard]
        if self._stride:
            offset = offset - self._begins[shard]
        ranges = ByteRanges(shard, offset, size)
        # As unsigned numbers, negative ones are too large. Compare each number first: the sum of two damaged ones may
        # be too large for 64 bits.
        room = end - offset
        bad = (offset.view(np.uint64) > end.view(np.uint64)) | (size.view(np.uint64) > room.view(np.uint64))
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
