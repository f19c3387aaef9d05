"""Re-encode images for training: smaller, upright, in sRGB, and without metadata.

A re-encoded picture is the one that a loader serves of the original (`decode`), shrunk. So transparency never shows,
the first frame of an animation counts, and deeper channels keep their upper 8 bits. In one thing it is better: colours
are converted to sRGB by the image's profile, which training code ignores.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

from tiering.arrays import PixelArray
from tiering.errors import DatasetError
from tiering.images.image import decode
from tiering.images.markers import Encoded
from tiering.images.reencoded import Reencoded
from tiering.images.shrinking import shrink
from tiering.literals import EncodedFormat

__all__ = ["Reencoded", "Remade", "is_alike", "reencode", "remake"]

#: Subsampling of colours that can be written. Images that were no JPEGs get half as many colours, both ways, as from
#: most encoders.
_SUBSAMPLINGS: Final = ("444", "422", "420", "440", "411")
_USUAL: Final = "420"


class Remade(NamedTuple):
    """A re-encoded image. width, height: of the upright original, in pixels."""

    data: bytes
    width: int
    height: int


def reencode(data: Encoded, where: str, how: Reencoded) -> bytes:
    """Re-encode an image. Equal data and an equal `encoder_build` give equal bytes.

    A JPEG at least four times as large as needed is decoded at 1/2, 1/4 or 1/8 of its size, but never at less than
    twice the size needed. Resizing is bicubic over all pixels that a new pixel covers (antialiased). A JPEG keeps its
    chroma subsampling; other images get 4:2:0 as JPEG. Grey images stay grey, but WebP has no grey. CMYK becomes RGB.
    Transparency stays in PNG and WebP; JPEG drops it without blending, as `decode` does.

    A JPEG that is small enough, upright and sRGB, and no finer quantised than `quality`, keeps its pixels to the last
    bit: encoding it once more would lose quality for nothing. Only metadata are cut out of it, and what a camera
    appended. A lossy WebP that is small enough is kept as it is, if it has no metadata.
    Floor: 2.1 ms for an ImageNet photograph to 400 pixels (one core): decoding 1.1 ms, the rest about half each.

    Args:
        data: The encoded file.
        where: The name for errors.
        how: The size, format and quality.

    Returns:
        The encoded file. Its pixels are upright and sRGB, and it has no metadata.

    Raises:
        DatasetError: The image cannot be decoded, claims more pixels than Pillow accepts, has floating-point, signed
            or 32-bit integer pixels, or is too large for the format (65,500 pixels a side in JPEG, 16,383 in WebP).
        FormatError: The decoder is an extra that is not installed.
    """
    return remake(data, where, how).data


def remake(data: Encoded, where: str, how: Reencoded) -> Remade:
    """Re-encode an image, as reencode does, and say how large the original is."""
    found = shrink(data, where, how)
    made = _encoded(found.pixels, found.subsampling, where, how) if found.pixels is not None else found.kept
    return Remade(made or b"", found.width, found.height)


def is_alike(stored: Encoded, data: Encoded, where: str, how: Reencoded) -> bool:
    """Return whether another build of the encoder may have made an image that this one makes otherwise.

    Both are compared with the picture before it is encoded. The stored one may differ from it by 1 level more on
    average than half as much again as what this build makes; it must have the same size, and if it was kept as it is,
    the same bytes.

    Args:
        stored: What a store holds for the image.
        data: The original file.
        where: The name for errors.
        how: As for reencode.

    Raises:
        DatasetError: As reencode does, for the original.
    """
    found = shrink(data, where, how)
    if found.pixels is None:
        return bool(stored == found.kept)
    made = decode(_encoded(found.pixels, found.subsampling, where, how))
    try:
        other = decode(stored)
    except DatasetError:
        return False
    if other.shape != made.shape:
        return False
    wanted = found.pixels[:, :, :3] if found.pixels.shape[2] > 2 else found.pixels[:, :, :1]
    return _difference(other, wanted) <= 1.5 * _difference(made, wanted) + 1


def _difference(one: PixelArray, other: PixelArray) -> float:
    """Return the average difference of two pictures in levels."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


def _encoded(pixels: PixelArray, subsampling: str, where: str, how: Reencoded) -> bytes:
    """Encode pixels as Shrunk has them."""
    try:
        return _ENCODERS[how.format](np.ascontiguousarray(pixels), how.quality, subsampling)
    except (ValueError, OSError) as error:
        height, width = pixels.shape[:2]
        raise DatasetError(
            where,
            expected=f"an image that fits into a {how.format.upper()} file",
            found=f"{width:,} x {height:,} pixels ({str(error).strip() or type(error).__name__})",
            action="Shrink it: `max_side`.",
        ) from error


def _to_jpeg(pixels: PixelArray, quality: int, subsampling: str) -> bytes:
    if pixels.shape[2] == 1:
        return bytes(simplejpeg.encode_jpeg(pixels, quality, "GRAY", "Gray"))
    subsampling = subsampling if subsampling in _SUBSAMPLINGS else _USUAL
    return bytes(simplejpeg.encode_jpeg(pixels, quality, "RGB", subsampling))


def _to_webp(pixels: PixelArray, quality: int, _: str) -> bytes:
    # `exact` keeps the colours below full transparency, which a loader shows.
    return _by_pillow(pixels, "WEBP", quality=quality, exact=True)


def _to_png(pixels: PixelArray, _quality: int, _: str) -> bytes:
    return _by_pillow(pixels, "PNG")


def _by_pillow(pixels: PixelArray, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, kind, **options)
    return file.getvalue()


_ENCODERS: Final[dict[EncodedFormat, Callable[[PixelArray, int, str], bytes]]] = {
    "jpeg": _to_jpeg, "webp": _to_webp, "png": _to_png,
}  # fmt: skip
