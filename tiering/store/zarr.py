"""Zarr stores: the encoded images end to end in one sharded Zarr v3 array, readable with plain zarr.

`STORE` is a Zarr group with the array `data` (uint8): sample i is data[offset[i] : offset[i] + size[i]], and offset and
size are columns of the group `index`. Each shard object starts with whole samples and ends with padding, so that shards
are packed independently. Without a codec a shard's chunks are plain bytes one after another and readers map the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr

from tiering.errors import StoreError
from tiering.store.base import Buffer, IndexArray, Manifest, Sample, Settings, sample_of
from tiering.store.codecs import compressors, encoder
from tiering.store.index import Index, open_index
from tiering.store.mapped import MappedFiles
from tiering.store.packed import PackedStore

#: Large enough that a foreign reader's request is worth its latency, small enough not to drown one image.
CHUNK_BYTES: Final = 1 << 18

#: What a store of compressed chunks may keep decoded.
HELD_BYTES: Final = 64 << 20

#: Marks a chunk that is not stored, twice 2^64 - 1 (Zarr v3 specification, sharding codec, "binary shard format").
_ABSENT: Final = (1 << 64) - 1


def shard_name(number: int) -> str:
    """Return the name of a shard object within the store."""
    return f"data/c/{number}"


def describe(path: Path, *, shards: int, shard_bytes: int, chunk_bytes: int, codec: str) -> None:
    """Write the group's and the array's metadata; the shard objects are written by write_shard."""
    group = zarr.create_group(path)
    group.create_array(
        "data",
        shape=(shards * shard_bytes,),
        chunks=(chunk_bytes,),
        shards=(shard_bytes,),
        dtype=np.uint8,
        compressors=compressors(codec),
        filters=None,
        fill_value=0,
    )


def write_shard(
    path: Path, images: Iterable[bytes], *, first_byte: int, shard_bytes: int, chunk_bytes: int, codec: str
) -> IndexArray:
    """Write one shard object and return where each sample lies in the array.

    path: the file to make; images: encoded images in packed order, shard_bytes in all at most; first_byte: where the
    shard begins in the array. Returns int64 (n,), positions in the array.
    The layout is the sharding codec's of the Zarr v3 specification: chunks, then an index of (offset, bytes) pairs as
    little-endian uint64 with a CRC-32C behind it.
    """
    encode = encoder(codec)
    table = np.full((shard_bytes // chunk_bytes, 2), _ABSENT, dtype="<u8")
    offsets: list[int] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for number, plain in enumerate(_chunks(images, chunk_bytes, offsets)):
            data = plain if encode is None else encode.encode(plain)
            table[number] = file.tell(), len(data)
            file.write(data)
        tail = table.tobytes()
        file.write(tail + google_crc32c.value(tail).to_bytes(4, "little"))
        file.flush()
        os.fsync(file.fileno())
    return np.array(offsets, dtype=np.int64) + first_byte


def _chunks(images: Iterable[bytes], chunk_bytes: int, offsets: list[int]) -> Iterator[bytes]:
    """Cut images laid end to end into chunks, the last one padded, and note where each image begins."""
    pending, begin = bytearray(), 0
    for image in images:
        offsets.append(begin)
        begin += len(image)
        pending += image
        while len(pending) >= chunk_bytes:
            yield bytes(pending[:chunk_bytes])
            del pending[:chunk_bytes]
    if pending:
        yield bytes(pending.ljust(chunk_bytes, b"\0"))


def open_zarr(path: Path, manifest: Manifest) -> PackedStore | CompressedZarrStore:
    """Open a Zarr store for reading: mapped where its chunks are plain, through Zarr where they are compressed."""
    settings = manifest.settings
    if settings is None:
        raise StoreError(str(path), expected="conversion settings in the manifest", found="none")
    if settings.codec == "none":
        return PackedStore(path, manifest, np.arange(len(manifest.shards), dtype=np.int64) * settings.shard_bytes)
    return CompressedZarrStore(path, manifest, settings)


class CompressedZarrStore:
    """A Zarr store whose chunks are compressed: a sample costs the decoding of its chunks, unless they are held still.

    Decoded chunks are held up to HELD_BYTES, the oldest given up first.
    """

    def __init__(self, path: Path, manifest: Manifest, settings: Settings) -> None:
        self.path = path
        self.manifest = manifest
        self.index: Index = open_index(path, manifest.samples)
        self._settings = settings
        self._decode = encoder(settings.codec).decode
        self._files = MappedFiles(self.files(), [shard.bytes for shard in manifest.shards])
        self._tables: dict[int, npt.NDArray[np.int64]] = {}
        self._held: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self.manifest.samples

    def __getitem__(self, i: int) -> Sample:
        return sample_of(self, i)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process as a path."""
        return type(self), (self.path, self.manifest, self._settings)

    def read(self, indices: IndexArray) -> list[Buffer]:
        """Decode the samples' bytes, in the order asked for. Raises StoreError for a chunk that does not decode."""
        offset, size, chunk = self.index.offset[indices], self.index.size[indices], self._settings.chunk_bytes
        found: list[Buffer] = [b""] * len(indices)
        # In order of place, so that a batch decodes each chunk once however few are held.
        for at in np.argsort(offset, kind="stable").tolist():
            begin, end = int(offset[at]), int(offset[at] + size[at])
            numbers = range(begin // chunk, max(end - 1, begin) // chunk + 1)
            whole = b"".join(self._chunk(number) for number in numbers)
            found[at] = whole[begin - numbers[0] * chunk : end - numbers[0] * chunk]
        return found

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
        one = np.array([shard]), np.array([offset]), np.array([size])
        try:
            return bytes(self._decode(self._files.views(*one)[0]))
        except (ValueError, RuntimeError) as error:
            raise StoreError(
                str(self.path / shard_name(shard)),
                expected=f"chunk {within} to decode",
                found=str(error).lower(),
                action=f"See which shards are damaged: tiering verify {self.path}",
            ) from error

    def _table(self, shard: int) -> npt.NDArray[np.int64]:
        """Return the shard's index: (chunks, 2) of offset and bytes."""
        if shard not in self._tables:
            chunks = self._settings.shard_bytes // self._settings.chunk_bytes
            end = self.manifest.shards[shard].bytes - 4
            place = np.array([shard]), np.array([end - chunks * 16]), np.array([chunks * 16])
            table = np.frombuffer(self._files.views(*place)[0], dtype="<i8").reshape(chunks, 2)
            self._tables = self._tables | {shard: table}
        return self._tables[shard]

    def byte_ranges(self, indices: IndexArray) -> None:
        """Return None: samples lie in compressed chunks."""

    def announce(self, indices: IndexArray) -> None:
        """Do nothing: chunks are read when they are decoded."""

    def files(self) -> list[Path]:
        """Return the shard objects."""
        return [self.path / shard.name for shard in self.manifest.shards]

    def close(self) -> None:
        """Drop the maps and the chunks that are held."""
        self._files.close()
        self._tables, self._held = {}, {}
