"""Single images: read the header, check that a file is whole, decode the pixels.

Decoded pixels are upright: EXIF orientation is applied, because a pixel store loses the EXIF data.
Headers give width and height as stored, before that rotation.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from tiering.errors import DatasetError, FormatError, from_os_error
from tiering.images.decoders import hush, open_image, refuse_unpacked
from tiering.images.faults import damaged, from_decoder
from tiering.images.formats import HEAD, format_of
from tiering.images.layout import PixelLayout, in_deep_planes, layout_of, of_mode, of_tags, tiff_size
from tiering.images.markers import JPEG, Encoded, jpeg_head, jpeg_sides, png_sides, webp_sides
from tiering.images.npy import NPY, npy_layout, npy_size
from tiering.images.orientation import jpeg_orientation, orientation_of, turned
from tiering.images.tiff import TIFF_HEADERS, decode_tiff, read_tags
from tiering.text import display

#: Largest encoded image, in bytes. Pillow accepts up to 2 x 89 million pixels; they fill half of it as 8-bit RGB, and
#: all of it with 16 bits per channel. A larger file is seldom an image: rather a disk image or a sparse file.
LARGEST_BYTES: Final = 1 << 30

# Every process that decodes imports this module, workers too.
hush()

#: Formats whose first bytes tell sides and type have them within this.
_LONG_HEAD: Final = 1 << 14

_JPEG_END = b"\xff\xd9"
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
_GREY_MODES: Final = ("1", "L", "LA", "La", "I")

#: Formats of at most 16 bits, which Pillow may open in its 32-bit mode I. Any other image of that mode may hold numbers
#: of any range, even negative ones.
_16_BITS_AS_I: Final = ("PNG", "PPM", "JPEG2000")


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The header of an image.

    format, mode: as Pillow names them (JPEG, PNG; RGB, L, I;16). width, height: pixels, as stored. Where EXIF
    orientation rotates the picture by 90 degrees, decode swaps them. (Pillow rotates TIFFs itself, so theirs are
    final.) mode: "" for an image that Pillow does not decode, such as a TIFF of seven bands.
    known_layout: as the header has it; None if it is the one that the mode stands for.
    """

    format: str
    width: int
    height: int
    mode: str
    known_layout: PixelLayout | None = None

    @property
    def layout(self) -> PixelLayout:
        """The type of the numbers, and how many each pixel has."""
        return self.known_layout or of_mode(self.mode)

    @property
    def grey(self) -> bool:
        """Whether the picture is greyscale. A palette counts as colour, whatever its entries."""
        return is_grey(self.mode)


def is_grey(mode: str) -> bool:
    """Return whether a mode of Pillow's is greyscale."""
    return mode in _GREY_MODES or mode.startswith("I;16")


def probe(source: str | Path | Encoded) -> ImageHeader:
    """Read an image's header without decoding pixels.

    source: a path, or the bytes of an image. Only the head of a file is read (a TIFF may keep its header elsewhere).
    Raises DatasetError if it is not an image, is empty, or claims more pixels than Pillow accepts, and MachineError if
    the file may not be read.
    About 50 us for a file in the page cache.
    """
    if isinstance(source, str | Path):
        where = display(source)
        try:
            with Path(source).open("rb") as file:
                return _header(file, where)
        except OSError as error:
            raise from_os_error(error) from error
    return _header(io.BytesIO(source), "image")


