"""ChunkedStore: a Zarr store with compressed chunks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import StoreError, TieringError, command
from tiering.io_sizes import HELD_BYTES
from tiering.storage.attempts import attempts
from tiering.storage.location import Location
from tiering.store.checked_reads import checked
from tiering.store.chunk_cache import ChunkCache
from tiering.store.codecs import parse_codec
from tiering.store.columns import damaged
from tiering.store.generation import FileIdentities
from tiering.store.indices import as_indices
from tiering.store.layout import ENTRY_BYTES, TABLE_CRC_BYTES
from tiering.store.manifest import Manifest
from tiering.store.packed_store import PackedStore
from tiering.store.protocol import Images, bytes_of, images_of, samples_in
from tiering.store.sample import Buffer
from tiering.store.settings import Settings

#: The most bytes of shards' tables of chunks to hold.
_TABLE_BYTES: Final = 16 << 20


class ChunkedStore(PackedStore):
    """A packed dataset of compressed chunks. Reading a sample decodes its chunks, unless they are still held.

    Up to HELD_BYTES of decoded chunks are held. Decoding releases the GIL.
    """

    def __init__(
        self, location: Location, manifest: Manifest, settings: Settings, seen: FileIdentities | None = None
    ) -> None:
        super().__init__(location, manifest, settings, seen)
        self.views = False
        if self._shape is None or self._shape.nbytes < settings.chunk_bytes:
            # Chunks are decoded whole. Of those that are one sample each, blocks are as large as of plain samples.
            self.block = samples_in(settings.chunk_bytes, manifest)
        self._codec = parse_codec(settings.codec, settings.itemsize)
        self._limit = np.full(len(manifest.shards), settings.shard_bytes)
        self._chunks = settings.shard_bytes // settings.chunk_bytes
        self._tables = ChunkCache(_TABLE_BYTES // (self._chunks * ENTRY_BYTES))
        self._held = ChunkCache(HELD_BYTES // settings.chunk_bytes)

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Decode samples in the given order.

        Raises StoreError for a damaged index or chunk, a shard that is no longer the one that was opened, or a sample
        that arrives damaged over the network.
        """
        indices = as_indices(indices, len(self))
        if self._generation:
            return self._read(indices, out)
        return checked(self, indices, lambda: self._read(indices, out), self._read_again)

    def _read_again(self, indices: IndexArray) -> Images:
        """Drop the chunks of samples that decoded into wrong bytes, and read them again."""
        offset, size = self._in_array(indices)
        chunk = self._settings.chunk_bytes
        for begin, end in zip(offset.tolist(), (offset + size).tolist(), strict=True):
            for number in range(begin // chunk, end // chunk + 1):
                self._held.forget(number)
        return self._read(indices)

    def _read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        offset, size = self._in_array(indices)
        if self._shape is not None and self._shape.nbytes == self._settings.chunk_bytes:
            # A chunk is one sample, so no other request needs it: decode it right here.
            pixels = np.empty((len(indices), *self._shape.sides), self._shape.numbers) if out is None else out
            self._decode_rows(offset // self._settings.chunk_bytes, bytes_of(pixels, self._shape))
            return pixels
        found: list[Buffer] = [b""] * len(indices)
        # In order of offset, so that a batch decodes each chunk once, however few are held.
        for at in np.argsort(offset, kind="stable").tolist():
            found[at] = self._sample(int(offset[at]), int(offset[at] + size[at]))
        return images_of(found, self._shape, out)

    def _in_array(self, indices: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return where samples begin in the array of all shards, and their sizes, in bytes."""
        ranges = self._ranges(indices, self._limit)
        return ranges.file * self._stride + ranges.offset, ranges.size

    def _sample(self, begin: int, end: int) -> Buffer:
        chunk = self._settings.chunk_bytes
        numbers = range(begin // chunk, max(end - 1, begin) // chunk + 1)
        chunks = [self._held.get(number, self._decoded) for number in numbers]
        whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return whole[begin - numbers[0] * chunk : end - numbers[0] * chunk]

    def _decode_rows(self, numbers: IndexArray, rows: npt.NDArray[np.uint8]) -> None:
        """Decode chunks into the rows of an array."""
        for number, encoded, row in zip(numbers.tolist(), self._encoded(numbers), rows, strict=True):
            try:
                self._codec.decode_into(encoded, row.data)
            except ValueError as error:
                if self._generation:
                    raise self._damaged(number, str(error)) from error
                row[:] = np.frombuffer(self._decoded(number), dtype=np.uint8)

    def _decoded(self, number: int) -> bytes:
        """Return a decoded chunk. A remote chunk that does not decode is fetched again."""
        reason = ""
        for _ in attempts(self.location):
            try:
                return bytes(self._codec.decode(self._encoded(np.array([number]))[0], self._settings.chunk_bytes))
            except ValueError as error:
                reason = str(error)
        raise self._damaged(number, reason)

    def _encoded(self, numbers: IndexArray) -> Sequence[bytes | memoryview]:
        """Return encoded chunks. Raises StoreError if a shard's table has an entry outside the shard."""
        shard, within = np.divmod(numbers, self._chunks)
        entry = np.empty((len(numbers), 2), dtype=np.int64)
        for each in np.unique(shard).tolist():
            entry[shard == each] = self._table(each)[within[shard == each]]
        bad = ~self._sound(shard, entry)
        if bad.any():
            at = int(np.argmax(bad))
            raise self._damaged(int(numbers[at]), f"entry ({entry[at, 0]}, {entry[at, 1]}) in the shard's table")
        return self._files.views(shard, entry[:, 0], entry[:, 1])

    def _sound(self, shard: IndexArray, entry: IndexArray) -> npt.NDArray[np.bool_]:
        """Return for each entry of a shard's table whether it is within the shard: bool (n,)."""
        limit = self._bytes[shard]
        # Compare each number first: the sum of two damaged ones may be too large for 64 bits.
        sound: npt.NDArray[np.bool_] = np.all((entry >= 0) & (entry <= limit[:, None]), axis=1)
        sound &= entry[:, 0] + entry[:, 1] <= limit
        return sound

    def _damaged(self, number: int, found: str) -> StoreError:
        shard, within = divmod(number, self._chunks)
        return StoreError(
            f"{self.location}/{self.manifest.shards[shard].name}",
            expected=f"chunk {within} to decode into {self._settings.chunk_bytes:,} bytes",
            found=found.lower(),
            action=f"See which shards are damaged: {command('tiering', 'verify', self.location)}",
        )

    def _table(self, shard: int) -> npt.NDArray[np.int64]:
        """Return a shard's table of chunks: offset and bytes of each, int64 (chunks, 2)."""
        return np.frombuffer(self._tables.get(shard, self._read_table), dtype="<i8").reshape(-1, 2)

    def _read_table(self, shard: int) -> bytes:
        size = self._chunks * ENTRY_BYTES + TABLE_CRC_BYTES
        location = self.location / self.manifest.shards[shard].name
        for _ in attempts(location):
            # Copy it: a view would keep the map alive.
            at = np.array([shard]), self._bytes[[shard]] - size, np.array([size])
            found = bytes(self._files.views(*at)[0])
            table, crc = found[:-TABLE_CRC_BYTES], found[-TABLE_CRC_BYTES:]
            if len(found) == size and google_crc32c.value(table) == int.from_bytes(crc, "little"):
                return table
        raise damaged(location, "the table of its chunks with its CRC-32C", "other bytes")

    def byte_ranges(self, indices: IndexArray) -> None:
        """Return None: samples are in compressed chunks."""

    def announce(self, indices: IndexArray) -> None:
        """Start reading the samples' chunks into the page cache without waiting for them."""
        if self._files.resident():
            return
        with suppress(TieringError, OSError, IndexError):  # read() will raise it
            offset, size = self._in_array(indices)
            first = offset // self._settings.chunk_bytes
            last = np.maximum(offset + size - 1, offset) // self._settings.chunk_bytes
            reach = range(int((last - first).max(initial=0)) + 1)
            numbers = np.unique(np.concatenate([np.minimum(first + further, last) for further in reach]))
            shard, within = np.divmod(numbers, self._chunks)
            for each in np.unique(shard).tolist():
                entry = self._table(each)[within[shard == each]]
                entry = entry[self._sound(np.full(len(entry), each), entry)]
                if len(entry):
                    self._files.announce(np.full(len(entry), each), entry[:, 0], entry[:, 1])

    def close(self) -> None:
        """Drop the maps and the chunks that are held."""
        super().close()
        self._held.clear()
        self._tables.clear()
