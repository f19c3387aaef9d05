"""Images of many bits and bands, written by hand or by the decoders' own libraries."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def noise(sides: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Return numbers over the whole range of a type."""
    random = np.random.default_rng([seed, *sides])
    if dtype.startswith("float"):
        return (random.normal(size=sides) * 10.0 ** random.integers(-3, 4, sides)).astype(dtype)
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max, sides, dtype, endpoint=True)


def npy(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(pixels: np.ndarray, *, planar: bool = False, big: bool = False, **tags) -> bytes:
    """Return an uncompressed TIFF of any type and bands, by the specification (TIFF 6.0): one strip a plane."""
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
    order = ">" if big else "<"
    height, width, bands = pixels.shape
    planes = [pixels[:, :, band] for band in range(bands)] if planar else [pixels]
    strips = [np.ascontiguousarray(plane).astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    bits = 8 * pixels.itemsize
    entries: dict[int, list[int]] = {
        256: [width], 257: [height], 258: [bits] * bands, 259: [1], 262: [tags.get("photometric", 1)],
        273: [0] * len(strips), 274: [tags.get("orientation", 1)], 277: [bands], 278: [height],
        279: [len(strip) for strip in strips], 284: [2 if planar else 1], 339: [kind] * bands,
    }  # fmt: skip
    if "extra" in tags:
        entries[338] = tags["extra"]
    head = 8 + 2 + 12 * len(entries) + 4
    extra = b""
    lists = {tag: 4 * len(values) for tag, values in entries.items() if len(values) > 1}
    begin = head + sum(lists.values())
    entries[273] = [begin + sum(map(len, strips[:number])) for number in range(len(strips))]

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "big" if big else "little")

    out = (b"MM" if big else b"II") + number(42, 2) + number(8, 4) + number(len(entries), 2)
    for tag in sorted(entries):
        values = entries[tag]
        out += number(tag, 2) + number(4, 2) + number(len(values), 4)
        if len(values) == 1:
            out += number(values[0], 4)
        else:
            out += number(head + len(extra), 4)
            extra += b"".join(number(value, 4) for value in values)
    return out + number(0, 4) + extra + b"".join(strips)


def png16(pixels: np.ndarray) -> bytes:
    """Return a PNG of 16-bit grey, grey with transparency, RGB or RGBA."""
    height, width, channels = pixels.shape

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
