"""Zarr stores: one sharded Zarr v3 array, readable with plain zarr.

`STORE` is a Zarr group. Encoded images lie end to end in the array `data` (uint8): sample i is data[offset[i] :
offset[i] + size[i]], and offset and size are columns of the group `index`. Pixels lie in the array `images` (uint8,
uint16 or float32, one row per sample): sample i is row offset[i] // (bytes of a row), which is i itself unless images
were left out or appended. Both are one long range of bytes, cut into chunks and shards, and written and read by the
same code.

Each shard object begins with a whole sample and ends with padding, so that shards are packed independently. Without a
codec a shard's chunks are plain bytes one after another and readers map the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final

import google_crc32c
import numpy as np

from tiering.arrays import IndexArray
from tiering.store.codecs import parse_codec
from tiering.store.image_run import ImageRun, Images
from tiering.store.layout import TABLE_CRC_BYTES
from tiering.store.manifest import Shard
from tiering.store.settings import Settings
from tiering.store.zarr_documents import zarr_documents

#: Images of more bytes than this are cut into chunks one at a time.
_PIECEWISE_BYTES: Final = 64 << 20

#: A missing chunk has this offset and size, 2^64 - 1 (Zarr v3 specification, sharding codec, "binary shard format").
_ABSENT: Final = (1 << 64) - 1


def array_documents(settings: Settings, shards: Sequence[Shard]) -> dict[str, bytes]:
    """Return the contents of the zarr.json files of the group and of its array, by name."""
    described: dict[str, Any] = {
        **array_sides(settings, shards),
        "dtype": settings.numbers,
        "compressors": parse_codec(settings.codec, settings.itemsize).compressors(),
    }
    return zarr_documents([""], {"images" if settings.pixels else "data": described})


def array_sides(settings: Settings, shards: Sequence[Shard]) -> dict[str, tuple[int, ...]]:
    """Return the shape of the array, and the shapes of its chunks and shards."""
    sizes = {"chunks": settings.chunk_bytes, "shards": settings.shard_bytes}
    last = shards[-1].number
    if settings.pixels is None:
        return {"shape": ((last + 1) * settings.shard_bytes,), **{name: (size,) for name, size in sizes.items()}}
    shape = settings.pixels.shape
    rows = last * (settings.shard_bytes // shape.nbytes) + shards[-1].packed
    whole = {"shape": rows * shape.nbytes, **sizes}
    return {name: (size // shape.nbytes, *shape.sides) for name, size in whole.items()}


def write_shard(file: BinaryIO, images: Images, settings: Settings, number: int) -> IndexArray:
    """Write one shard object and return the offset of each sample in the array.

    file: open for writing, at its beginning. images: samples in packed order, together at most settings.shard_bytes.
    number: of the shard. Returns int64 (n,), bytes from the start of the array.
    The layout is that of the sharding codec of the Zarr v3 specification: chunks, then an index of (offset, bytes)
    pairs as little-endian uint64, followed by its CRC-32C.
    """
    table = np.full((settings.shard_bytes // settings.chunk_bytes, 2), _ABSENT, dtype="<u8")
    offsets: list[int] = []
    if settings.codec == "none":
        chunks = _write_plain(file, images, settings.chunk_bytes, offsets)
        table[:chunks, 0] = np.arange(chunks) * settings.chunk_bytes
        table[:chunks, 1] = settings.chunk_bytes
    else:
        codec, written = parse_codec(settings.codec, settings.itemsize), 0
        for chunk, plain in enumerate(_chunks(images, settings.chunk_bytes, offsets)):
            data = codec.encode(plain)
            table[chunk] = written, len(data)
            file.write(data)
            written += len(data)
    tail = table.tobytes()
    file.write(tail + google_crc32c.value(tail).to_bytes(TABLE_CRC_BYTES, "little"))
    return np.array(offsets, dtype=np.int64) + number * settings.shard_bytes


def _write_plain(file: BinaryIO, images: Images, chunk_bytes: int, offsets: list[int]) -> int:
    """Write images end to end, pad the last chunk, and append the begin of each image to offsets.

    Returns the number of chunks. They need not be cut, because they lie end to end, too.
    """
    begin = 0
    for image in images:
        if isinstance(image, ImageRun):
            begin = _append(offsets, begin, image)
            file.write(image.data)
        else:
            offsets.append(begin)
            begin += len(image)
            file.write(image)
        del image  # It may have 1 GiB: free it before the next one is read.
    chunks = -(-begin // chunk_bytes)
    file.write(bytes(chunks * chunk_bytes - begin))
    return chunks


def _append(offsets: list[int], begin: int, run: ImageRun) -> int:
    """Append the begins of images end to end, the first one's given, and return where the last one ends."""
    ends = begin + np.cumsum(run.sizes)
    offsets += (ends - run.sizes).tolist()
    return int(ends[-1])


def _chunks(images: Images, chunk_bytes: int, offsets: list[int]) -> Iterator[bytes]:
    """Join images, cut them into chunks, pad the last one, and append the begin of each image to offsets."""
    pending, held, begin = [b""], 0, 0
    for each in images:
        if isinstance(each, ImageRun):
            begin = _append(offsets, begin, each)
            image = bytes(each.data)
        else:
            offsets.append(begin)
            begin += len(each)
            image = each
        del each
        if not held and len(image) == chunk_bytes:
            yield image
            continue
        if len(image) > _PIECEWISE_BYTES:
            # It may have 1 GiB, so do not join it with others: complete the current chunk with it, and cut the rest.
            first = chunk_bytes - held if held else 0
            if held:
                yield b"".join((*pending, image[:first]))
            last = len(image) - (len(image) - first) % chunk_bytes
            for at in range(first, last, chunk_bytes):
                yield image[at : at + chunk_bytes]
            pending, held = [image[last:]], len(image) - last
            del image
            continue
        pending.append(image)
        held += len(image)
        if held >= chunk_bytes:
            together = b"".join(pending)
            whole = held - held % chunk_bytes
            for at in range(0, whole, chunk_bytes):
                yield together[at : at + chunk_bytes]
            pending, held = [together[whole:]], held - whole
    if held:
        yield b"".join(pending).ljust(chunk_bytes, b"\0")