def check_image(data: Encoded, where: str) -> None:
    """Check that a file's contents are one complete image of an acceptable size.

    data: the file's bytes. where: the name for errors.
    A JPEG or PNG passes if its start and end are right, a WebP if it is as long as its header says. If the end or the
    header looks wrong, and for all other formats, Pillow decodes the first frame and decides. Flipped bits in the
    middle of a JPEG go unnoticed; only a person would see them.
    Raises DatasetError for an empty file, an unknown format, a truncated or damaged image, and a header that claims
    more pixels than Pillow accepts (a decompression bomb).
    Floor: 2.0 us for a good JPEG of any size, 0.8 us for a PNG, 1.4 us for a WebP, a full decode for the others (one
    core).
    """
    if not data:
        raise damaged(where, "zero bytes")
    head = bytes(data[:32])
    kind, complete, sides = "image", False, None
    if head.startswith(JPEG):
        kind, complete, sides = "JPEG", data[-2:] == _JPEG_END, jpeg_sides(data)
    elif head.startswith(_PNG):
        kind, complete, sides = "PNG", data[-12:] == _PNG_END, png_sides(head)
        # Pillow accepts a PNG that has all its pixels. Without the last chunk it is truncated all the same.
        if not complete and _PNG_END not in bytes(data):
            raise damaged(where, "a truncated PNG")
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        kind, complete, sides = "WebP", True, webp_sides(head)
        if len(data) < int.from_bytes(head[4:8], "little") + 8:
            raise damaged(where, "a truncated WebP")
    elif format_of(bytes(data[:HEAD]), os.fsencode(where)) is None:
        raise _unknown(where, bytes(data[:HEAD]))
    if sides is not None:
        refuse_bomb(where, *sides)
    if sides is None or not complete:
        # Cameras and editors append padding and trailers, so only decoding shows whether the image is complete.
        _check_by_decoding(data, where, kind)


def decode(data: Encoded, where: str = "image") -> npt.NDArray[np.uint8]:
    """Decode an image into upright RGB pixels, uint8 of shape (height, width, 3).

    data: the encoded file. where: the name for errors.
    EXIF orientation is applied (JPEG, PNG, WebP, TIFF), or XMP's if EXIF has none, as Pillow reads them. Nonsensical
    EXIF data are ignored.
    Greyscale and 1-bit pixels become three equal channels. Palettes are resolved. CMYK and YCCK are converted as Pillow
    does, which assumes that every CMYK JPEG is inverted, as Adobe writes them. Colour profiles are ignored.
    Transparency is dropped without blending: a pixel keeps the colour under its alpha. 16-bit channels keep their upper
    8 bits. An animation gives its first frame, an animated PNG the picture that a plain viewer shows.
    Raises DatasetError if it cannot be decoded, claims more pixels than Pillow accepts, or has floating-point, signed
    or 32-bit integer pixels, whose range is unknown.
    Floor: libjpeg-turbo's time for a JPEG plus 2 us, 58 us for 129 x 105 pixels on one core; 2 us more with EXIF data.
    """
    head = jpeg_head(data)
    if head is not None and head.components != 4:
        refuse_bomb(where, head.width, head.height)
        try:
            pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data)
        except ValueError:
            pass  # Odd subsampling, or another oddity that the strict decoder refuses: Pillow is more tolerant.
        else:
            return turned(pixels, jpeg_orientation(data, head))
    image, orientation = load_stored(data, where)
    return turned(np.array(image.convert("RGB")), orientation)


def _check_by_decoding(data: Encoded, where: str, kind: str) -> None:
    if (tags := _only_for_tifffile(data, where)) is None:
        _decode_with_pillow(data, where, kind)
    else:
        decode_tiff(data, where, tags)


def _only_for_tifffile(data: Encoded, where: str) -> Mapping[int, Any] | None:
    """Return the tags of a TIFF that Pillow does not know, such as one of seven bands; None for any other image."""
    if bytes(data[:4]) not in TIFF_HEADERS:
        return None
    tags = read_tags(io.BytesIO(data))
    try:
        open_image(io.BytesIO(data), where)
    except UnidentifiedImageError:
        return tags
    except Exception:  # noqa: BLE001 - the decoder will raise it again
        return None
    # It reads three planes wrongly, which is enough to see that they are there, but a single one not at all.
    return tags if tags is not None and in_deep_planes(tags) and of_tags(tags).channels == 1 else None


