"""One image as stores made for training would keep it: what it takes, what it saves, and how much it is alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from PIL import Image

from tiering.arrays import PixelArray
from tiering.errors import TieringError
from tiering.images.crops import RandomResizedCrop
from tiering.images.image import decode
from tiering.images.likeness import Pixels8, psnr, ssim
from tiering.images.markers import Encoded
from tiering.images.picture import Picture, open_picture, picture_of
from tiering.images.pixels import to_pixels
from tiering.images.reencoded import Reencoded
from tiering.images.reencoding import reencode
from tiering.images.shape import PixelShape
from tiering.images.training_formats import TRAINING_FORMATS
from tiering.literals import TrainingFormat

#: Pixels of each side of the crops, for timing and for likeness.
VIEW: Final = 224

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class TrainingCopy:
    """One image in one format. Times are seconds of a processor."""

    size: int
    pixels: int
    area: float
    ssim: float
    psnr: float
    decode_s: float
    make_s: float


@dataclass(frozen=True, slots=True)
class CopiedImage:
    """One image: seconds to decode and crop the original, and its copies."""

    decode_s: float
    copies: dict[TrainingFormat, TrainingCopy]


def copies_of(data: Encoded, where: str, numbers: list[float]) -> CopiedImage | str:
    """Re-encode one image in each format; the reason where that is not possible."""
    try:
        original = decode(data, where)
        return CopiedImage(
            _cropping(lambda: open_picture(data, where), numbers),
            {
                name: (_as_pixels if isinstance(how, PixelShape) else _as_jpeg)(data, where, how, original, numbers)  # type: ignore[arg-type]
                for name, how in TRAINING_FORMATS.items()
            },
        )
    except TieringError as error:
        return str(error)


def _as_jpeg(data: Encoded, where: str, how: Reencoded, original: Pixels8, numbers: list[float]) -> TrainingCopy:
    copy, make_s = _timed(lambda: reencode(data, where, how))
    pixels = decode(copy, where)
    height, width, _ = original.shape
    alike = _likeness(original, pixels, (0, 0, width, height))
    decode_s = _cropping(lambda: open_picture(copy, where), numbers)
    return TrainingCopy(len(copy), pixels.shape[0] * pixels.shape[1], 1.0, *alike, decode_s, make_s)


def _as_pixels(data: Encoded, where: str, shape: PixelShape, original: Pixels8, numbers: list[float]) -> TrainingCopy:
    pixels, make_s = _timed(lambda: to_pixels(data, where, shape, "crop", narrow=True))
    height, width, _ = original.shape
    side = min(width / shape.width, height / shape.height)
    wide, high = side * shape.width, side * shape.height
    alike = _likeness(original, pixels, ((width - wide) / 2, (height - high) / 2, wide, high))
    decode_s = _cropping(lambda: picture_of(pixels), numbers)
    area = wide * high / (width * height)
    return TrainingCopy(shape.nbytes, shape.height * shape.width, area, *alike, decode_s, make_s)


def _cropping(opened: Callable[[], Picture], numbers: list[float]) -> float:
    """Return the seconds of a processor to crop a picture for training."""
    crop = RandomResizedCrop(VIEW)
    out = np.empty((VIEW, VIEW, 3), np.uint8)

    def drawn() -> None:
        picture = opened()
        picture.draw([(crop.geometry(picture.width, picture.height, numbers), out)], crop.look())

    # The first time, caches of the processor are cold.
    return min(_timed(drawn)[1] for _ in range(2))


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    began = time.thread_time()
    result = work()
    return result, time.thread_time() - began


def _likeness(original: Pixels8, copy: PixelArray, part: tuple[float, float, float, float]) -> tuple[float, float]:
    """Compare a copy with the part of the original that it keeps, as training would see both.

    That is a square in the middle with half the area, which is what RandomResizedCrop takes on average, at 224 x 224
    pixels, or its own size where the original has fewer.

    part: left, top, width and height in pixels of the original. Returns SSIM and PSNR.
    """
    left, top, wide, high = part
    side = min(math.sqrt(wide * high / 2), wide, high)
    size = max(1, min(VIEW, round(side)))
    left, top = left + (wide - side) / 2, top + (high - side) / 2
    one = _view(original, (left, top, left + side, top + side), size)
    across, down = copy.shape[1] / wide, copy.shape[0] / high
    left, top = (copy.shape[1] - side * across) / 2, (copy.shape[0] - side * down) / 2
    other = _view(copy, (left, top, left + side * across, top + side * down), size)
    return ssim(one, other), psnr(one, other)


def _view(pixels: PixelArray, box: tuple[float, float, float, float], size: int) -> Pixels8:
    height, width, _ = pixels.shape
    # Rounding may take an end out of the picture by a little.
    left, top, right, bottom = (
        min(max(0.0, end), float(most)) for end, most in zip(box, (width, height) * 2, strict=True)
    )
    box = (left, top, right, bottom)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box=box))
