"""Single images: read the header, check that a file is whole, decode the pixels.

Pixels are the picture as it is seen: EXIF orientation is applied, since what keeps pixels loses the EXIF data.
Headers are as stored: their sides are those before the picture is turned.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from tiering.errors import DatasetError, from_os_error
from tiering.images.decoders import open_image, refuse_unpacked
from tiering.images.formats import HEAD, format_of
from tiering.images.library_noise import hush
from tiering.images.markers import JPEG, Encoded, jpeg_head, jpeg_sides, png_sides, webp_sides
from tiering.images.orientation import jpeg_orientation, orientation_of, turned
from tiering.text import display

#: Bytes that one encoded image may have. The pixels that Pillow takes for sane, twice 89 million, take half of it as
#: 8-bit RGB, and all of it with 16 bits a channel. What is larger is seldom an image: a disk image, a sparse file.
LARGEST_BYTES: Final = 1 << 30

# Every process that decodes imports this, workers too.
hush()

_JPEG_END = b"\xff\xd9"
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
_GREY_MODES: Final = ("1", "L", "LA", "La", "I")

#: Formats of at most 16 bits, scaled to 16 where Pillow gives them in its mode of 32, I. Any other image of that mode
#: may hold numbers of any range, negative ones too.
_16_BITS_AS_I: Final = ("PNG", "PPM", "JPEG2000")


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """A header: sides in pixels, format and mode as Pillow names them (JPEG, PNG; RGB, L, I;16).

    The sides are as stored: where EXIF orientation turns the picture by a quarter, decode swaps them. (A TIFF's
    are as seen: Pillow turns those itself.)
    """

    format: str
    width: int
    height: int
    mode: str

    @property
    def grey(self) -> bool:
        """Whether the picture has no colours; of a palette nobody looks at the entries."""
        return is_grey(self.mode)


def is_grey(mode: str) -> bool:
    """Tell whether a mode, as Pillow names it, has no colours."""
    return mode in _GREY_MODES or mode.startswith("I;16")


def probe(source: str | Path | Encoded) -> ImageHeader:
    """Read an image's header and decode nothing.

    source: a path, or an image's bytes. Of a file only the head is read (a TIFF may keep its header
    elsewhere). Raises DatasetError when it is no image, has zero bytes, or claims more pixels than Pillow
    takes for sane, and tiering.errors.MachineError when the file may not be read.
    About 50 us for a file in the page cache.
    """
    if isinstance(source, str | Path):
        where = display(os.fsencode(source))
        try:
            with Path(source).open("rb") as file:
                return _header(file, where)
        except OSError as error:
            raise from_os_error(error) from error
    return _header(io.BytesIO(source), "image")


def check_image(data: Encoded, where: str) -> None:
    """Check that a file's whole contents are a whole image of a sane size.

    data: the file's bytes. where: what to call the file in the error.
    A JPEG or PNG is whole when it begins and ends as one, a WebP when it is as long as it says; when the end
    or the header looks wrong, and for all other formats, Pillow decodes the first frame and decides. Bits that
    flipped in the middle of a JPEG are not found: nothing but the eye finds those.
    Raises DatasetError for zero bytes, for what is no known image format, for a truncated or damaged image, and
    for a header that claims more pixels than Pillow takes for sane (a decompression bomb).
    Floor: 2.0 us for a good JPEG of any size, 0.8 us for a PNG, 1.4 us for a WebP, a full decode for the
    others (one core).
    """
    if not data:
        raise _damaged(where, "zero bytes")
    head = bytes(data[:32])
    kind, whole, sides = "image", False, None
    if head.startswith(JPEG):
        kind, whole, sides = "JPEG", data[-2:] == _JPEG_END, jpeg_sides(data)
    elif head.startswith(_PNG):
        kind, whole, sides = "PNG", data[-12:] == _PNG_END, png_sides(head)
        # Pillow is content when all pixels are there; a file without the last chunk was cut all the same.
        if not whole and _PNG_END not in bytes(data):
            raise _damaged(where, "a truncated PNG")
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        kind, whole, sides = "WebP", True, webp_sides(head)
        if len(data) < int.from_bytes(head[4:8], "little") + 8:
            raise _damaged(where, "a truncated WebP")
    else:
        head = bytes(data[:HEAD])
        if format_of(head, os.fsencode(where)) is None:
            raise _unknown(where, head)
    if sides is not None:
        refuse_bomb(where, *sides)
    if sides is None or not whole:
        # Cameras and editors leave padding and trailers after the end: only decoding can tell.
        _decode_with_pillow(data, where, kind)


def decode(data: Encoded, where: str = "image") -> npt.NDArray[np.uint8]:
    """Decode an image into RGB pixels as seen, uint8 of shape (height, width, 3).

    data: the encoded file. where: what to call it in the error.
    EXIF orientation is applied (JPEG, PNG, WebP, TIFF), and XMP's where EXIF names none, as Pillow reads them; EXIF
    data that make no sense are ignored.
    Greyscale and 1-bit pixels are spread to three equal channels, palettes are looked up, CMYK and YCCK are
    converted as Pillow does (every CMYK JPEG is taken for inverted, as Adobe writes them), colour profiles are
    ignored. Transparency is dropped and never blended with a background: a pixel keeps the colour that stands
    under its alpha. 16-bit channels keep their upper 8 bits. Of an animation the first frame counts, of an animated
    PNG the picture that a plain viewer shows.
    Raises DatasetError when it cannot be decoded, claims more pixels than Pillow takes for sane, or holds
    floating-point, signed or 32-bit integer pixels, whose range nothing tells.
    Floor: libjpeg-turbo's time for a JPEG and 2 us, 58 us for 129 x 105 pixels on one core; 2 us more where there are
    EXIF data.
    """
    head = jpeg_head(data)
    if head is not None and head.components != 4:
        refuse_bomb(where, head.width, head.height)
        try:
            pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data)
        except ValueError:
            pass  # Odd subsampling, or an oddity that the strict decoder refuses: Pillow is more patient.
        else:
            return turned(pixels, jpeg_orientation(data, head))
    image, orientation = load_stored(data, where)
    return turned(np.array(image.convert("RGB")), orientation)


def load_stored(data: Encoded, where: str) -> tuple[Image.Image, int]:
    """Decode an image of any format with Pillow: the pixels as stored, and the orientation they need.

    Returns an image of mode L when is_grey, of mode RGB otherwise, and an orientation from 1 to 8 for turned.
    Raises DatasetError as decode does.
    """
    image = _decode_with_pillow(data, where, "image")
    if image.mode == "F" or (image.mode == "I" and image.format not in _16_BITS_AS_I):
        kind = "floating-point" if image.mode == "F" else "signed or 32-bit integer"
        raise DatasetError(
            where,
            expected="channels of 8 or 16 bits",
            found=f"{kind} pixels, whose range nothing tells",
            action="Scale them to 8 or 16 bits yourself, and replace the file.",
        )
    orientation = orientation_of(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        upper = np.clip(np.asarray(image), 0, 0xFFFF) >> 8
        return Image.fromarray(upper.astype(np.uint8)), orientation
    try:
        if image.mode == "La":  # multiplied with its alpha: Pillow divides on the way to LA only
            image = image.convert("LA")
        return image.convert("L" if is_grey(image.mode) else "RGB"), orientation
    except Exception as error:  # and so do its converters
        raise _from_pillow(where, "image", error) from error


def refuse_large(where: str, size: int) -> None:
    """Raise DatasetError for a file of more bytes than one image may have: LARGEST_BYTES."""
    if size > LARGEST_BYTES:
        raise _damaged(where, f"{size:,} bytes: an image may have {LARGEST_BYTES:,} at most")


def refuse_bomb(where: str, width: int, height: int) -> None:
    """Raise DatasetError for more pixels than Pillow takes for sane: Image.MAX_IMAGE_PIXELS, twice."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise _damaged(where, f"a header that claims too many pixels ({width:,} x {height:,})")


