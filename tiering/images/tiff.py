"""TIFFs that Pillow does not decode: any number of bands, of any type."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO, Final

import numpy as np
from PIL import TiffImagePlugin

from tiering.arrays import AnyArray
from tiering.errors import DatasetError
from tiering.images.deep_decoders import first_page, require
from tiering.images.faults import damaged, from_decoder, refuse_huge
from tiering.images.layout import described, of_tags, tiff_size

_BIG: Final = 43

#: Tags of the sides of a tile, which may be larger than the image.
_TILE_SIDES: Final = (322, 323)
#: How a TIFF or BigTIFF begins.
TIFF_HEADERS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_tags(file: BinaryIO) -> Mapping[int, Any] | None:
    """Return the tags of a TIFF's first page, or None if it is no TIFF or has none that can be read.

    Pillow parses them, also for a TIFF whose pixels it does not decode.
    """
    file.seek(0)
    header = file.read(8)
    if header[:4] not in TIFF_HEADERS:
        return None
    if _BIG in header[2:4]:
        header += file.read(8)
    with suppress(Exception):  # Pillow's readers raise anything for hostile bytes
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
        tiff_size(tags), of_tags(tags)
        return tags
    return None


def decode_tiff(data: bytes | bytearray | memoryview, where: str, tags: Mapping[int, Any]) -> AnyArray:
    """Decode the first page of a TIFF into its own numbers, of shape (height, width, bands), without rotating it.

    tags: from read_tags. where: the name for errors.
    Raises FormatError if tifffile is not installed, or lacks the decoder of the compression, and DatasetError for a
    damaged file or one of more bytes than a sample may have.
    """
    width, height = tiff_size(tags)
    layout = of_tags(tags)
    item = _itemsize(layout.dtype, where)
    refuse_huge(where, width, height, layout.channels, item)
    refuse_huge(where, *(int(tags.get(side, 1)) for side in _TILE_SIDES), layout.channels, item)
    require(where, described("TIFF", layout))
    try:
        pixels, axes = first_page(data)
    except Exception as error:  # tifffile and its decoders raise anything for hostile bytes
        raise from_decoder(where, "TIFF", error) from error
    if axes == "SYX" and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, 2)
    elif axes == "YX" and pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if pixels.shape != (height, width, layout.channels):
        raise damaged(where, f"a TIFF of the shape {pixels.shape} ({axes}) that its tags do not describe")
    # Truth values become 0 and 1.
    return pixels.astype(layout.dtype, copy=False)


def _itemsize(dtype: str, where: str) -> int:
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        raise DatasetError(
            where,
            expected="whole or floating-point numbers",
            found=f"{dtype} pixels",
            action="Convert them to float32, and replace the file.",
        ) from None
