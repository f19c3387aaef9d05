"""Draw parts of decoded pixels with Pillow and NumPy: the way of wheels alone, and of 16-bit and float32 pixels.

With antialias Pillow's filters do the work, which torchvision uses too. Without, NumPy takes the few pixels that each
output needs, because Pillow's own two-tap filter cuts off fractions instead of rounding.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from tiering.arrays import AnyArray, IndexArray, PixelArray
from tiering.images.geometry import StoredPart
from tiering.images.look import Look
from tiering.literals import Interpolation

_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

#: Where the pixels of an output lie around it, by filter.
_NEIGHBOURS: Final[dict[Interpolation, tuple[int, ...]]] = {
    "nearest": (0,), "bilinear": (0, 1), "bicubic": (-1, 0, 1, 2),
}  # fmt: skip

#: The free parameter of bicubic interpolation without antialias, as in torch and OpenCV.
_SHARPNESS: Final = -0.75


#: Memory of a strip of an output, in bytes: less than malloc asks the kernel for.
_STRIP_BYTES: Final = 64 << 10


class _Span(NamedTuple):
    """One axis of a part.

    begin, extent: the region, in pixels that may be scaled down. size: of the resized region. corner: the place of
    output 0 in it. first, last: the outputs [first, last) lie inside the resized region.
    """

    begin: float
    extent: float
    size: int
    corner: int
    first: int
    last: int

    @property
    def low(self) -> int:
        """The first pixel that the filter may see."""
        return math.floor(self.begin)

    @property
    def high(self) -> int:
        """The pixel after the last that the filter may see."""
        return math.ceil(self.begin + self.extent)


def draw_part(pixels: PixelArray, part: StoredPart, look: Look, by: int = 1) -> None:
    """Draw a part of decoded pixels into its output.

    pixels: (height, width, channels) of uint8, uint16 or float32. One channel is spread over all of the output, and
    channels that the output lacks are dropped. by: by how much the pixels were scaled down in decoding.
    Raises ValueError as Look.numbers does.
    """
    out = part.out
    pixels = pixels[:, :, : out.shape[2]]
    across = _span(part.left, part.width, part.wide, part.x, out.shape[1], by)
    down = _span(part.top, part.height, part.high, part.y, out.shape[0], by)
    if across.last - across.first < out.shape[1] or down.last - down.first < out.shape[0]:
        out[:] = look.numbers(np.zeros((1, 1, out.shape[2]), pixels.dtype), out.dtype)
    if across.first == across.last or down.first == down.last:
        return
    region = pixels[down.low : down.high, across.low : across.high]
    if (part.width, part.height) == (part.wide, part.high) and by == 1:
        drawn = region[down.first + part.y : down.last + part.y, across.first + part.x : across.last + part.x]
    elif look.antialias and look.interpolation != "nearest":
        drawn = _filtered(region, across, down, look.interpolation)
    else:
        drawn = _sampled(region, across, down, look.interpolation)
    if drawn.shape[2] < out.shape[2]:
        drawn = np.repeat(drawn, out.shape[2], axis=2)
    out[down.first : down.last, across.first : across.last] = look.numbers(drawn, out.dtype)


def _span(begin: int, extent: int, size: int, corner: int, outputs: int, by: int) -> _Span:
    first = min(max(0, -corner), outputs)
    return _Span(begin / by, extent / by, size, corner, first, max(first, min(outputs, size - corner)))


def _filtered(region: PixelArray, across: _Span, down: _Span, interpolation: Interpolation) -> PixelArray:
    """Resize with Pillow's filters, which grow when the picture shrinks."""
    left, right = _ends(across)
    top, bottom = _ends(down)
    size = across.last - across.first, down.last - down.first
    channels = region.shape[2]
    if region.dtype == np.uint8 and channels in (1, 3):
        image = Image.fromarray(region[:, :, 0] if channels == 1 else region)
        drawn = np.asarray(image.resize(size, _FILTERS[interpolation], box=(left, top, right, bottom)))
        return drawn.reshape(*size[::-1], channels)
    # Pillow has no pixels of other types or channels, so each is a picture of 32-bit floating-point numbers.
    drawn = np.empty((*size[::-1], channels), np.float32)
    for channel in range(channels):
        plane = Image.fromarray(np.ascontiguousarray(region[:, :, channel], np.float32))
        drawn[:, :, channel] = plane.resize(size, _FILTERS[interpolation], box=(left, top, right, bottom))
    return _rounded(drawn, region)


def _ends(span: _Span) -> tuple[float, float]:
    """Return where the outputs begin and end in the region, in its pixels."""
    scale, offset = span.extent / span.size, span.begin - span.low
    begin = offset + (span.first + span.corner) * scale
    return begin, min(offset + (span.last + span.corner) * scale, float(span.high - span.low))


def _sampled(region: PixelArray, across: _Span, down: _Span, interpolation: Interpolation) -> PixelArray:
    """Make each output of the nearest pixels, however much the picture shrinks."""
    rows, by_rows = _taps(down, interpolation)
    columns, by_columns = _taps(across, interpolation)
    if interpolation == "nearest":
        nearest: PixelArray = region[rows[0][:, np.newaxis], columns[0]]
        return nearest
    channels = region.shape[2]
    lines = region.reshape(len(region), -1)
    places = (columns[:, :, np.newaxis] * channels + np.arange(channels)).reshape(len(columns), -1)
    by_places = np.repeat(by_columns, channels, axis=1)
    drawn = np.empty((rows.shape[1], places.shape[1]), region.dtype)
    # In strips, since fresh memory for whole pictures costs more than the sums do.
    strip = max(1, _STRIP_BYTES // (4 * lines.shape[1]))
    for first in range(0, len(drawn), strip):
        part = slice(first, first + strip)
        tall = _summed([lines[row] for row in rows[:, part]], by_rows[:, part, np.newaxis])
        drawn[part] = _rounded(_summed([tall[:, place] for place in places], by_places), region)
    return drawn.reshape(len(drawn), -1, channels)


def _summed(parts: list[PixelArray], weights: AnyArray) -> PixelArray:
    """Return the weighted sum of arrays, as float32."""
    total: PixelArray = parts[0].astype(np.float32) * weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total += part.astype(np.float32) * weight
    return total


def _taps(span: _Span, interpolation: Interpolation) -> tuple[IndexArray, AnyArray]:
    """Return the pixels of the region that each output takes, and their weights, of shape (taps, outputs)."""
    outputs = np.arange(span.first, span.last) + span.corner
    center = span.begin + (outputs + 0.5) * (span.extent / span.size)
    start = np.floor(center) if interpolation == "nearest" else np.floor(center - 0.5)
    taps = start + np.array(_NEIGHBOURS[interpolation])[:, np.newaxis]
    away = np.abs(taps + 0.5 - center)
    if interpolation == "bilinear":
        weights = 1 - away
    else:
        a = _SHARPNESS
        near, far = ((a + 2) * away - (a + 3)) * away**2 + 1, a * (((away - 5) * away + 8) * away - 4)
        weights = np.where(away < 1, near, far)
    return np.clip(taps - span.low, 0, span.high - span.low - 1).astype(np.int64), weights.astype(np.float32)


def _rounded(drawn: PixelArray, region: PixelArray) -> PixelArray:
    if region.dtype.kind == "f":
        return drawn.astype(region.dtype, copy=False)
    return np.clip(np.floor(drawn + np.float32(0.5)), 0, np.iinfo(region.dtype).max).astype(region.dtype)
