"""Images that begin and end as whole ones do, and cannot be decoded all the same."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

_PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)

#: TIFF's field types: letter of struct by number.
_LETTERS = {3: "H", 4: "I"}


def encoded(kind: str, pixels: np.ndarray = _PIXELS, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def half_a_png() -> bytes:
    """A PNG with half its pixel data, between a good header and a good end, and every CRC right."""
    whole, at = encoded("PNG"), 8
    made = whole[:8]
    while at < len(whole):
        length = struct.unpack(">I", whole[at : at + 4])[0]
        kind, content = whole[at + 4 : at + 8], whole[at + 8 : at + 8 + length]
        at += 12 + length
        if kind == b"IDAT":
            content = content[: len(content) // 2]
        made += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return made


def tiff(pixels: np.ndarray) -> bytes:
    """A grey TIFF of any type of number, uncompressed."""
    height, width = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    fields = [
        (256, 4, width), (257, 4, height), (258, 3, pixels.dtype.itemsize * 8), (259, 3, 1), (262, 3, 1),
        (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, kind),
    ]  # fmt: skip
    entries = b"".join(
        struct.pack("<HHI", tag, letter, 1) + struct.pack("<" + _LETTERS[letter], value).ljust(4, b"\0")
        for tag, letter, value in fields
    )
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def undecodable() -> dict[str, bytes]:
    """Files by name: each passes for whole until its pixels are decoded."""
    png, jpeg = encoded("PNG"), encoded("JPEG")
    lossy, lossless = encoded("WEBP"), encoded("WEBP", lossless=True)
    scan, tables = jpeg.index(b"\xff\xda"), jpeg.index(b"\xff\xc4")
    return {
        "half.png": half_a_png(),
        "flipped.png": png[:60] + bytes([png[60] ^ 255]) + png[61:],
        "lossy.webp": lossy[:20] + bytes(6) + lossy[26:],
        "lossless.webp": lossless[:30] + b"\xff" * (len(lossless) - 30),
        "no-scan.jpg": jpeg[:scan] + b"\xff\xd9",
        "no-codes.jpg": jpeg[: tables + 5] + b"\xff" * 16 + jpeg[tables + 21 :],
        "floats.tif": tiff(_PIXELS[:, :, 0].astype(np.float32)),
        "integers.tif": tiff(_PIXELS[:, :, 0].astype(np.int32)),
    }


def spoil(root: Path, folder: str = "bad") -> dict[str, bytes]:
    """Write the files into a folder; return them by their keys."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    found = {}
    for name, data in undecodable().items():
        (root / folder / name).write_bytes(data)
        found[f"{folder}/{name}"] = data
    return found