def _header(file: BinaryIO, where: str) -> ImageHeader:
    head = file.read(HEAD)
    if not head:
        raise _damaged(where, "zero bytes")
    file.seek(0)
    try:
        image = open_image(file, where)
    except UnidentifiedImageError:
        raise _unknown(where, head) from None
    except DatasetError:
        raise
    except Exception as error:  # Pillow's readers raise anything for hostile bytes
        raise _from_pillow(where, "image", error) from error
    # Pillow calls a JPEG with a second picture in it MPO; its first picture is a plain JPEG.
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    return ImageHeader(kind, image.width, image.height, image.mode)


def _decode_with_pillow(data: Encoded, where: str, kind: str) -> Image.Image:
    try:
        image = open_image(io.BytesIO(data), where)
        image.load()
    except UnidentifiedImageError:
        raise _damaged(where, f"a damaged {kind}: its header cannot be read") from None
    except DatasetError:
        raise
    except Exception as error:  # Pillow's readers raise anything for hostile bytes
        raise _from_pillow(where, kind, error) from error
    return image


def _from_pillow(where: str, kind: str, error: Exception) -> DatasetError:
    said = str(error).strip().lower()
    if isinstance(error, Image.DecompressionBombError):
        return _damaged(where, f"a header that claims too many pixels ({said.split(',')[0]})")
    if isinstance(error, OSError) and error.errno is not None:
        raise from_os_error(error) from error
    if "truncated" in said or isinstance(error, EOFError):
        return _damaged(where, f"a truncated {kind}")
    return _damaged(where, f"a damaged {kind} ({said or type(error).__name__})")


def _unknown(where: str, head: bytes) -> DatasetError:
    try:
        refuse_unpacked(head, where)
    except DatasetError as error:
        return error
    return _damaged(where, f"no known image format (begins with {head[:4].hex(' ')})")


def _damaged(where: str, found: str) -> DatasetError:
    return DatasetError(
        where,
        expected="a whole image",
        found=found,
        action="Replace the file, or move it out of the dataset.",
    )
