"""Decode images into pixels of one shape for a pixel store, and find the shape that a dataset has."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

from tiering.arrays import PixelArray
from tiering.errors import DatasetError, UsageError
from tiering.images.image import ImageHeader, load_stored, refuse_bomb
from tiering.images.markers import Encoded, JpegHead, jpeg_head
from tiering.images.orientation import TURNS, jpeg_orientation, turned
from tiering.literals import ResizeMode

Box = tuple[float, float, float, float]

_SIZE: Final = re.compile(r"([0-9]{1,9})(?:[xX]([0-9]{1,9}))?")
_LONGEST_SIDE: Final = 65_535


@dataclass(frozen=True, slots=True)
class PixelShape:
    """The shape of one decoded sample.

    height, width: pixels, at least 1. channels: 1 (grey) or 3 (RGB), of 8 bits. Raises ValueError for anything else.
    """

    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.channels not in (1, 3):
            raise ValueError(f"no shape of pixels: {self.height} x {self.width} x {self.channels}")

    @property
    def sides(self) -> tuple[int, int, int]:
        """(height, width, channels), the shape of one sample's array."""
        return self.height, self.width, self.channels

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return self.height * self.width * self.channels


class _Stored(NamedTuple):
    """A decoded image before it is rotated upright.

    pixels: scaled down `reduction` times. width, height: of the whole image in pixels.
    """

    pixels: Image.Image | PixelArray
    reduction: int
    orientation: int
    width: int
    height: int


class _Region(NamedTuple):
    """A box of the upright picture, and the place in the sample where it is drawn. All in pixels.

    box: left, top, right, bottom. size: width and height in the sample. corner: left and top in the sample.
    """

    box: Box
    size: tuple[int, int]
    corner: tuple[int, int]


def to_pixels(data: Encoded, where: str, shape: PixelShape, resize: ResizeMode | None) -> PixelArray:
    """Decode an image, as decode does, into pixels of one shape.

    A JPEG at least four times as large as needed is decoded at 1/2, 1/4 or 1/8 of its size, but never at less than
    twice the size needed. Scaling is bilinear over all pixels that a new pixel covers (antialiased).
    Floor: the decoder's time, Pillow's to resize, and 10 us: 1.9 ms for a JPEG of 500 x 400 pixels cropped to
    224 x 224, 10 ms for one of 3000 x 2000 (one core).

    Args:
        data: The encoded file.
        where: The name for errors.
        shape: The shape of the result.
        resize: "crop" scales until the picture just covers the shape and cuts out its centre (torchvision's Resize and
            CenterCrop). "pad" scales until it just fits inside and centres it on zeros. "stretch" ignores its
            proportions. None accepts only images that have the shape.

    Returns:
        C-contiguous uint8 of shape (height, width, channels). The three channels of a grey image are equal.

    Raises:
        DatasetError: The image cannot be decoded, has another size although resize is None, or is in colour (a palette
            counts as colour) although the shape has one channel.
    """
    stored = _stored_jpeg(data, where, shape, resize)
    if stored is None:
        image, orientation = load_stored(data, where)
        _check_channels(image.mode == "L", where, shape)
        stored = _Stored(image, 1, orientation, image.width, image.height)
    seen = _seen(stored.width, stored.height, stored.orientation)
    region = _region(where, seen, shape, resize)
    return _placed(turned(_drawn(stored, seen, region), stored.orientation), region, shape)


def parse_size(text: str) -> tuple[int, int]:
    """Read a size such as "224x336" (height x width), or one number for a square ("224").

    Returns height and width in pixels. Raises UsageError for anything else, and for sides outside 1 to 65,535.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is not None:
        height = int(match[1])
        width = height if match[2] is None else int(match[2])
        if min(height, width) >= 1 and max(height, width) <= _LONGEST_SIDE:
            return height, width
    raise UsageError(
        "resize",
        expected=f"HxW, height and width in pixels from 1 to {_LONGEST_SIDE:,}",
        found=repr(text),
        action="For example 224x224.",
    )


def agree_on_shape(headers: Iterable[ImageHeader]) -> PixelShape:
    """Find the shape that all images have in common, from their headers.

    headers: the results of probe, iterated once; only the distinct sizes are kept. They give sizes as stored, so an
    image that EXIF orientation rotates by 90 degrees passes here, and to_pixels refuses it unless it is square.
    Returns the shape, with one channel if every image is grey, else three.
    Raises DatasetError if there is no image, or if the sizes differ: then only resizing gives one shape.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    channels = 1
    for header in headers:
        sizes[header.height, header.width] += 1
        if not header.grey:
            channels = 3
    if not sizes:
        raise DatasetError("dataset", expected="images of one size", found="no image")
    if len(sizes) > 1:
        shown = " and ".join(
            f"{_size(*size)} ({count:,} image{'s' * (count != 1)})" for size, count in sizes.most_common(2)
        )
        others = f" beside {len(sizes) - 2:,} others" if len(sizes) > 2 else ""
        raise DatasetError(
            "dataset",
            expected="images of one size",
            found=f"{shown}{others} (height x width)",
            action="Resize them with `pixels`, for example 224x224.",
        )
    ((height, width),) = sizes
    return PixelShape(height, width, channels)


