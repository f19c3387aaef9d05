"""Single images: read the header, check that a file is whole, decode the pixels.

Pixels are taken as stored: EXIF orientation is not applied, as torchvision does not apply it either.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from tiering.dataset.scan import display
from tiering.errors import DatasetError, from_os_error

Encoded = bytes | bytearray | memoryview

# Pillow is asked for these only: a PDF or a PostScript file named .jpg is no image here.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")

_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
_MAGICS = (
    _JPEG,
    _PNG,
    *(b"GIF87a", b"GIF89a", b"BM"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # TIFF and BigTIFF, in both byte orders
    *(b"P%d%c" % (kind, space) for kind in range(1, 7) for space in b" \t\r\n"),
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),  # JPEG 2000: file and bare code stream
)


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """A header: sides in pixels, format and mode as Pillow names them (JPEG, PNG; RGB, L, I;16)."""

    format: str
    width: int
    height: int
    mode: str


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
    """Check that a file's whole contents are a whole image.

    data: the file's bytes. where: what to call the file in the error.
    A JPEG or PNG is whole when it begins and ends as one, a WebP when it is as long as it says; when the end
    looks wrong, and for all other formats, Pillow decodes the first frame and decides. Bits that flipped in
    the middle of a JPEG are not found: nothing but the eye finds those.
    Raises DatasetError for zero bytes, for what is no known image format, and for a truncated or damaged
    image. Floor: 0.7 us for a good JPEG, PNG or WebP of any size, a full decode for the others (one core).
    """
    if not data:
        raise _damaged(where, "zero bytes")
    head = bytes(data[:16])
    if head.startswith(_JPEG):
        if data[-2:] != _JPEG_END:
            # Cameras and editors leave padding and trailers after the end: only decoding can tell.
            _decode_with_pillow(data, where, "JPEG")
    elif head.startswith(_PNG):
        if data[-12:] != _PNG_END:
            # Pillow is content when all pixels are there; a file without the last chunk was cut all the same.
            if _PNG_END not in bytes(data):
                raise _damaged(where, "a truncated PNG")
            _decode_with_pillow(data, where, "PNG")
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        if len(data) < int.from_bytes(head[4:8], "little") + 8:
            raise _damaged(where, "a truncated WebP")
    elif head.startswith(_MAGICS):
        _decode_with_pillow(data, where, "image")
    else:
        raise _unknown(where, head)


def decode(data: Encoded, where: str = "image") -> npt.NDArray[np.uint8]:
    """Decode an image into RGB pixels as stored, uint8 of shape (height, width, 3).

    data: the encoded file. where: what to call it in the error.
    Transparency is dropped, palettes and grey are spread to RGB, 16-bit grey keeps its upper 8 bits; of an
    animation the first frame counts.
    Raises DatasetError when it cannot be decoded, or holds floating-point pixels, whose range nobody knows.
    Floor: libjpeg-turbo's time for a JPEG, 86 us for 129 x 105 pixels on one core.
    """
    if bytes(data[:3]) == _JPEG:
        try:
            pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data)
        except ValueError:
            pass  # Odd subsampling, or an oddity that the strict decoder refuses: Pillow is more patient.
        else:
            return pixels
    image = _decode_with_pillow(data, where, "image")
    if image.mode == "F":
        raise _damaged(where, "floating-point pixels")
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = (np.clip(np.asarray(image), 0, 0xFFFF) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    return np.array(image.convert("RGB"))


def check_end(path: Path) -> None:
    """Check the end of a file that begins as a JPEG or PNG, reading it all only when its end looks wrong.

    Raises what check_image raises, and tiering.errors.MachineError when the file may not be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            ending = _JPEG_END if head.startswith(_JPEG) else _PNG_END if head == _PNG else b""
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(ending)))
            if file.read(len(ending)) != ending:
                file.seek(0)
                check_image(file.read(), display(os.fsencode(path)))
    except OSError as error:
        raise from_os_error(error) from error


def _header(file: BinaryIO, where: str) -> ImageHeader:
    head = file.read(16)
    if not head:
        raise _damaged(where, "zero bytes")
    file.seek(0)
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise _unknown(where, head) from None
    except Exception as error:  # Pillow's readers raise anything for hostile bytes
        raise _from_pillow(where, "image", error) from error
    # Pillow calls a JPEG with a second picture in it MPO; its first picture is a plain JPEG.
    kind = "JPEG" if image.format == "MPO" else str(image.format)
    return ImageHeader(kind, image.width, image.height, image.mode)


def _decode_with_pillow(data: Encoded, where: str, kind: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
    except UnidentifiedImageError:
        raise _damaged(where, f"a damaged {kind}: its header cannot be read") from None
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
    return _damaged(where, f"no known image format (begins with {head[:4].hex(' ')})")


def _damaged(where: str, found: str) -> DatasetError:
    return DatasetError(
        where,
        expected="a whole image",
        found=found,
        action="Replace the file, or move it out of the dataset.",
    )
