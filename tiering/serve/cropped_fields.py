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
from tiering.store.sample import Buffer
from tiering.units import counted


class Placement(NamedTuple):
    """Where a view of a picture comes from: its sides in pixels, the geometry, and whether it is mirrored."""

    width: int
    height: int
    geometry: Geometry
    mirrored: bool


def cropped(name: str, value: Buffer, placements: Sequence[Placement], crop: Crop) -> AnyArray:
    """Crop a mask as its image was cropped. Each pixel is the nearest one of the mask: numbers are never mixed.

    Args:
        name: The field.
        value: The encoded mask, of the same width and height as the image, or of the same proportions.
        placements: One for each view.
        crop: The crop.

    Returns:
        (views, height, width), or (views, height, width, channels), with the numbers that the mask stores. Outside of
        the picture they are 0.

    Raises:
        DatasetError: The mask cannot be decoded, or has other proportions than the image.
    """
    mask = decode_as_stored(value)
    rows, columns = crop.sides
    found = np.zeros((len(placements), rows, columns, *mask.shape[2:]), mask.dtype)
    for view, (width, height, geometry, mirrored) in zip(found, placements, strict=True):
        if not _in_proportion(mask.shape[:2], (height, width)):
            raise DatasetError(
                "image", expected=f"{height} x {width} pixels in the field {name}, as in the image, or its proportions",
                found=f"{mask.shape[0]} x {mask.shape[1]} (height x width)",
                action="Leave the field out of `fields`, or resize it.",
            )  # fmt: skip
        left, top, wide, high = geometry.region
        to_rows, from_rows = _nearest(
            _Axis(rows, geometry.corner[1], top, high, geometry.size[1]), height, mask.shape[0]
        )  # fmt: skip
        to_columns, from_columns = _nearest(
            _Axis(columns, geometry.corner[0], left, wide, geometry.size[0]), width, mask.shape[1]
        )  # fmt: skip
        part = mask[np.ix_(from_rows, from_columns)]
        (view[:, ::-1] if mirrored else view)[np.ix_(to_rows, to_columns)] = part
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


class _Axis(NamedTuple):
    """One axis of an output: its pixels, its corner, begin and length of the region, and the region's resized length.

    All in pixels: the first two and the last of the output, the others of the image.
    """

    outputs: int
    corner: int
    begin: int
    length: int
    resized: int


def _nearest(axis: _Axis, image: int, mask: int) -> tuple[IndexArray, IndexArray]:
    """Return which of an output's pixels lie in the picture, and the pixel of the mask that is nearest to each.

    image, mask: how long the image and the mask are on this axis.
    """
    position = np.arange(axis.corner, axis.corner + axis.outputs)
    inside = np.flatnonzero((position >= 0) & (position < axis.resized))
    # The middle of an output pixel, as Pillow's NEAREST has it: begin + (position + 1/2) * length / resized, scaled to
    # the mask and rounded down.
    middle = (2 * position[inside] + 1) * axis.length + 2 * axis.begin * axis.resized
    return inside, middle * mask // (2 * axis.resized * image)


def _in_proportion(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Return whether two pictures have the same proportions, up to the rounding of the smaller one's sides."""
    (high, wide), (height, width) = sorted((one, other), key=sum)
    # One factor must bring both sides of the larger one to within half a pixel of the smaller one's.
    return (2 * wide - 1) * height <= (2 * high + 1) * width and (2 * high - 1) * width <= (2 * wide + 1) * height


def _kind(kind: tuple[tuple[int, ...], np.dtype[Any]]) -> str:
    shape, numbers = kind
    return f"{numbers} of {counted(1 if len(shape) == 3 else shape[3], 'channel')}"
