"""Decode images into pixels of one shape for a pixel store."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from tiering.arrays import PixelArray
from tiering.errors import DatasetError
from tiering.images.decoders import open_image
from tiering.images.exact import decode_exactly
from tiering.images.fitting import check_fits, check_grey, fitted
from tiering.images.image import load_stored, refuse_bomb
from tiering.images.layout import PixelLayout, in_deep_planes, layout_of
from tiering.images.markers import Encoded, jpeg_head
from tiering.images.npy import NPY
from tiering.images.orientation import TURNS, jpeg_orientation, seen_size, turned
from tiering.images.reduced_jpeg import decode_reduced, reduction
from tiering.images.shape import PixelShape, size_text
from tiering.literals import ResizeMode

Box = tuple[float, float, float, float]


class _Stored(NamedTuple):
    """A decoded image before it is rotated upright.

    pixels: scaled down `reduction` times. width, height: of the whole image in pixels.
    """

    pixels: Image.Image | PixelArray
    reduction: int
    orientation: int
    width: int
    height: int


class ResizedRegion(NamedTuple):
    """A box of the upright picture, and the place in the sample where it is drawn. All in pixels.

    box: left, top, right, bottom. size: width and height in the sample. corner: left and top in the sample.
    """

    box: Box
    size: tuple[int, int]
    corner: tuple[int, int]


def to_pixels(
    data: Encoded, where: str, shape: PixelShape, resize: ResizeMode | None, *, narrow: bool = False
) -> PixelArray:
    """Decode an image, as decode does, into pixels of one shape.

    The numbers of the image stay as they are: 16 bits are never scaled to 8, nor 8 to 16. An image of another type of
    numbers is refused, but float32 takes every type. A TIFF or an array keeps all its bands.

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
        narrow: Keep the upper 8 bits of deeper images, and the RGB of an image with further bands, if the shape has 8
            bits. Otherwise such images are refused.

    Returns:
        C-contiguous pixels of shape (height, width, channels) and the shape's type. The three channels of a grey image
        are equal.

    Raises:
        DatasetError: The image cannot be decoded, has another size although resize is None, is in colour (a palette
            counts as colour) although the shape has one channel, or has other numbers or bands than the shape.
        FormatError: The decoder is an extra that is not installed.
    """
    stored = None
    if shape.dtype == "uint8" and shape.channels in (1, 3):
        stored = _stored_jpeg(data, where, shape, resize)
        if stored is None and (picture := _picture(data, where, narrow=narrow)) is not None:
            image, orientation = picture
            check_grey(image.mode == "L", where, shape)
            stored = _Stored(image, 1, orientation, image.width, image.height)
    if stored is None:
        return _exact_pixels(data, where, shape, resize, narrow=narrow)
    seen = seen_size(stored.width, stored.height, stored.orientation)
    region = resized_region(where, seen, shape, resize)
    return _placed(turned(_drawn(stored, seen, region), stored.orientation), region, shape)


def _stored_jpeg(data: Encoded, where: str, shape: PixelShape, resize: ResizeMode | None) -> _Stored | None:
    """Decode a JPEG no larger than needed; None if Pillow must decode it: another format, CMYK, an unusual JPEG."""
    head = jpeg_head(data)
    if head is None or head.components == 4 or not (head.width and head.height):
        return None
    refuse_bomb(where, head.width, head.height)
    check_grey(head.components == 1, where, shape)
    orientation = jpeg_orientation(data, head)
    by = _reduction(resized_region(where, seen_size(head.width, head.height, orientation), shape, resize))
    pixels = decode_reduced(data, head.components, head.width, head.height, by)
    return None if pixels is None else _Stored(pixels, by, orientation, head.width, head.height)


def _reduction(region: ResizedRegion) -> int:
    """Return by how much a JPEG may be scaled down in decoding."""
    left, top, right, bottom = region.box
    width, height = region.size
    return reduction(min((right - left) / width, (bottom - top) / height) / 2)


def resized_region(where: str, seen: tuple[int, int], shape: PixelShape, resize: ResizeMode | None) -> ResizedRegion:
    """Return which part of an upright picture becomes a sample.

    Args:
        where: The name for errors.
        seen: Width and height of the upright picture in pixels.
        shape: The shape of the sample.
        resize: As for to_pixels.

    Raises:
        DatasetError: The picture has another size although resize is None.
    """
    width, height = seen
    picture, full = (0, 0, width, height), (shape.width, shape.height)
    if resize is None and seen != full:
        raise DatasetError(
            where,
            expected=f"{size_text(shape.height, shape.width)} (height x width)",
            found=size_text(height, width),
            action=f"Bring all images to one size: `pixels` {size_text(shape.height, shape.width)}.",
        )
    if resize is None or resize == "stretch" or seen == full:
        return ResizedRegion(picture, full, (0, 0))
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
        return ResizedRegion((left * across, top * down, right, bottom), full, (0, 0))
    if wider:
        size = shape.width, max(1, round(height * shape.width / width))
    else:
        size = max(1, round(width * shape.height / height)), shape.height
    return ResizedRegion(picture, size, ((shape.width - size[0]) // 2, (shape.height - size[1]) // 2))


def _drawn(stored: _Stored, seen: tuple[int, int], region: ResizedRegion) -> PixelArray:
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
    if _is_cut((left, top, right, bottom), size):
        drawn = np.asarray(stored.pixels)[int(top) : int(bottom), int(left) : int(right)]
    else:
        image = stored.pixels if isinstance(stored.pixels, Image.Image) else _image(stored.pixels)
        by = stored.reduction
        box = (left / by, top / by, right / by, bottom / by)
        drawn = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))
    return drawn if drawn.ndim == 3 else drawn[:, :, np.newaxis]


def _is_cut(box: Box, size: tuple[int, int]) -> bool:
    """Return whether a box only needs to be cut out: it has its size already, and begins at a whole pixel."""
    left, top, right, bottom = box
    return (right - left, bottom - top) == size and left == int(left) and top == int(top)


def _image(pixels: PixelArray) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _placed(drawn: PixelArray, region: ResizedRegion, shape: PixelShape) -> PixelArray:
    wanted = shape.sides
    if drawn.shape == wanted and drawn.dtype == shape.numbers and drawn.flags.c_contiguous and drawn.flags.writeable:
        return drawn
    placed = np.zeros(wanted, shape.numbers)
    left, top = region.corner
    placed[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    return placed


def _picture(data: Encoded, where: str, *, narrow: bool) -> tuple[Image.Image, int] | None:
    """Decode an image that Pillow brings to 8-bit grey or RGB without loss, or as well as `narrow` allows.

    Returns what load_stored does, and None for any other image.
    """
    if bytes(data[: len(NPY)]) == NPY:
        return None
    try:
        image = open_image(io.BytesIO(data), where)
        layout = layout_of(image, memoryview(data))
    except UnidentifiedImageError:
        return None
    except Exception:  # noqa: BLE001 - load_stored turns it into an error that names the image
        return load_stored(data, where)
    if narrow and layout.dtype in ("uint8", "uint16"):
        taken = not (image.format == "TIFF" and in_deep_planes(image.tag_v2))  # type: ignore[attr-defined]
    else:
        taken = layout.plain
    return load_stored(data, where, image) if taken else None


def _exact_pixels(
    data: Encoded, where: str, shape: PixelShape, resize: ResizeMode | None, *, narrow: bool
) -> PixelArray:
    """Decode an image into its own numbers, and rotate and resize these."""

    def check(layout: PixelLayout) -> None:
        check_fits(layout, where, shape, narrow=narrow)

    found = decode_exactly(data, where, check)
    pixels = turned(fitted(found.pixels, found.layout, where, shape), found.orientation)
    region = resized_region(where, (pixels.shape[1], pixels.shape[0]), shape, resize)
    left, top, right, bottom = region.box
    if _is_cut(region.box, region.size):
        drawn = pixels[int(top) : int(bottom), int(left) : int(right)]
    else:
        drawn = _scaled(pixels, region)
    return _placed(drawn, region, shape)


def _scaled(pixels: PixelArray, region: ResizedRegion) -> PixelArray:
    """Scale the region's box band by band, in 32-bit floating-point numbers unless the pixels have 8 bits.

    Bilinear weights are positive and add up to 1, so no number leaves the range of its neighbours. float32 holds every
    uint16, which is rounded once at the end.
    """
    drawn = np.empty((*region.size[::-1], pixels.shape[2]), pixels.dtype)
    for band in range(pixels.shape[2]):
        plane = np.ascontiguousarray(pixels[:, :, band])
        plane = plane if plane.dtype == np.uint8 else plane.astype(np.float32)
        scaled = np.asarray(Image.fromarray(plane).resize(region.size, Image.Resampling.BILINEAR, box=region.box))
        drawn[:, :, band] = np.rint(scaled) if pixels.dtype == np.uint16 else scaled
    return drawn
