"""Decode an image into its own numbers: every bit of every channel, where `image.decode` gives 8-bit RGB.

Pillow decodes greyscale of 16 bits and of floating-point numbers, and everything of 8 bits. imagecodecs decodes colour
of 16 bits, and tifffile a TIFF of any bands.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from tiering.arrays import AnyArray
from tiering.errors import DatasetError
from tiering.images.decoders import open_image
from tiering.images.deep_decoders import DECODERS, decode_deep, require
from tiering.images.faults import damaged, from_decoder, refuse_huge
from tiering.images.image import ImageHeader
from tiering.images.layout import PixelLayout, described, in_deep_planes, layout_of, of_tags
from tiering.images.markers import Encoded
from tiering.images.npy import NPY, decode_npy, npy_layout
from tiering.images.orientation import orientation_of
from tiering.images.tiff import decode_tiff, read_tags
from tiering.literals import PixelType

#: Pillow's modes of one channel that hold the numbers of a TIFF or a PNG as they are, by the type of the numbers.
_HELD: Final = {"uint16": ("I;16", "I;16B", "I;16L"), "float32": ("F",), "int16": ("I",), "int32": ("I",)}

#: Channels of Pillow's modes of 8 bits, once a palette is resolved and CMYK converted.
_BANDS: Final = {
    "1": 1, "L": 1, "LA": 2, "La": 2, "RGB": 3, "RGBA": 4, "RGBa": 4, "P": 3, "CMYK": 3, "YCbCr": 3, "LAB": 3, "HSV": 3,
}  # fmt: skip

#: Formats whose deeper numbers Pillow leaves as they are. It scales those of JPEG 2000 to 16 bits.
_UNSCALED: Final = ("TIFF", "PNG", "FITS")

_ORIENTATION: Final = 274


class Exact(NamedTuple):
    """A decoded image before it is rotated upright.

    pixels: of shape (height, width, channels). layout: of the pixels. orientation: from 1 to 8, as in EXIF.
    """

    pixels: AnyArray
    layout: PixelLayout
    orientation: int = 1


def decode_exactly(data: Encoded, where: str, check: Callable[[PixelLayout], None] = lambda _: None) -> Exact:
    """Decode an image or a .npy array into its own numbers.

    Colours of a palette, CMYK and YCbCr become RGB, as `image.decode` gives them. Of a TIFF with several pages, the
    first counts.

    Args:
        data: The encoded file.
        where: The name for errors.
        check: Called with the layout before anything is decoded; it may raise.

    Raises:
        DatasetError: The file is damaged, or none of the decoders keeps its numbers.
        FormatError: The decoder is not installed.
    """
    if bytes(data[: len(NPY)]) == NPY:
        check(npy_layout(data, where))
        pixels = decode_npy(data, where)
        return Exact(pixels, npy_layout(data, where))
    image = _opened(data, where)
    if image is None or image.format == "TIFF":
        return _of_tiff(data, where, image, check)
    layout = layout_of(image, memoryview(data))
    check(layout)
    held = _is_held(image, layout)
    if image.format == "PPM" and not held and bytes(data[:2]) in (b"P5", b"P6"):
        return Exact(_of_pnm(data, where, image, layout), layout)
    orientation = _load(image, where)
    if held:
        return Exact(_held(image, layout), layout, orientation)
    pixels = _with_imagecodecs(data, where, image, layout)
    if pixels.shape != (image.height, image.width, layout.channels) or pixels.dtype.name != layout.dtype:
        raise damaged(where, f"{pixels.dtype} pixels of shape {pixels.shape} that its header does not describe")
    return Exact(pixels, layout, orientation)


def decode_as_stored(data: Encoded, where: str = "image") -> AnyArray:
    """Decode an image into the numbers that it stores: a mask, a depth map.

    A palette gives its indices, 16 bits stay 16 bits, 1 bit becomes 0 and 1. Nothing is turned or converted.

    Args:
        data: The encoded file.
        where: The name for errors.

    Returns:
        Of shape (height, width), or (height, width, channels) if there are several.

    Raises:
        DatasetError: It cannot be decoded, or claims more pixels than Pillow accepts.
        FormatError: Its decoder is an extra that is not installed.
    """
    image = _opened(data, where)
    layout = None if image is None else layout_of(image, memoryview(data))
    if image is not None and layout is not None and layout.dtype == "uint8" and _is_held(image, layout):
        _load(image, where)
        # A copy: np.asarray would give a read-only view, of which PyTorch warns.
        found = np.array(image)
        return found.astype(np.uint8) if found.dtype == np.bool_ else found
    found = np.require(decode_exactly(data, where).pixels, requirements="W")
    return found[:, :, 0] if found.shape[2] == 1 else found


def check_decoders(headers: Iterable[ImageHeader], stored: PixelType) -> None:
    """Raise FormatError if images need a decoder that is not installed, so that a long conversion need not start.

    stored: type of the pixels that will be stored.
    """
    for header in headers:
        layout = header.layout
        narrowed = stored == "uint8" and layout.dtype == "uint16" and header.mode
        grey = layout.channels == 1 and header.mode in _HELD.get(layout.dtype, ())
        if header.format in ("TIFF", *DECODERS) and not (layout.plain or grey or narrowed):
            require("dataset", described(header.format, layout))


def _is_held(image: Image.Image, layout: PixelLayout) -> bool:
    """Return whether Pillow keeps every number of an image that it has opened and not yet loaded."""
    if layout.dtype == "uint8":
        return _BANDS.get(image.mode) == layout.channels
    if layout.channels > 1:
        return False
    return image.format in _UNSCALED and image.mode in _HELD.get(layout.dtype, ())


def _opened(data: Encoded, where: str) -> Image.Image | None:
    """Open an image with Pillow; None if Pillow does not know it."""
    try:
        return open_image(io.BytesIO(data), where)
    except UnidentifiedImageError:
        return None
    except DatasetError:
        raise
    except Exception as error:  # Pillow's readers raise anything for hostile bytes
        raise from_decoder(where, "image", error) from error


def _load(image: Image.Image, where: str) -> int:
    """Decode an image that Pillow has opened, and return its orientation."""
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise anything for hostile bytes
        raise from_decoder(where, str(image.format), error) from error
    return orientation_of(image)


def _held(image: Image.Image, layout: PixelLayout) -> AnyArray:
    """Return the numbers of an image that Pillow has decoded and that it keeps."""
    if layout.dtype == "uint8":
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[layout.channels]
        image = image if image.mode == mode else image.convert(mode)
    pixels = np.asarray(image).astype(layout.dtype, copy=False)
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def _of_pnm(data: Encoded, where: str, image: Image.Image, layout: PixelLayout) -> AnyArray:
    """Return the numbers of a PNM image as they are: Pillow scales them to 8 or 16 bits."""
    begin = image.tile[0].offset  # type: ignore[attr-defined]
    sides = image.height, image.width, layout.channels
    if len(data) - begin < 2 * image.height * image.width * layout.channels:
        raise damaged(where, "a truncated PPM")
    numbers = np.frombuffer(data, ">u2", count=image.height * image.width * layout.channels, offset=begin)
    return numbers.reshape(sides).astype(np.uint16)


def _of_tiff(data: Encoded, where: str, image: Image.Image | None, check: Callable[[PixelLayout], None]) -> Exact:
    """Decode a TIFF. image: as Pillow has opened it, None if it does not know its kind."""
    tags = read_tags(io.BytesIO(data))
    if tags is None:
        raise damaged(where, "a damaged image: its header cannot be read")
    layout = of_tags(tags)
    check(layout)
    if image is not None and _is_held(image, layout) and not in_deep_planes(tags):
        # Pillow rotates TIFFs itself.
        _load(image, where)
        return Exact(_held(image, layout), layout)
    pixels = decode_tiff(data, where, tags)
    orientation = tags.get(_ORIENTATION, 1)
    return Exact(pixels, layout, orientation if isinstance(orientation, int) else 1)


def _with_imagecodecs(data: Encoded, where: str, image: Image.Image, layout: PixelLayout) -> AnyArray:
    kind = str(image.format)
    if kind not in DECODERS:
        raise DatasetError(
            where,
            expected="an image whose decoder keeps its numbers",
            found=described(kind, layout),
            action="Convert it to TIFF, or give up its lower bits: `dtype` uint8.",
        )
    refuse_huge(where, image.width, image.height, layout.channels, np.dtype(layout.dtype).itemsize)
    require(where, described(kind, layout))
    try:
        return decode_deep(kind, data)
    except Exception as error:  # its decoders raise anything for hostile bytes
        raise from_decoder(where, kind, error) from error
