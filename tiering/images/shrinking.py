"""Decode an image and shrink it, upright and in sRGB: all of re-encoding but the encoder."""

from __future__ import annotations

import io
import os
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from tiering.arrays import PixelArray
from tiering.errors import DatasetError
from tiering.images.colour_profiles import is_srgb, to_srgb
from tiering.images.decoders import open_image
from tiering.images.faults import from_decoder
from tiering.images.formats import HEAD, format_of
from tiering.images.geometry import Geometry, stored_part
from tiering.images.image import check_image, decode, load_stored, refuse_bomb
from tiering.images.jpeg_segments import colour_profile, is_finer, segments_of, without_metadata
from tiering.images.layout import in_deep_planes
from tiering.images.look import Look
from tiering.images.markers import Encoded, jpeg_head
from tiering.images.orientation import TURNS, jpeg_orientation, seen_size, turned
from tiering.images.picture import picture_of
from tiering.images.reduced_jpeg import decode_reduced, reduction, subsampling_of
from tiering.images.reencoded import Reencoded
from tiering.images.resampling import draw_part

#: Bicubic keeps 1.1 dB more of ImageNet's photographs than bilinear (PSNR, seen at 224 x 224), for 8 % more bytes.
_LOOK: Final = Look("bicubic", antialias=True)

#: What becomes of the directions of subsampling when rows become columns.
_TURNED: Final = {"422": "440", "440": "422"}

#: Formats whose check needs no decoding, and finds what decoders tolerate; None: what is no image.
_CHECKED: Final = (None, "PNG", "WEBP")


class Shrunk(NamedTuple):
    """A picture at its new size, upright and in sRGB; or an image that stays as it is.

    pixels: uint8 (height, width, channels), the last of 2 or 4 channels is transparency. kept: the file of an image
    that stays, without metadata. One of them is None. width, height: of the upright original. subsampling: of the
    colours of a JPEG, as simplejpeg names it; "" for other images, and where it has no name.
    """

    pixels: PixelArray | None
    kept: bytes | None
    width: int
    height: int
    subsampling: str = ""


def shrink(data: Encoded, where: str, how: Reencoded) -> Shrunk:
    """Decode an image and shrink it. Arguments and errors are those of `reencode`."""
    return _of_jpeg(data, where, how) or _of_any(data, where, how)


def _of_jpeg(data: Encoded, where: str, how: Reencoded) -> Shrunk | None:
    """Draw a JPEG, or keep it. None if Pillow must decode it: another format, CMYK, an unusual or damaged JPEG."""
    head = jpeg_head(data)
    if head is None or head.components not in (1, 3) or not (head.width and head.height):
        return None
    segments = segments_of(data)
    if segments is None:
        return None
    refuse_bomb(where, head.width, head.height)
    orientation, profile = jpeg_orientation(data, head), colour_profile(data, segments)
    seen = seen_size(head.width, head.height, orientation)
    size = how.size(*seen)
    as_it_is = size == seen and orientation == 1 and (profile is None or is_srgb(profile))
    if as_it_is and how.format == "jpeg" and not is_finer(data, segments, how.quality):
        decode(data, where)  # only to find damage, as in all others
        return Shrunk(None, without_metadata(data, segments), *seen)
    stored_size = seen_size(*size, orientation)
    by = reduction(min(head.width / stored_size[0], head.height / stored_size[1]) / 2)
    pixels = decode_reduced(data, head.components, head.width, head.height, by)
    if pixels is None:
        return None
    subsampling = subsampling_of(data)
    drawn = _resized(pixels, (head.width, head.height), stored_size, by)
    if profile is not None and not is_srgb(profile):
        converted = to_srgb(drawn, profile)
        drawn = drawn if converted is None else converted
    if TURNS.get(orientation, (False,))[0]:
        subsampling = _TURNED.get(subsampling, subsampling)
    return Shrunk(turned(drawn, orientation), None, *seen, subsampling)


def _of_any(data: Encoded, where: str, how: Reencoded) -> Shrunk:
    """Decode an image of any format with Pillow, and draw it."""
    if format_of(bytes(data[:HEAD]), os.fsencode(where)) in _CHECKED:
        check_image(data, where)
    opened = _opened(data, where)
    image, orientation = load_stored(data, where, opened)
    opened = opened or image
    seen = seen_size(image.width, image.height, orientation)
    size = how.size(*seen)
    if how.format == "webp" and size == seen and _is_plain_webp(data):
        return Shrunk(None, bytes(data), *seen)
    profile = opened.info.get("icc_profile") or b""
    converts = bool(profile) and not is_srgb(profile)
    alpha = _alpha(opened, where) if how.format != "jpeg" else None
    # Colours of CMYK are only known with their profile, so they are resized before they become RGB.
    inks = converts and opened.mode == "CMYK"
    pixels = _planes(opened if inks else image)
    stored_size = seen_size(*size, orientation)
    drawn = _resized(pixels, image.size, stored_size, 1)
    if converts:
        converted = to_srgb(drawn, profile)
        if converted is None and inks:
            drawn = _resized(_planes(image), image.size, stored_size, 1)
        drawn = drawn if converted is None else converted
    if alpha is not None:
        drawn = np.concatenate((drawn, _resized(alpha, image.size, stored_size, 1)), axis=2)
    return Shrunk(turned(drawn, orientation), None, *seen)


def _opened(data: Encoded, where: str) -> Image.Image | None:
    """Open an image; None if that fails, and load_stored will say why. Raises DatasetError for deep planes."""
    try:
        opened = open_image(io.BytesIO(data), where)
        deep = opened.format == "TIFF" and in_deep_planes(opened.tag_v2)  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - Pillow's readers raise anything for hostile bytes
        return None
    if deep:
        raise DatasetError(
            where,
            expected="channels of 8 bits, or side by side in each pixel",
            found="a TIFF of deeper channels in separate planes",
            action="Save it with its channels interleaved.",
        )
    return opened


def _alpha(image: Image.Image, where: str) -> PixelArray | None:
    """Return the transparency of a loaded image, uint8 (height, width, 1); None if it has none."""
    if not image.has_transparency_data:
        return None
    try:
        # Pillow converts premultiplied grey to nothing but grey with transparency.
        return np.asarray((image.convert("LA") if image.mode == "La" else image).convert("RGBA"))[:, :, 3:]
    except Exception as error:  # Pillow's converters raise anything for hostile bytes
        raise from_decoder(where, "image", error) from error


def _planes(image: Image.Image) -> PixelArray:
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def _is_plain_webp(data: Encoded) -> bool:
    """Return whether a WebP is a lossy picture and nothing else: no metadata, animation or transparency."""
    return data[8:16] == b"WEBPVP8 " and len(data) == int.from_bytes(data[4:8], "little") + 8


def _resized(pixels: PixelArray, whole: tuple[int, int], size: tuple[int, int], by: int) -> PixelArray:
    """Resize all channels of decoded pixels.

    whole: width and height of the image. size: those of the result. by: by how much the pixels were scaled down.
    """
    if size == whole and by == 1:
        return pixels
    width, height = size
    drawn = np.empty((height, width, pixels.shape[2]), np.uint8)
    geometry = Geometry((0, 0, *whole), size)
    if by == 1:
        picture_of(pixels).draw([(geometry, drawn)], _LOOK)
    else:
        # The last pixels may lie partly outside the image, which only this way can say.
        draw_part(pixels, stored_part((geometry, drawn), whole, 1), _LOOK, by)
    return drawn