def encode_png(pixels: PixelArray) -> bytes:
    """Encode pixels as a PNG, without loss and at zlib's fastest level.

    pixels: uint8 of shape (height, width, 3), or (height, width, 1) or (height, width) for grey.
    Raises ValueError for another shape or dtype.
    """
    if pixels.dtype != np.uint8:
        raise ValueError(f"pixels are uint8, not {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[2] != 3):
        raise ValueError(f"no shape of pixels: {pixels.shape}")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _stored_jpeg(data: Encoded, where: str, shape: PixelShape, resize: ResizeMode | None) -> _Stored | None:
    """Decode a JPEG no larger than needed; None if Pillow must decode it: another format, CMYK, an unusual JPEG."""
    head = jpeg_head(data)
    if head is None or head.components == 4 or not (head.width and head.height):
        return None
    refuse_bomb(where, head.width, head.height)
    _check_channels(head.components == 1, where, shape)
    orientation = jpeg_orientation(data, head)
    reduction = _reduction(_region(where, _seen(head.width, head.height, orientation), shape, resize))
    pixels = _decoded(data, head, reduction)
    return None if pixels is None else _Stored(pixels, reduction, orientation, head.width, head.height)


def _decoded(data: Encoded, head: JpegHead, reduction: int) -> PixelArray | None:
    colours = "GRAY" if head.components == 1 else "RGB"
    try:
        pixels: PixelArray = (
            simplejpeg.decode_jpeg(data, colours)
            if reduction == 1
            else simplejpeg.decode_jpeg(
                data, colours, min_height=-(-head.height // reduction), min_width=-(-head.width // reduction)
            )
        )
    except ValueError:
        return None  # Odd subsampling, or another oddity that the strict decoder refuses: Pillow is more tolerant.
    return pixels


def _reduction(region: _Region) -> int:
    """Return by how much a JPEG may be scaled down in decoding. Other fractions than these take longer, not less."""
    left, top, right, bottom = region.box
    width, height = region.size
    enough = min((right - left) / width, (bottom - top) / height) / 2
    return next((reduction for reduction in (8, 4, 2) if enough >= reduction), 1)


def _seen(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return width and height of the upright picture, from those stored."""
    return (height, width) if TURNS.get(orientation, (False,))[0] else (width, height)


def _region(where: str, seen: tuple[int, int], shape: PixelShape, resize: ResizeMode | None) -> _Region:
    width, height = seen
    picture, full = (0, 0, width, height), (shape.width, shape.height)
    if resize is None and seen != full:
        raise DatasetError(
            where,
            expected=f"{_size(shape.height, shape.width)} (height x width)",
            found=_size(height, width),
            action=f"Bring all images to one size: `pixels` {_size(shape.height, shape.width)}.",
        )
    if resize is None or resize == "stretch" or seen == full:
        return _Region(picture, full, (0, 0))
    wider = width * shape.height >= height * shape.width
    if resize == "crop":
        # torchvision's rounding, applied to the box: resizing the whole picture first would waste most of the work.
        if wider:
            scaled = width * shape.height // height, shape.height
        else:
            scaled = shape.width, height * shape.width // width
        left, top = round((scaled[0] - shape.width) / 2), round((scaled[1] - shape.height) / 2)
        across, down = width / scaled[0], height / scaled[1]
        right, bottom = min(width, (left + shape.width) * across), min(height, (top + shape.height) * down)
        return _Region((left * across, top * down, right, bottom), full, (0, 0))
    if wider:
        size = shape.width, max(1, round(height * shape.width / width))
    else:
        size = max(1, round(width * shape.height / height)), shape.height
    return _Region(picture, size, ((shape.width - size[0]) // 2, (shape.height - size[1]) // 2))


def _drawn(stored: _Stored, seen: tuple[int, int], region: _Region) -> PixelArray:
    """Resize the region's box before rotating it: the result is small, so rotating it is cheap."""
    swap, mirror, flip = TURNS.get(stored.orientation, (False, False, False))
    left, top, right, bottom = region.box
    if mirror:
        left, right = seen[0] - right, seen[0] - left
    if flip:
        top, bottom = seen[1] - bottom, seen[1] - top
    size = region.size
    if swap:
        left, top, right, bottom, size = top, left, bottom, right, size[::-1]
    if (right - left, bottom - top) == size and left == int(left) and top == int(top):
        drawn = np.asarray(stored.pixels)[int(top) : int(bottom), int(left) : int(right)]
    else:
        image = stored.pixels if isinstance(stored.pixels, Image.Image) else _image(stored.pixels)
        by = stored.reduction
        box = (left / by, top / by, right / by, bottom / by)
        drawn = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))
    return drawn if drawn.ndim == 3 else drawn[:, :, np.newaxis]


def _image(pixels: PixelArray) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _placed(drawn: PixelArray, region: _Region, shape: PixelShape) -> PixelArray:
    wanted = (shape.height, shape.width, shape.channels)
    if drawn.shape == wanted and drawn.flags.c_contiguous and drawn.flags.writeable:
        return drawn
    placed = np.zeros(wanted, np.uint8)
    left, top = region.corner
    placed[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    return placed


def _check_channels(grey: bool, where: str, shape: PixelShape) -> None:
    if shape.channels == 1 and not grey:
        raise DatasetError(
            where,
            expected="a grey image",
            found="a colour image",
            action="Keep the colours of all images: `channels` 3.",
        )


def _size(height: int, width: int) -> str:
    return f"{height}x{width}"
