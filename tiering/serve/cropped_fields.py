"""Crops masks and depth maps like the images that they belong to: same part, same flip, numbers unchanged.

A mask may have another size than its image, since re-encoded images are smaller and their masks are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tiering.arrays import AnyArray, IndexArray
from tiering.errors import DatasetError
from tiering.images.crop import Crop
from tiering.images.exact import decode_as_stored
from tiering.images.geometry import Geometry
from tiering.images.pixels import resized_region
from tiering.store.sample import Buffer
from tiering.store.settings import StoredPixels
from tiering.units import counted


class Placement(NamedTuple):
    """Where a view of a picture comes from: its sides in pixels, the geometry, and whether it is mirrored."""

    width: int
    height: int
    geometry: Geometry
    mirrored: bool


def cropped(
    name: str, value: Buffer, placements: Sequence[Placement], crop: Crop, pixels: StoredPixels | None = None
) -> AnyArray:
    """Crop a mask as its image was cropped. Each pixel is the nearest one of the mask: numbers are never mixed.

    Args:
        name: The field.
        value: The encoded mask, of the same width and height as the image, of the same proportions, or as it was before
            the image became pixels.
        placements: One for each view.
        crop: The crop.
        pixels: What the images became when they were packed; None for encoded images.

    Returns:
        (views, height, width), or (views, height, width, channels), with the numbers that the mask stores. Outside of
        the picture they are 0.

    Raises:
        DatasetError: The mask cannot be decoded, or has other proportions than the image, and the image was not resized
            when it was packed.
    """
    mask = decode_as_stored(value)
    rows, columns = crop.sides
    found = np.zeros((len(placements), rows, columns, *mask.shape[2:]), mask.dtype)
    for view, (width, height, geometry, mirrored) in zip(found, placements, strict=True):
        left, top, wide, high = geometry.region
        to_rows, above = _middles(rows, geometry.corner[1], top, high, geometry.size[1])
        to_columns, before = _middles(columns, geometry.corner[0], left, wide, geometry.size[0])
        if _in_proportion(mask.shape[:2], (height, width)):
            down = above * mask.shape[0] // (2 * geometry.size[1] * height)
            across = before * mask.shape[1] // (2 * geometry.size[0] * width)
        elif pixels and pixels.resize:
            box, size, corner = resized_region(name, (mask.shape[1], mask.shape[0]), pixels.shape, pixels.resize)
            down, across = (
                np.floor(
                    box[axis] + (each / (2 * resized) - corner[axis]) * ((box[axis + 2] - box[axis]) / size[axis])
                ).astype(np.int64)
                for axis, each, resized in ((1, above, geometry.size[1]), (0, before, geometry.size[0]))
            )
        else:
            raise DatasetError(
                "image", expected=f"{height} x {width} pixels in the field {name}, as in the image, or its proportions",
                found=f"{mask.shape[0]} x {mask.shape[1]} (height x width)",
                action="Leave the field out of `fields`, or resize it.",
            )  # fmt: skip
        # What a picture was padded with belongs to no pixel of its mask.
        drawn, taken = (down >= 0) & (down < mask.shape[0]), (across >= 0) & (across < mask.shape[1])
        part = mask[np.ix_(down[drawn], across[taken])]
        (view[:, ::-1] if mirrored else view)[np.ix_(to_rows[drawn], to_columns[taken])] = part
    return found


def stacked_masks(values: list[AnyArray | None], shape: tuple[int, ...]) -> AnyArray:
    """Return the cropped masks of several samples as one array (n, views, ...): masked where there is none.

    Raises:
        DatasetError: They differ in their channels or types.
    """
    kinds = {(each.shape, each.dtype) for each in values if each is not None}
    if len(kinds) > 1:
        raise DatasetError("image", expected="masks of one type", found=" and ".join(sorted(map(_kind, kinds))[:2]))
    sides, numbers = next(iter(kinds), (shape, np.dtype(np.uint8)))
    found = np.zeros((len(values), *sides), numbers)
    for row, value in zip(found, values, strict=True):
        if value is not None:
            row[...] = value
    missing = np.array([value is None for value in values])
    if not missing.any():
        return found
    return np.ma.MaskedArray(found, np.broadcast_to(missing.reshape(-1, *(1,) * len(sides)), found.shape))


def _middles(count: int, corner: int, begin: int, length: int, resized: int) -> tuple[IndexArray, IndexArray]:
    """Return which of an output's pixels lie in the region, and where their middles lie in the picture.

    Middles are in units of 1 / (2 resized) pixels, so that they are whole numbers: rounding them down is exact.
    """
    position = np.arange(corner, corner + count)
    inside = np.flatnonzero((position >= 0) & (position < resized))
    # The middle of an output pixel, as Pillow's NEAREST has it: begin + (position + 1/2) * length / resized.
    return inside, (2 * position[inside] + 1) * length + 2 * begin * resized


def _in_proportion(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return whether two pictures have the same proportions, up to the rounding of the smaller one's sides."""
    (high, wide), (height, width) = sorted((one, other), key=sum)
    # One factor must bring both sides of the larger one to within half a pixel of the smaller one's.
    return (2 * wide - 1) * height <= (2 * high + 1) * width and (2 * high - 1) * width <= (2 * wide + 1) * height


def _kind(kind: tuple[tuple[int, ...], np.dtype[Any]]) -> str:
    shape, numbers = kind
    return f"{numbers} of {counted(1 if len(shape) == 3 else shape[3], 'channel')}"