def load_stored(data: Encoded, where: str, opened: Image.Image | None = None) -> tuple[Image.Image, int]:
    """Decode an image of any format with Pillow, without rotating it.

    opened: the image, if open_image has opened it.

    Returns an image of mode L (greyscale) or RGB, and the orientation from 1 to 8 that `turned` needs.
    Raises DatasetError as decode does.
    """
    image = _decode_with_pillow(data, where, "image", opened)
    if image.mode == "F" or (image.mode == "I" and image.format not in _16_BITS_AS_I):
        kind = "floating-point" if image.mode == "F" else "signed or 32-bit integer"
        raise DatasetError(
            where,
            expected="channels of 8 or 16 bits",
            found=f"{kind} pixels, whose range is unknown",
            action="Scale them to 8 or 16 bits, and replace the file.",
        )
    orientation = orientation_of(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        upper = np.clip(np.asarray(image), 0, 0xFFFF) >> 8
        return Image.fromarray(upper.astype(np.uint8)), orientation
    try:
        if image.mode == "La":  # premultiplied with its alpha: Pillow only divides on the way to LA
            image = image.convert("LA")
        return image.convert("L" if is_grey(image.mode) else "RGB"), orientation
    except Exception as error:  # Pillow's converters raise anything for hostile bytes
        raise from_decoder(where, "image", error) from error


def refuse_large(where: str, size: int) -> None:
    """Raise DatasetError for a file of more than LARGEST_BYTES bytes."""
    if size > LARGEST_BYTES:
        raise damaged(where, f"{size:,} bytes: an image may have {LARGEST_BYTES:,} at most")


def refuse_bomb(where: str, width: int, height: int) -> None:
    """Raise DatasetError for more pixels than Pillow accepts: twice Image.MAX_IMAGE_PIXELS."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise damaged(where, f"a header that claims too many pixels ({width:,} x {height:,})")


def _header(file: BinaryIO, where: str) -> ImageHeader:
    head = file.read(_LONG_HEAD)
    if not head:
        raise damaged(where, "zero bytes")
    if head.startswith(NPY):
        return ImageHeader("NPY", *npy_size(head, where), "", npy_layout(head, where))
    file.seek(0)
    try:
        image = open_image(file, where)
        layout = layout_of(image, head)
    except UnidentifiedImageError:
        if (tags := read_tags(file)) is None:
            raise _unknown(where, head[:HEAD]) from None
        return ImageHeader("TIFF", *tiff_size(tags), "", of_tags(tags))
    except DatasetError:
        raise
    except Exception as error:  # Pillow's readers raise anything for hostile bytes
        raise from_decoder(where, "image", error) from error
    # Pillow calls a JPEG with a second picture MPO. Its first picture is a plain JPEG.
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    return ImageHeader(kind, image.width, image.height, image.mode, None if layout == of_mode(image.mode) else layout)


def _decode_with_pillow(data: Encoded, where: str, kind: str, opened: Image.Image | None = None) -> Image.Image:
    try:
        image = opened or open_image(io.BytesIO(data), where)
        image.load()
    except UnidentifiedImageError:
        if (tags := read_tags(io.BytesIO(data))) is not None:
            layout = of_tags(tags)
            raise DatasetError(
                where,
                expected="a greyscale or RGB picture",
                found=f"a TIFF of {layout.channels} bands of {layout.dtype}",
                action="Store it as pixels: `Pixels`.",
            ) from None
        raise damaged(where, f"a damaged {kind}: its header cannot be read") from None
    except DatasetError:
        raise
    except Exception as error:  # Pillow's readers raise anything for hostile bytes
        raise from_decoder(where, kind, error) from error
    return image


def _unknown(where: str, head: bytes) -> DatasetError:
    if head.startswith(NPY):
        return FormatError(
            where, expected="a whole image", found="a .npy array", action="Store arrays as pixels: `Pixels`."
        )
    try:
        refuse_unpacked(head, where)
    except DatasetError as error:
        return error
    return damaged(where, f"no known image format (begins with {head[:4].hex(' ')})")
