"""Which decoder opens an image: that of its format and no other, and the extra that brings it."""

from __future__ import annotations

import os
from typing import BinaryIO, Final

from PIL import Image

from tiering.errors import FormatError, NotFetchedError
from tiering.images.formats import HEAD, UNMARKED, format_of, unfetched, unpacked

#: Formats that Pillow itself does not decode: what brings each.
_EXTRAS: Final = {"HEIF": ("HEIC", "heif"), "JXL": ("JPEG XL", "jxl")}

_registered: set[str] = set()


def open_image(file: BinaryIO, where: str) -> Image.Image:
    """Open an image with the decoder of its format, which its first bytes tell, or its name where they do not.

    where: what to call it in an error. Nothing is decoded yet.
    Raises UnidentifiedImageError for what is no image, whatever Pillow raises for a damaged header; NotFetchedError for
    a pointer of git-lfs or git-annex, and FormatError for an image whose decoder is not there.
    """
    head = file.read(HEAD)
    file.seek(0)
    name = os.fsencode(where)
    kind = format_of(head, name)
    if kind is None or kind == "TIFF":
        refuse_unpacked(head, where)
    if kind is None:
        # An image in a store has no name; of those formats that have no mark, each is asked.
        return Image.open(file, formats=tuple(sorted(UNMARKED)))
    _register(kind, where)
    return Image.open(file, formats=(kind,))


def refuse_unpacked(head: bytes, where: str) -> None:
    """Raise for a pointer in the place of an image, and for an image that no decoder here reads."""
    if what := unfetched(head):
        raise NotFetchedError(where, expected="a whole image", found=what, action="Fetch it, and do the same again.")
    if what := unpacked(head, os.fsencode(where)):
        raise FormatError(
            where, expected="an image that can be decoded here", found=f"{what}, a format that is not packed",
            action='Convert it to JPEG, PNG or TIFF first, or leave it out: `on_error="skip"`',
        )  # fmt: skip


def _register(kind: str, where: str) -> None:
    """Make sure that Pillow has the decoder of a format; those of extras are imported here and nowhere else."""
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
        raise FormatError(
            where, expected="an image that can be decoded here",
            found=f"a {name} image, whose decoder is an extra: pip install 'tiering[{extra}]'",
            action="Do the same again then."
        ) from None  # fmt: skip
    if kind not in Image.OPEN:
        raise FormatError(
            where, expected="an image that can be decoded here", found=f"a {kind} image, unknown to this Pillow",
            action="pip install 'pillow>=11.3', as a wheel: it has all decoders",
        )  # fmt: skip
    _registered.add(kind)
