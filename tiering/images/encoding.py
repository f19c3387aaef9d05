"""Write decoded pixels as files that decode to the same numbers: PNG, or .npy for all that PNG cannot hold."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tiering.arrays import PixelArray
from tiering.images.npy import npy_document
from tiering.images.shape import PixelShape


def extension_for(shape: PixelShape) -> bytes:
    """Return the extension of the files for pixels of a shape: ".png" or ".npy".

    8-bit grey and RGB, and 16-bit grey, become PNG files. All other pixels become .npy files.
    """
    png = (shape.dtype == "uint8" and shape.channels in (1, 3)) or (shape.dtype == "uint16" and shape.channels == 1)
    return b".png" if png else b".npy"


def encode_pixels(pixels: PixelArray, shape: PixelShape) -> bytes:
    """Encode one sample in the format of extension_for, without loss.

    pixels: of the shape and its type.
    """
    if extension_for(shape) == b".png":
        return encode_png(pixels)
    return npy_document(pixels)


def encode_png(pixels: PixelArray) -> bytes:
    """Encode pixels as a PNG, without loss and at zlib's fastest level.

    pixels: uint8 of shape (height, width, 3), or uint8 or uint16 of shape (height, width, 1) or (height, width) for
    grey. Raises ValueError for another shape or dtype.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"pixels are uint8 or uint16, not {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8):
        raise ValueError(f"no shape of pixels: {pixels.shape} of {pixels.dtype}")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
