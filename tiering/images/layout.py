"""The layout of an image's pixels, from its header: the type of the numbers, and how many each pixel has.

Pillow decodes many images to 8 bits per channel, or to fewer channels than there are, without a word. So what an image
holds is read from its header here, not from what Pillow makes of it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from PIL import Image

from tiering.images.jxl_header import jxl_dtype

_WIDTH, _LENGTH, _BITS, _COLOURS, _SAMPLES, _PLANAR, _EXTRA, _FORMAT = 256, 257, 258, 262, 277, 284, 338, 339
#: Values of the tag of colours (TIFF 6.0, PhotometricInterpretation) whose samples are converted to RGB.
_RGB, _PALETTE, _CONVERTED = 2, 3, (5, 6, 8)
#: The extra sample is transparency; 0 stands for anything else.
_ALPHA: Final = (1, 2)
_KINDS: Final = {1: "uint", 2: "int", 3: "float", 4: "uint"}

#: Height, width and the rest of a marker of JPEG 2000 (ISO/IEC 15444-1, A.5.1) up to the number of components.
_SIZ: Final = struct.Struct(">HH8IH")
_PNG_IHDR: Final = struct.Struct(">BB")
_PNG_CHANNELS: Final = {0: (1, False), 2: (3, False), 3: (3, False), 4: (2, True), 6: (4, True)}

#: Bits of the third byte of AVIF's codec configuration: more than 8 bits per channel (AV1-ISOBMFF, 2.3.3).
_AV1_DEEP: Final = 0x40

_GREY_MODES: Final = ("1", "L", "LA", "La", "I", "F")
_ALPHA_MODES: Final = ("LA", "La", "RGBA", "RGBa", "PA")


class PixelLayout(NamedTuple):
    """The pixels of an image, before anything is converted.

    dtype: the smallest of NumPy's types that holds a channel: "uint8" for up to 8 bits, "uint16", "int16", "float32"
    and so on. channels: numbers in a pixel, with transparency. alpha: whether the last channel is transparency.
    """

    dtype: str
    channels: int
    alpha: bool = False

    @property
    def colours(self) -> int:
        """Channels without transparency."""
        return self.channels - self.alpha

    @property
    def plain(self) -> bool:
        """Whether it is a greyscale or RGB picture of at most 8 bits, with transparency or without."""
        return self.dtype == "uint8" and self.colours in (1, 3)


def described(kind: str, layout: PixelLayout) -> str:
    """Return an image's format and layout in words, with an article."""
    return f"a {kind} of {layout.channels} channel{'s' * (layout.channels != 1)} of {layout.dtype}"


def of_mode(mode: str) -> PixelLayout:
    """Return the layout that a mode of Pillow's stands for."""
    if mode.startswith("I;16"):
        return PixelLayout("uint16", 1)
    dtype = {"I": "int32", "F": "float32"}.get(mode, "uint8")
    alpha = mode in _ALPHA_MODES
    return PixelLayout(dtype, (1 if mode in _GREY_MODES else 3) + alpha, alpha)


def layout_of(image: Image.Image, data: bytes | memoryview) -> PixelLayout:
    """Return the layout of an image that Pillow has opened.

    data: the beginning of the file, or all of it. Takes 2 us for a PNG.
    """
    if image.format == "TIFF":
        return of_tags(image.tag_v2)  # type: ignore[attr-defined]
    if image.format == "PNG" and data[12:16] == b"IHDR":
        bits, colours = _PNG_IHDR.unpack_from(data, 24)
        return PixelLayout("uint16" if bits == 16 else "uint8", *_PNG_CHANNELS.get(colours, (3, False)))
    if image.format == "JPEG2000":
        return _of_jpeg2000(bytes(data)) or of_mode(image.mode)
    found = of_mode(image.mode)
    if image.format == "JXL":
        return found._replace(dtype=jxl_dtype(bytes(data)) or found.dtype)
    if found.dtype == "int32" and image.format == "PPM":
        return PixelLayout("uint16", 1)
    return found._replace(dtype="uint16") if found.dtype == "uint8" and _is_deep(image, bytes(data)) else found


def of_tags(tags: Mapping[int, Any]) -> PixelLayout:
    """Return the layout of a TIFF, from the tags of its first page."""
    samples = int(tags.get(_SAMPLES, 1))
    bits = max(_numbers(tags.get(_BITS, 1)))
    kind = _KINDS.get(max(_numbers(tags.get(_FORMAT, 1))), "complex")
    size = next((size for size in (8, 16, 32, 64) if bits <= size), 128)
    dtype = f"{kind}{size}"
    colours = int(tags.get(_COLOURS, 1))
    if colours == _PALETTE or (colours in _CONVERTED and dtype == "uint8"):
        return PixelLayout("uint8", 3)
    extra = _numbers(tags.get(_EXTRA, ()))
    alpha = len(extra) == 1 and extra[0] in _ALPHA and samples == (4 if colours == _RGB else 2)
    return PixelLayout(dtype, samples, alpha)


def in_deep_planes(tags: Mapping[int, Any]) -> bool:
    """Return whether each band of a TIFF lies by itself, with more than 8 bits. Pillow takes its bytes for pixels."""
    return int(tags.get(_PLANAR, 1)) == 2 and of_tags(tags).dtype != "uint8"


def tiff_size(tags: Mapping[int, Any]) -> tuple[int, int]:
    """Return width and height of a TIFF, from the tags of its first page."""
    return int(tags[_WIDTH]), int(tags[_LENGTH])


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (int(value),)


def _of_jpeg2000(data: bytes) -> PixelLayout | None:
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(data) < at + 4 + _SIZ.size + 1:
        return None
    channels = _SIZ.unpack_from(data, at + 4)[-1]
    depth = data[at + 4 + _SIZ.size]
    bits = (depth & 0x7F) + 1
    dtype = f"{'int' if depth & 0x80 else 'uint'}{8 if bits <= 8 else 16 if bits <= 16 else 32}"
    return PixelLayout(dtype, channels, alpha=channels in (2, 4))


def _is_deep(image: Image.Image, data: bytes) -> bool:
    """Return whether an image that Pillow opens with 8 bits per channel has more."""
    if image.format == "AVIF":
        at = data.find(b"av1C")
        return 0 < at < len(data) - 6 and bool(data[at + 6] & _AV1_DEEP)
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8)) > 8
    tile = getattr(image, "tile", ())
    arguments = tile[0].args if tile else ()
    if image.format == "PPM":
        return isinstance(arguments, tuple) and isinstance(arguments[-1], int) and arguments[-1] > 255
    return ";16" in str(arguments)
