"""Read the orientation of a picture from its metadata, and rotate its pixels upright.

EXIF data decide; XMP counts if they have no orientation. Both are read as Pillow reads them (Image.getexif), so that a
picture is the same whichever library decodes it. Nearly all files hold a plain 16-bit number, which is read here. Every
other form of the entry goes to Pillow itself.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import numpy as np
from PIL import Image

from tiering.arrays import PixelArray
from tiering.images.markers import EXIF, Encoded, JpegHead

#: How to make a picture upright, by EXIF orientation: swap rows and columns, then mirror left and right, then flip top
#: and bottom. An orientation that is missing here needs no change.
TURNS: Final = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}

_TAG: Final = 0x0112
_SHORT: Final = 3
_IN_XMP: Final = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

#: Keys under which Pillow keeps the metadata of a decoded image.
_KEPT_IN: Final = frozenset(("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"))


def jpeg_orientation(data: Encoded, head: JpegHead) -> int:
    """Return a JPEG's orientation, from 1 to 8; 1 (as stored) if it has none or a nonsensical one."""
    start, stop = head.exif
    found = _in_exif(bytes(data[start:stop])) if stop else None
    if found is None and head.xmp[1]:
        start, stop = head.xmp
        found = _in_xmp(bytes(data[start:stop]))
    return 1 if found is None else found


def orientation_of(image: Image.Image) -> int:
    """Return the orientation of an image that Pillow decoded, from 1 to 8; 1 if it has none or a nonsensical one."""
    if _KEPT_IN.isdisjoint(image.info):
        return 1
    exif = image.info.get("exif")
    try:
        found = _in_exif(exif.removeprefix(EXIF)) if isinstance(exif, bytes) else _turn(image.getexif().get(_TAG))
    except Exception:  # noqa: BLE001 - Pillow's readers raise anything for hostile bytes
        found = None
    if found is None:
        xmp = image.info.get("XML:com.adobe.xmp") or image.info.get("xmp") or b""
        found = _in_xmp(xmp.encode("utf-8", "replace") if isinstance(xmp, str) else bytes(xmp))
    return 1 if found is None else found


def seen_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return width and height of the upright picture from those stored, or the other way round."""
    return (height, width) if TURNS.get(orientation, (False,))[0] else (width, height)


def turned(pixels: PixelArray, orientation: int) -> PixelArray:
    """Rotate stored pixels of shape (height, width, channels) upright.

    orientation: from 1 to 8, as in EXIF. Returns C-contiguous pixels, the same array for orientation 1.
    """
    turn = TURNS.get(orientation)
    if turn is None:
        return pixels
    height, width, channels = pixels.shape
    # Moving pixels as single items is three times faster than moving their channels one by one.
    items = np.ascontiguousarray(pixels).view(f"V{channels * pixels.itemsize}").reshape(height, width)
    swap, mirror, flip = turn
    seen = np.ascontiguousarray((items.T if swap else items)[:: -1 if flip else 1, :: -1 if mirror else 1])
    return seen.view(pixels.dtype).reshape(*seen.shape, channels)


def _in_exif(exif: bytes) -> int | None:
    """Find the orientation in EXIF data, which are a small TIFF file; None if they have none.

    Slices past the end of the data are empty, and count as 0.
    """
    order: Literal["little", "big"] = "big" if exif[:2] == b"MM" else "little"
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return _by_pillow(exif)
    at = int.from_bytes(exif[4:8], order)
    entries = int.from_bytes(exif[at : at + 2], order)
    for entry in range(at + 2, min(at + 2 + 12 * entries, len(exif) - 11), 12):
        if int.from_bytes(exif[entry : entry + 2], order) == _TAG:
            kind = int.from_bytes(exif[entry + 2 : entry + 4], order)
            if kind != _SHORT or int.from_bytes(exif[entry + 4 : entry + 8], order) != 1:
                return _by_pillow(exif)
            return _turn(int.from_bytes(exif[entry + 8 : entry + 10], order))
    return None


def _by_pillow(exif: bytes) -> int | None:
    """Read an orientation of any type and count with Pillow: a LONG rotates the picture, a BYTE does not."""
    read = Image.Exif()
    try:
        read.load(EXIF + exif)
        return _turn(read.get(_TAG))
    except Exception:  # noqa: BLE001 - Pillow's readers raise anything for hostile bytes
        return None


def _in_xmp(xmp: bytes) -> int | None:
    found = _IN_XMP.search(xmp)
    return _turn(int(found[1])) if found else None


def _turn(value: object) -> int | None:
    """Return the orientation that a value of the tag stands for, 1 for an unknown one; None without a value."""
    if value is None:
        return None
    # A fraction or a float of 6 counts as 6, as in Pillow's own table.
    return next((turn for turn in TURNS if turn == value), 1)
