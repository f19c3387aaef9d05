"""Decodes JPEGs at their size or at 1/2, 1/4 or 1/8 of it. Other fractions take longer, not less."""

from __future__ import annotations

import simplejpeg

from tiering.arrays import PixelArray
from tiering.images.markers import Encoded


def reduction(spare: float) -> int:
    """Return by how much a JPEG is scaled down in decoding. spare: how many times larger than needed it is."""
    return next((by for by in (8, 4, 2) if spare >= by), 1)


def decode_reduced(data: Encoded, components: int, width: int, height: int, by: int) -> PixelArray | None:
    """Decode a grey or colour JPEG, without rotating it.

    Args:
        data: The encoded file.
        components: 1 for grey, otherwise RGB is made of it.
        width: Of the whole image as stored, in pixels.
        height: Its height.
        by: 1, 2, 4 or 8.

    Returns:
        uint8 (height / by, width / by, channels), rounded up. None for odd subsampling, damage or another oddity:
        Pillow is more tolerant, and decides.
    """
    try:
        pixels: PixelArray = simplejpeg.decode_jpeg(
            data, "GRAY" if components == 1 else "RGB", min_width=-(-width // by), min_height=-(-height // by)
        )
    except ValueError:
        return None
    return pixels


def subsampling_of(data: Encoded) -> str:
    """Return the subsampling of the colours of a JPEG that was decoded, such as "420"; "" for one without a name."""
    try:
        *_, found = simplejpeg.decode_jpeg_header(data)
    except KeyError:  # simplejpeg decodes 4:4:1, too, and does not know what it is called
        return ""
    return str(found)
