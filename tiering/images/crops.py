"""The crops that make images ready for training.

Each class is a value with the geometry and the parameters of a torchvision transform: `tiering.RandomResizedCrop(224)`
crops like `torchvision.transforms.v2.RandomResizedCrop(224)`. It draws no random numbers itself. It turns the size of a
picture and some numbers in (0, 1) into a Geometry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from tiering.arrays import FloatArray
from tiering.errors import DatasetError
from tiering.images.crop import LARGEST_SIDE, Crop
from tiering.images.geometry import Geometry, GeometryArray

#: RandomResizedCrop takes the first of this many random boxes that fits into the picture, as torchvision does.
_TRIES: Final = 10


@dataclass(frozen=True)
class RandomResizedCrop(Crop):
    """A random part of each picture, resized: the usual augmentation for training on ImageNet.

    The part covers a random share of the picture's area, and has a random aspect ratio (Szegedy et al., "Going Deeper
    with Convolutions", CVPR 2015, section 6).

    Args:
        size: Of the result in pixels: one number for a square, or (height, width).
        scale: The least and the largest share of the area.
        ratio: The least and the largest ratio of width to height.

    Raises:
        UsageError: For a value out of range.

    Example:
        >>> RandomResizedCrop(224, flip=0.5).shape()
        (3, 224, 224)
    """

    size: int | tuple[int, int]
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    numbers: ClassVar[int] = 4 * _TRIES

    def __post_init__(self) -> None:
        super().__post_init__()
        self.freeze_sides("size")
        self.check("scale", 0 < self.scale[0] <= self.scale[1] <= 1, "two rising shares above 0, up to 1")
        self.check("ratio", 0 < self.ratio[0] <= self.ratio[1] < math.inf, "two rising numbers above 0")

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the result in pixels."""
        return _pair(self.size)

    def geometry(self, width: int, height: int, numbers: Sequence[float]) -> Geometry:
        """Return the first of ten random boxes that fits into the picture; else its middle, of a ratio in range."""
        rows, columns = self.sides
        least, largest = self.scale
        low, high = map(math.log, self.ratio)
        for at in range(0, 4 * _TRIES, 4):
            area = width * height * (least + (largest - least) * numbers[at])
            ratio = math.exp(low + (high - low) * numbers[at + 1])
            wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < tall <= height:
                top, left = int(numbers[at + 2] * (height - tall + 1)), int(numbers[at + 3] * (width - wide + 1))
                return Geometry((left, top, wide, tall), (columns, rows))
        wide, tall = width, height
        if width / height < self.ratio[0]:
            tall = max(1, round(width / self.ratio[0]))
        elif width / height > self.ratio[1]:
            wide = max(1, round(height * self.ratio[1]))
        return Geometry(((width - wide) // 2, (height - tall) // 2, wide, tall), (columns, rows))


@dataclass(frozen=True)
class CenterCrop(Crop):
    """The middle of each picture, for validation.

    Args:
        size: Of the result in pixels: one number for a square, or (height, width). A picture that is smaller gets a
            black border.
        resize: Before that, resize each picture so that its shorter side has this many pixels; by default not at all.

    Raises:
        UsageError: For a value out of range.

    Example:
        >>> CenterCrop(224, resize=256).shape()
        (3, 224, 224)
    """

    size: int | tuple[int, int]
    resize: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.freeze_sides("size")
        fits = self.resize is None or (type(self.resize) is int and 1 <= self.resize <= LARGEST_SIDE)
        self.check("resize", fits, f"pixels of the shorter side, from 1 to {LARGEST_SIDE:,}")

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the result in pixels."""
        return _pair(self.size)

    def geometry(self, width: int, height: int, numbers: Sequence[float]) -> Geometry:  # noqa: ARG002 - none is random
        """Return the middle of the whole picture, resized if so asked."""
        size = width, height
        if self.resize is not None:
            short, long = min(size), max(size)
            longer = int(self.resize * long / short)
            size = (self.resize, longer) if width <= height else (longer, self.resize)
        rows, columns = self.sides
        return Geometry((0, 0, width, height), size, (_middle(size[0], columns), _middle(size[1], rows)))


@dataclass(frozen=True)
class Resize(Crop):
    """Whole pictures, resized to one size whatever their aspect ratio.

    Args:
        size: (height, width) in pixels.

    Raises:
        UsageError: For one number: torchvision then resizes the shorter side, and the images of a batch would differ in
            shape. Use CenterCrop with `resize` for that.

    Example:
        >>> Resize((224, 224)).shape()
        (3, 224, 224)
    """

    size: tuple[int, int]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("size", not isinstance(self.size, int), "(height, width); for a shorter side, CenterCrop(resize=)")
        self.freeze_sides("size")

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the result in pixels."""
        return self.size

    def geometry(self, width: int, height: int, numbers: Sequence[float]) -> Geometry:  # noqa: ARG002 - none is random
        """Return the whole picture."""
        return Geometry((0, 0, width, height), (self.size[1], self.size[0]))


@dataclass(frozen=True)
class PadCrop(Crop):
    """A random part of each picture with a black border around it, for small images such as CIFAR's.

    It is torchvision's RandomCrop with `padding`.

    Args:
        size: Of the result in pixels: one number for a square, or (height, width).
        padding: Width of the border in pixels.

    Raises:
        UsageError: For a value out of range.

    Example:
        >>> PadCrop(32, padding=4, flip=0.5).shape()
        (3, 32, 32)
    """

    size: int | tuple[int, int]
    padding: int = 0

    numbers: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.freeze_sides("size")
        self.check("padding", type(self.padding) is int and 0 <= self.padding <= LARGEST_SIDE, "pixels of the border")

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the result in pixels."""
        return _pair(self.size)

    def geometry(self, width: int, height: int, numbers: Sequence[float]) -> Geometry:
        """Return a random part of the picture and its border, without resizing."""
        x, y = self.geometries(width, height, np.array([numbers]))[0, 6:].tolist()
        return Geometry((0, 0, width, height), (width, height), (x, y))

    def geometries(self, width: int, height: int, numbers: FloatArray) -> GeometryArray:
        """Return the geometries of pictures of one size."""
        rows, columns = self.sides
        spare = np.array([width + 2 * self.padding - columns, height + 2 * self.padding - rows])
        if spare.min() < 0:
            raise DatasetError(
                "image",
                rule=f"must be at least {rows - 2 * self.padding} x {columns - 2 * self.padding} pixels to crop",
                found=f"{height} x {width} (height x width)", action="Give PadCrop more `padding`, or a smaller size.",
            )  # fmt: skip
        found = np.empty((len(numbers), 8), np.int32)
        found[:, :6] = 0, 0, width, height, width, height
        found[:, 6:] = (numbers[:, :2] * (spare + 1)).astype(np.int32) - self.padding
        return found


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _middle(whole: int, part: int) -> int:
    """Return where the middle part begins, as torchvision rounds it; below 0 if the part is larger."""
    return round((whole - part) / 2) if whole >= part else -((part - whole) // 2)
