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
import zarr

from tiering.errors import StoreError
from tiering.store.base import Buffer, IndexArray, Manifest, Sample, sample_of
from tiering.store.codecs import compressors, encoder
from tiering.store.index import Index, open_index
from tiering.store.packed import PackedStore

#: Large enough that a foreign reader's request is worth its latency, small enough not to drown one image.
CHUNK_BYTES: Final = 1 << 18

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
    return CompressedZarrStore(path, manifest)


class CompressedZarrStore:
    """A Zarr store whose chunks are compressed: every sample costs the decoding of the chunks it lies in."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.index: Index = open_index(path, manifest.samples)
        self._data = zarr.open_array(path / "data", mode="r")

    def __len__(self) -> int:
        return self.manifest.samples

    def __getitem__(self, i: int) -> Sample:
        return sample_of(self, i)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process as a path."""
        return type(self), (self.path, self.manifest)

    def read(self, indices: IndexArray) -> list[Buffer]:
        """Decode the samples' bytes, in the order asked for. Raises StoreError for a chunk that does not decode."""
        begins = self.index.offset[indices].tolist()
        sizes = self.index.size[indices].tolist()
        try:
            return [
                np.asarray(self._data[begin : begin + size]).tobytes()
                for begin, size in zip(begins, sizes, strict=True)
            ]
        except (ValueError, RuntimeError) as error:
            raise StoreError(
                str(self.path / "data"),
                expected="chunks that decode",
                found=str(error).lower(),
                action=f"See which shards are damaged: tiering verify {self.path}",
            ) from error

    def byte_ranges(self, indices: IndexArray) -> None:
        """Return None: samples lie in compressed chunks."""

    def announce(self, indices: IndexArray) -> None:
        """Do nothing: Zarr reads whole chunks by itself."""

    def files(self) -> list[Path]:
        """Return the shard objects."""
        return [self.path / shard.name for shard in self.manifest.shards]

    def close(self) -> None:
        """Do nothing: Zarr keeps no file open."""
