"""Crop: which part of each picture goes into a batch, and how its numbers are laid out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

import numpy as np

from tiering.arrays import FloatArray
from tiering.errors import UsageError
from tiering.images.geometry import Geometry, GeometryArray
from tiering.images.look import Look, OutputType
from tiering.literals import Interpolation

#: The order of the axes of a batch: samples, channels, height, width, or channels last.
Layout = Literal["NCHW", "NHWC"]

#: The longest side of a result in pixels.
LARGEST_SIDE: Final = 1 << 15


@dataclass(frozen=True, kw_only=True)
class Crop(ABC):
    """The settings that all crops share.

    Attributes:
        flip: The probability of a horizontal flip.
        layout: "NCHW" (channels first, as PyTorch has it) or "NHWC" (channels last).
        dtype: "uint8" keeps levels from 0 to 255. "float32" and "float16" scale them to 0 to 1.
        mean: The mean of each channel, which is subtracted from floats in 0 to 1; by default 0. ImageNet's is
            (0.485, 0.456, 0.406).
        std: The standard deviation of each channel, by which floats are then divided; by default 1. ImageNet's is
            (0.229, 0.224, 0.225).
        interpolation: "bilinear", "bicubic" or "nearest".
        antialias: Whether the filter widens where pictures shrink. False is faster, but fine details alias.
        views: The number of different views of each image. More than one adds a first axis: (views, n, ...).
    """

    flip: float = 0.0
    layout: Layout = "NCHW"
    dtype: OutputType = "uint8"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    views: int = 1

    #: Random numbers that one geometry needs.
    numbers: ClassVar[int] = 0

    def __post_init__(self) -> None:
        self.check("flip", 0 <= self.flip <= 1, "a probability from 0 to 1")
        for name, choices in (("layout", Layout), ("dtype", OutputType), ("interpolation", Interpolation)):
            self.check(name, getattr(self, name) in get_args(choices), f"one of {', '.join(get_args(choices))}")
        self.check("views", type(self.views) is int and self.views >= 1, "an integer of at least 1")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is None:
                continue
            self.check(name, self.dtype != "uint8", 'none with dtype "uint8"')
            self.check(name, len(values) > 0 and all(map(math.isfinite, values)), "a number for each channel")
        self.check("std", self.std is None or min(self.std) > 0, "numbers above 0")

    @property
    @abstractmethod
    def sides(self) -> tuple[int, int]:
        """Height and width of the result in pixels."""

    @abstractmethod
    def geometry(self, width: int, height: int, numbers: Sequence[float]) -> Geometry:
        """Return which part of a picture is taken, and how it is resized.

        Args:
            width: The width of the upright picture in pixels.
            height: Its height.
            numbers: Random numbers in (0, 1): `Crop.numbers` of them.

        Raises:
            DatasetError: The picture is too small.
        """

    def geometries(self, width: int, height: int, numbers: FloatArray) -> GeometryArray:
        """Return the geometries of pictures of one size.

        Args:
            width: The width of the upright pictures in pixels.
            height: Their height.
            numbers: float64 (n, k) in (0, 1), as for `geometry`.

        Returns:
            int32 (n, 8), as draw_batch takes them.

        Raises:
            DatasetError: The pictures are too small.
        """
        rows = numbers.tolist() if self.numbers else [[]]
        found = [self.geometry(width, height, row) for row in rows]
        flat = np.array([(*each.region, *each.size, *each.corner) for each in found], np.int32)
        return np.broadcast_to(flat, (len(numbers), flat.shape[1]))

    def shape(self, channels: int = 3) -> tuple[int, int, int]:
        """Return the shape of one image in the batch's layout."""
        height, width = self.sides
        return (channels, height, width) if self.layout == "NCHW" else (height, width, channels)

    def look(self, channels: int = 3) -> Look:
        """Return how pixels are computed, and which numbers they become.

        Raises:
            UsageError: `mean` or `std` has another number of channels than the images.
        """
        for name in ("mean", "std"):
            values = getattr(self, name)
            self.check(name, values is None or len(values) == channels, f"{channels} numbers, one for each channel")
        return Look(self.interpolation, self.antialias, self.mean, self.std)

    def check(self, name: str, fits: bool, expected: str) -> None:
        """Raise UsageError for a setting that does not fit."""
        if not fits:
            raise UsageError(
                f"{type(self).__name__}: {name}", rule=f"must be {expected}", found=repr(getattr(self, name))
            )

    def freeze_sides(self, name: str) -> None:
        """Replace a size by (height, width), after checking it. One number is the side of a square."""
        size = getattr(self, name)
        sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
        fits = len(sides) == 2 and all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides)
        self.check(name, fits, f"pixels from 1 to {LARGEST_SIDE:,}: one number for a square, or (height, width)")
        object.__setattr__(self, name, sides)
