"""Which part of a picture becomes an output: a region, the size it is resized to, and a window of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tiering.arrays import PixelArray
from tiering.images.orientation import TURNS


@dataclass(frozen=True, slots=True)
class Geometry:
    """Which part of an upright picture becomes an output, in two steps as torchvision takes them.

    First `region` is cropped out of the picture and resized to `size`; the filter never looks outside the region.
    Then the output is the window of its own shape whose corner is `corner`.

    region: left, top, width and height, whole pixels inside the upright picture. size: width and height of the resized
    region. corner: x and y of the output's corner in the resized region. The window may reach beyond the region, even
    to negative coordinates; pixels outside are black.
    """

    region: tuple[int, int, int, int]
    size: tuple[int, int]
    corner: tuple[int, int] = (0, 0)


#: Geometries of a batch, of shape (n, 8): the numbers of region, size and corner in a row.
GeometryArray = npt.NDArray[np.int32]

#: An output: the geometry, and a writable view of shape (height, width, channels) with any strides.
Part = tuple[Geometry, PixelArray]


class StoredPart(NamedTuple):
    """A part of a picture as it is stored, before it is turned upright. All in stored pixels.

    left, top, width, height: the region. wide, high: the size it is resized to. x, y: the output's corner in it.
    out: the output, turned back to the stored orientation by its strides.
    """

    left: int
    top: int
    width: int
    height: int
    wide: int
    high: int
    x: int
    y: int
    out: PixelArray


def stored_part(part: Part, seen: tuple[int, int], orientation: int) -> StoredPart:
    """Map a part of the upright picture to the stored one.

    seen: width and height of the upright picture. orientation: from 1 to 8, as in EXIF.
    """
    geometry, out = part
    left, top, width, height = geometry.region
    wide, high = geometry.size
    x, y = geometry.corner
    turn = TURNS.get(orientation)
    if turn is None:
        return StoredPart(left, top, width, height, wide, high, x, y, out)
    swap, mirror, flip = turn
    if mirror:
        left, x, out = seen[0] - left - width, wide - x - out.shape[1], out[:, ::-1]
    if flip:
        top, y, out = seen[1] - top - height, high - y - out.shape[0], out[::-1]
    if swap:
        return StoredPart(top, left, height, width, high, wide, y, x, out.swapaxes(0, 1))
    return StoredPart(left, top, width, height, wide, high, x, y, out)
