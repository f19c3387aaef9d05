"""The shape of decoded samples, and the one that a dataset has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np

from tiering.errors import DatasetError, UsageError
from tiering.images.image import ImageHeader
from tiering.literals import PixelType

_SIZE: Final = re.compile(r"([0-9]{1,9})(?:[xX]([0-9]{1,9}))?")
_LONGEST_SIDE: Final = 65_535

#: The types as they are stored, on a machine of any byte order.
_NUMBERS: Final[dict[str, np.dtype[Any]]] = {name: np.dtype(name).newbyteorder("<") for name in get_args(PixelType)}


@dataclass(frozen=True, slots=True)
class PixelShape:
    """The shape of one decoded sample, and the type of its numbers.

    height, width: pixels, at least 1. channels: 1 (grey), 3 (RGB), or another number of bands. dtype: of each number.
    Raises ValueError for anything else.
    """

    height: int
    width: int
    channels: int
    dtype: PixelType = "uint8"

    def __post_init__(self) -> None:
        if min(self.sides) < 1 or self.dtype not in get_args(PixelType):
            raise ValueError(f"no shape of pixels: {self.height} x {self.width} x {self.channels} of {self.dtype}")

    @property
    def sides(self) -> tuple[int, int, int]:
        """(height, width, channels), the shape of one sample's array."""
        return self.height, self.width, self.channels

    @property
    def numbers(self) -> np.dtype[Any]:
        """The type of the numbers as they are stored: little-endian."""
        return _NUMBERS[self.dtype]

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return self.numbers.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return self.height * self.width * self.channels * self.itemsize


def parse_size(text: str, name: str = "resize") -> tuple[int, int]:
    """Read a size such as "224x336" (height x width), or one number for a square ("224").

    name: of the parameter, for the error.
    Returns height and width in pixels. Raises UsageError for anything else, and for sides outside 1 to 65,535.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is not None:
        height = int(match[1])
        width = height if match[2] is None else int(match[2])
        if min(height, width) >= 1 and max(height, width) <= _LONGEST_SIDE:
            return height, width
    raise UsageError(
        name,
        rule=f"must be HxW, height and width in pixels from 1 to {_LONGEST_SIDE:,}",
        found=repr(text),
        action="For example 224x224.",
    )


def agree_on_size(headers: Sequence[ImageHeader]) -> tuple[int, int]:
    """Find the height and width that all images have in common, from their headers.

    headers: the results of probe. They give sizes as stored, so an image that EXIF orientation rotates by 90 degrees
    passes here, and to_pixels refuses it unless it is square.
    Raises DatasetError if there is no image, or if the sizes differ: then only resizing gives one shape.
    """
    sizes = Counter((header.height, header.width) for header in headers)
    if not sizes:
        raise DatasetError("dataset", found="there is no image to take a size from")
    if len(sizes) > 1:
        shown = " and ".join(f"{size_text(*size)} ({_images(count)})" for size, count in sizes.most_common(2))
        others = f" beside {len(sizes) - 2:,} others" if len(sizes) > 2 else ""
        raise DatasetError(
            "dataset",
            expected="images of one size",
            found=f"{shown}{others} (height x width)",
            action="Resize them with `pixels`, for example 224x224.",
        )
    ((height, width),) = sizes
    return height, width


def agree_on_channels(headers: Sequence[ImageHeader]) -> int:
    """Return the number of channels for images with these headers. Transparency does not count.

    It is 1 if every image is grey and 3 if some are in colour. Images of other numbers of bands must all have the same.
    Raises DatasetError if they differ.
    """
    found = Counter(header.layout.colours for header in headers)
    if found.keys() <= {1, 3}:
        return max(found, default=3)
    if len(found) > 1:
        raise DatasetError(
            "dataset",
            expected="images of one number of channels",
            found=" and ".join(f"{number} ({_images(count)})" for number, count in found.most_common(2)),
            action="Choose one: `channels`. Images of another number then count as bad.",
        )
    (channels,) = found
    return channels


def agree_on_type(headers: Sequence[ImageHeader], wanted: PixelType | None) -> PixelType:
    """Return the type of the numbers of stored pixels: the wanted one, or uint8 if no image needs more.

    Raises DatasetError if an image has more than 8 bits and no type is wanted, and if the wanted type takes none of the
    images. Bits are never dropped unless they are told to be.
    """
    found = Counter(header.layout.dtype for header in headers)
    taken = {"uint8": {"uint8", "uint16"}, "uint16": {"uint16"}}.get(wanted or "", set(found))
    deeper = {name: count for name, count in found.items() if name != "uint8"}
    if wanted is not None and taken & found.keys():
        return wanted
    if wanted is None and not deeper:
        return "uint8"
    kept = "uint16" if found.keys() == {"uint16"} else "float32"
    narrowed = " To keep only their upper 8 bits: `dtype` uint8." if deeper.keys() == {"uint16"} else ""
    raise DatasetError(
        "dataset",
        expected="pixels of 8 bits per channel, unless `dtype` is given" if wanted is None else f"{wanted} pixels",
        found=", ".join(f"{name} pixels in {_images(count)}" for name, count in found.most_common()),
        action=f"To keep all their bits: `dtype` {kept}.{narrowed}",
    )


def size_text(height: int, width: int) -> str:
    """Return a size as it is given on the command line."""
    return f"{height}x{width}"


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
