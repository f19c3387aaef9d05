"""Which images fit the channels and the type of a store's pixels, and how their numbers become the store's.

Numbers are never rescaled: 255 of 8 bits and 65,535 of 16 bits are both white, so a store of either type refuses the
other, and only float32 takes both as they are.
"""

from __future__ import annotations

from typing import Final, NoReturn

import numpy as np

from tiering.arrays import PixelArray
from tiering.errors import DatasetError
from tiering.images.layout import PixelLayout
from tiering.images.shape import PixelShape

#: Types whose every number is one of float32.
_IN_FLOAT32: Final = ("uint8", "int8", "uint16", "int16", "float16")


def check_fits(layout: PixelLayout, where: str, shape: PixelShape, *, narrow: bool) -> None:
    """Raise DatasetError if an image of this layout does not fit the channels or the type of a shape.

    narrow: as for to_pixels. where: the name for errors.
    """
    grey = layout.colours == 1 and shape.channels == 3
    if shape.channels not in (layout.channels, layout.colours) and not grey:
        if layout.colours == 3:
            check_grey(False, where, shape)
        raise DatasetError(
            where,
            expected=f"{shape.channels} channel{'s' * (shape.channels != 1)}",
            found=f"{layout.colours}{' and transparency' * layout.alpha}",
            action="Keep the channels that the images have: `channels`.",
        )
    if layout.dtype == shape.dtype or (narrow and (layout.dtype, shape.dtype) == ("uint16", "uint8")):
        return
    if shape.dtype != "float32" or layout.dtype.startswith("complex"):
        _refuse(layout.dtype, where, shape)


def check_grey(grey: bool, where: str, shape: PixelShape) -> None:
    """Raise DatasetError for an image in colour if a shape has one channel."""
    if shape.channels == 1 and not grey:
        raise DatasetError(
            where,
            expected="a grey image",
            found="a colour image",
            action="Keep the colours of all images: `channels` 3.",
        )


def fitted(pixels: PixelArray, layout: PixelLayout, where: str, shape: PixelShape) -> PixelArray:
    """Bring the pixels of an image that fits to the channels and the type of a shape.

    pixels: (height, width, channels) of the layout. Transparency is dropped unless the shape has a channel for it, and
    grey is spread to RGB.
    Raises DatasetError for numbers that float32 does not hold.
    """
    if layout.channels != shape.channels:
        pixels = pixels[:, :, : layout.colours]
        pixels = pixels if layout.colours == shape.channels else np.repeat(pixels, shape.channels, axis=2)
    found = pixels.dtype.name
    if found == shape.dtype:
        return pixels
    if shape.dtype == "uint8":
        return (pixels >> 8).astype(np.uint8)
    with np.errstate(over="ignore"):
        cast = pixels.astype(np.float32)
    if found in _IN_FLOAT32:
        return cast
    # float64 is rounded, as asked for. Whole numbers are ids or counts, and must not change.
    exact = np.isinf(cast) == np.isinf(pixels) if pixels.dtype.kind == "f" else cast.astype(np.float64) == pixels
    return cast if np.all(exact) else _refuse(found, where, shape)


def _refuse(found: str, where: str, shape: PixelShape) -> NoReturn:
    raise DatasetError(
        where,
        expected=f"{shape.dtype} pixels",
        found=f"{found} pixels that float32 cannot hold"
        if shape.dtype == "float32"
        else f"{found} pixels in a store of {shape.dtype}",
        action="Scale them, and replace the file."
        if shape.dtype == "float32"
        else "float32 keeps the numbers of both: `dtype` float32.",
    )
