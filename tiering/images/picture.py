"""Pictures that are drawn into arrays: only the part that is needed is decoded, resized, and written in place.

Open an encoded image with `open_picture`, or wrap decoded pixels with `picture_of`. A `Picture` knows its sides before
anything is decoded, so the caller chooses the part; `draw` then does the rest in one call, mostly without the GIL.

The C extension `_draw` does the work where it was built (NATIVE). Elsewhere, and for unusual images, simplejpeg,
Pillow and NumPy draw the same pictures, more slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from tiering.arrays import PixelArray
from tiering.images.geometry import Part, StoredPart, stored_part
from tiering.images.image import load_stored, refuse_bomb
from tiering.images.look import Look
from tiering.images.markers import Encoded, jpeg_head
from tiering.images.orientation import jpeg_orientation, seen_size
from tiering.images.reduced_jpeg import decode_reduced, reduction
from tiering.images.resampling import draw_part

try:
    from tiering.images import _draw
except ImportError:  # no compiler, or no libjpeg-turbo, when tiering was installed
    NATIVE = False
else:
    NATIVE = True

#: The numbers of the filters in the C extension.
FILTERS: Final = {"nearest": 0, "bilinear": 1, "bicubic": 2}


class Picture(Protocol):
    """A picture that can be drawn. All coordinates are those of the upright picture."""

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        ...

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        ...

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour, or the bands of decoded pixels."""
        ...

    def draw(self, parts: Sequence[Part], look: Look) -> None:
        """Draw parts of the picture, each into its output.

        What all parts need together is decoded once. An output has the channels of the picture, or one less if the last
        is transparency (2 or 4 channels); a grey picture becomes that many equal channels.

        Args:
            parts: The geometries, and writable outputs (height, width, channels) with any strides: those of a batch of
                either layout, mirrored or not. All outputs of a call have one type: uint8, float16 or float32.
            look: The filter, and the numbers that the levels become. Pixels of 8 bits are rounded to whole levels
                first, so a float output holds exactly the numbers of the uint8 output.

        Raises:
            DatasetError: The image is damaged, or cannot be decoded. Damage below or beside the part of a JPEG that is
                drawn may go unnoticed, since that is never decoded.
            ValueError: A region reaches out of the picture, or an output does not fit the picture or the look.
        """
        ...


def open_picture(data: Encoded, where: str = "image", *, native: bool = NATIVE) -> Picture:
    """Open an encoded image.

    Only the head of a JPEG is read. Other formats, and CMYK JPEGs, are decoded here. Colours, transparency, 16-bit
    channels and orientation are handled as `decode` does.
    With `antialias`, a JPEG at least eight times as large as needed is decoded at 1/2, 1/4 or 1/8 of its size, but
    never at less than four times the size needed.
    Floor: 3 us for a JPEG. Drawing 224 x 224 out of an ImageNet photograph takes 1.1 ms, of which 0.9 ms is decoding
    (one core).

    Args:
        data: The encoded file. It must not change while the picture is used.
        where: The name for errors.
        native: False takes the way without the C extension.

    Raises:
        DatasetError: The image cannot be decoded, or claims more pixels than Pillow accepts.
    """
    head = jpeg_head(data)
    if head is None or head.components not in (1, 3) or not (head.width and head.height):
        return _decoded(data, where, native=native)
    refuse_bomb(where, head.width, head.height)
    orientation = jpeg_orientation(data, head)
    seen = seen_size(head.width, head.height, orientation)
    return _Jpeg(data, where, *seen, head.components, orientation, native)


def picture_of(pixels: PixelArray, *, native: bool = NATIVE) -> Picture:
    """Wrap decoded pixels of shape (height, width, channels), uint8, uint16 or float32, already upright.

    native: False takes the way without the C extension.
    """
    height, width, channels = pixels.shape
    return _Pixels(pixels, width, height, channels, 1, native)


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Decoded pixels before they are turned upright."""

    pixels: PixelArray
    width: int
    height: int
    channels: int
    orientation: int
    native: bool

    def draw(self, parts: Sequence[Part], look: Look) -> None:
        stored = _checked(self, parts, self.orientation)
        pixels = self.pixels
        if self.native and pixels.dtype == np.uint8:
            rows = pixels if pixels[:1].flags.c_contiguous else np.ascontiguousarray(pixels)
            _draw.draw_pixels(rows, stored, _table(stored, look), FILTERS[look.interpolation], look.antialias)
            return
        for part in stored:
            draw_part(pixels, part, look)


@dataclass(frozen=True, slots=True)
class _Jpeg:
    """A JPEG of which only the head was read."""

    data: Encoded
    where: str
    width: int
    height: int
    channels: int
    orientation: int
    native: bool

    def draw(self, parts: Sequence[Part], look: Look) -> None:
        stored = _checked(self, parts, self.orientation)
        table, sides = _table(stored, look), seen_size(self.width, self.height, self.orientation)
        if self.native and _draw.draw_jpeg(
            self.data, *sides, stored, table, FILTERS[look.interpolation], look.antialias
        ):
            return
        by = 1 if not look.antialias or look.interpolation == "nearest" else min(map(_reduction, stored), default=1)
        pixels = decode_reduced(self.data, self.channels, *sides, by)
        if pixels is None:
            _decoded(self.data, self.where, native=self.native).draw(parts, look)
            return
        for part in stored:
            draw_part(pixels, part, look, by)


def _decoded(data: Encoded, where: str, *, native: bool) -> _Pixels:
    image, orientation = load_stored(data, where)
    pixels = np.asarray(image)
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]
    height, width, channels = pixels.shape
    return _Pixels(pixels, *seen_size(width, height, orientation), channels, orientation, native)


def _checked(picture: Picture, parts: Sequence[Part], orientation: int) -> list[StoredPart]:
    """Return the parts as they are stored. Raises ValueError for any that does not fit the picture."""
    seen = picture.width, picture.height
    for geometry, out in parts:
        left, top, width, height = geometry.region
        if min(left, top) < 0 or min(width, height) < 1 or left + width > seen[0] or top + height > seen[1]:
            raise ValueError(f"region: expected one inside {seen[0]} x {seen[1]} pixels, found {geometry.region}")
        if min(geometry.size) < 1:
            raise ValueError(f"size: expected at least 1 x 1, found {geometry.size}")
        check_channels(picture.channels, out.shape[2])
    return [stored_part(part, seen, orientation) for part in parts]


def check_channels(channels: int, wanted: int) -> None:
    """Raise ValueError for an output of other channels than its picture's: see Picture.draw."""
    if channels not in (1, wanted) and (channels, wanted) not in ((2, 1), (4, 3)):
        raise ValueError(f"out: expected {channels} channels, found {wanted}")


def _table(parts: Sequence[StoredPart], look: Look) -> PixelArray | None:
    types = {(part.out.dtype, part.out.shape[2]) for part in parts}
    if len(types) > 1:
        raise ValueError("out: expected outputs of one type and number of channels")
    return next((look.table(*each) for each in types), None)


def _reduction(part: StoredPart) -> int:
    """Return by how much a JPEG may be scaled down in decoding.

    The extension has the same rule. With three times the size needed in place of four, 0.1 % of the values were off by
    more than 3 levels in ImageNet's photographs; with twice, 2 %.
    """
    return reduction(min(part.width / part.wide, part.height / part.high) / 4)
