"""ChunkedStore: a Zarr store whose chunks are compressed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.errors import StoreError
from tiering.place import Place
from tiering.store.base import Buffer, ByteRanges, Images, IndexArray, Sample, check_ranges, images_of, sample_of
from tiering.store.codecs import parse_codec
from tiering.store.index import Index, open_index
from tiering.store.manifest import Manifest, Settings
from tiering.store.shards import shard_files
from tiering.store.zarr import ENTRY_BYTES, TABLE_CRC_BYTES

#: What a store of compressed chunks may keep decoded.
HELD_BYTES: Final = 64 << 20


class ChunkedStore:
    """A packed dataset of compressed chunks: a sample costs the decoding of its chunks, unless they are held still.

    Decoded chunks are held up to HELD_BYTES, the oldest given up first.
    """

    def __init__(self, place: Place, manifest: Manifest, settings: Settings) -> None:
        self.place = place
        self.manifest = manifest
        self.index: Index = open_index(place / manifest.index, manifest.samples)
        self._settings = settings
        self._shape = settings.pixels.shape if settings.pixels else None
        self._codec = parse_codec(settings.codec)
        self._files = shard_files(place, manifest.shards)
        counts: npt.NDArray[np.int64] = np.array([shard.samples for shard in manifest.shards], dtype=np.int64)
        self._ends = np.cumsum(counts)
        self._tables: dict[int, npt.NDArray[np.int64]] = {}
        self._held: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self.manifest.samples

    def __getitem__(self, i: int) -> Sample:
        return sample_of(self, i)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process as a path."""
        return type(self), (self.place, self.manifest, self._settings)

    def read(self, indices: IndexArray) -> Images:
        """Decode samples, in the order asked for. Raises StoreError for a damaged index or chunk."""
        offset, size, chunk = self.index.offset[indices], self.index.size[indices], self._settings.chunk_bytes
        shard_bytes = self._settings.shard_bytes
        shard = np.searchsorted(self._ends, indices, side="right")
        check_ranges(
            self, ByteRanges(shard, offset - shard * shard_bytes, size), np.full(len(indices), shard_bytes), self._shape
        )
        found: list[Buffer] = [b""] * len(indices)
        # In order of place, so that a batch decodes each chunk once however few are held.
        for at in np.argsort(offset, kind="stable").tolist():
            begin, end = int(offset[at]), int(offset[at] + size[at])
            numbers = range(begin // chunk, max(end - 1, begin) // chunk + 1)
            whole = b"".join(self._chunk(number) for number in numbers)
            found[at] = whole[begin - numbers[0] * chunk : end - numbers[0] * chunk]
        return images_of(found, self._shape)

    def _chunk(self, number: int) -> bytes:
        held = self._held.get(number)
        if held is None:
            held = self._decoded(number)
            self._held[number] = held
            if len(self._held) * self._settings.chunk_bytes > HELD_BYTES:
                del self._held[next(iter(self._held))]
        return held

    def _decoded(self, number: int) -> bytes:
        shard, within = divmod(number, self._settings.shard_bytes // self._settings.chunk_bytes)
        offset, size = self._table(shard)[within]
        found = f"entry ({offset}, {size}) in the shard's table"
        if offset >= 0 and size >= 0 and offset + size <= self.manifest.shards[shard].bytes:
            try:
                chunk = bytes(self._codec.decode(self._files.views(*_one(shard, offset, size))[0]))
                if len(chunk) == self._settings.chunk_bytes:
                    return chunk
                found = f"{len(chunk):,} bytes"
            except ValueError as error:
                found = str(error).lower()
        raise StoreError(
            f"{self.place}/{self.manifest.shards[shard].name}",
            expected=f"chunk {within} to decode into {self._settings.chunk_bytes:,} bytes",
            found=found,
            action=f"See which shards are damaged: tiering verify {self.place}",
        )

    def _table(self, shard: int) -> npt.NDArray[np.int64]:
        """Return the shard's table of chunks: (chunks, 2) of offset and bytes."""
        if shard not in self._tables:
            chunks = self._settings.shard_bytes // self._settings.chunk_bytes
            end = self.manifest.shards[shard].bytes - TABLE_CRC_BYTES
            view = self._files.views(*_one(shard, end - chunks * ENTRY_BYTES, chunks * ENTRY_BYTES))[0]
            self._tables = self._tables | {shard: np.frombuffer(view, dtype="<i8").reshape(chunks, 2)}
        return self._tables[shard]

    def byte_ranges(self, indices: IndexArray) -> None:
        """Return None: samples lie in compressed chunks."""

    def announce(self, indices: IndexArray) -> None:
        """Do nothing: chunks are read when they are decoded."""

    def files(self) -> list[Path]:
        """Return the shard files, where they are local."""
        return self._files.paths

    def close(self) -> None:
        """Drop the maps and the chunks that are held."""
        self._files.close()
        self._tables, self._held = {}, {}


def _one(shard: int, offset: int, size: int) -> tuple[IndexArray, IndexArray, IndexArray]:
    return np.array([shard]), np.array([offset]), np.array([size])
