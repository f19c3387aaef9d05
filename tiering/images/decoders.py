"""Open images with Pillow: with the decoder of their own format only, and without printing remarks."""

from __future__ import annotations

import ctypes
import logging
import os
import warnings
from contextlib import suppress
from typing import BinaryIO, Final

from PIL import Image, _imaging

from tiering.errors import FormatError, NotFetchedError
from tiering.images.faults import missing_decoder
from tiering.images.formats import HEAD, UNMARKED, format_of, unfetched, unpacked

#: Formats that Pillow itself does not decode: their name, and the extra that brings a decoder.
_EXTRAS: Final = {"HEIF": ("HEIC", "heif"), "JXL": ("JPEG XL", "jxl")}

_registered: set[str] = set()


def open_image(file: BinaryIO, where: str) -> Image.Image:
    """Open an image with the decoder of its format, without decoding pixels yet.

    The first bytes determine the format; where they do not, the extension of the name does.
    where: the name for errors. Raises UnidentifiedImageError if it is not an image, any exception of Pillow's for a
    damaged header, NotFetchedError for a git-lfs or git-annex pointer, and FormatError if the decoder is missing.
    """
    head = file.read(HEAD)
    file.seek(0)
    name = os.fsencode(where)
    kind = format_of(head, name)
    if kind is None or kind == "TIFF":
        refuse_unpacked(head, where)
    if kind is None:
        # An image in a store has no name, so Pillow tries every format that has no magic bytes.
        return Image.open(file, formats=tuple(sorted(UNMARKED)))
    _register(kind, where)
    return Image.open(file, formats=(kind,))


def refuse_unpacked(head: bytes, where: str) -> None:
    """Raise NotFetchedError for a pointer file, and FormatError for an image that no decoder here reads."""
    if what := unfetched(head):
        raise NotFetchedError(where, expected="a whole image", found=what, action="Fetch it, then repeat the command.")
    if what := unpacked(head, os.fsencode(where)):
        raise FormatError(
            where, expected="an image that can be decoded here", found=f"{what}, a format that is not packed",
            action='Convert it to JPEG, PNG or TIFF first, or leave it out: `on_error="skip"`',
        )  # fmt: skip


def _register(kind: str, where: str) -> None:
    """Make sure that Pillow has the decoder of a format. Decoders of extras are imported only here."""
    if kind in _registered:
        return
    try:
        if kind == "HEIF":
            import pillow_heif  # noqa: PLC0415

            pillow_heif.register_heif_opener()
        elif kind == "JXL":
            import pillow_jxl  # noqa: F401, PLC0415 - importing it registers it
        else:
            Image.init() if kind not in Image.OPEN else None
    except ImportError:
        name, extra = _EXTRAS[kind]
        raise missing_decoder(where, f"a {name} image", extra) from None
    if kind not in Image.OPEN:
        raise FormatError(
            where, expected="an image that can be decoded here", found=f"a {kind} image, unknown to this Pillow",
            action="pip install 'pillow>=11.3', as a wheel: it has all decoders",
        )  # fmt: skip
    _registered.add(kind)


def hush() -> None:
    """Silence what Pillow and libtiff print about images in this process: it does not name the image.

    Damage that makes an image unusable also raises an exception, which names it. The rest are remarks about metadata
    and padding. Filters and log handlers that the program sets itself take precedence.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.", append=True)
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    # libtiff can only print errors; Pillow then raises its own. The functions exist if Pillow is linked with libtiff.
    with suppress(OSError, AttributeError):
        core = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            set_handler = getattr(core, name)
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)
