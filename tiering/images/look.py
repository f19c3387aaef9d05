"""How a drawn picture looks: the filter that resizes it, and the numbers that its levels become."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, get_args

import numpy as np

from tiering.arrays import AnyArray, PixelArray
from tiering.literals import Interpolation

#: The type of the numbers of an output.
OutputType = Literal["uint8", "float16", "float32"]

#: The number that becomes 1.0, by the type of a picture. Numbers of float32 pictures stay as they are.
_WHITE: Final = {"uint8": 255, "uint16": 65_535}


@dataclass(frozen=True, slots=True)
class Look:
    """How a drawn picture looks.

    interpolation, antialias: as in torchvision's Resize. With antialias the filter grows when the picture shrinks;
    without, each output is made of the nearest 1, 4 or 16 pixels.
    mean, std: one number for each channel, or one for all. A float output holds (v - mean) / std, where v goes from
    0 (black) to 1 (white), as after torchvision's ToDtype(float32, scale=True) and Normalize. None stands for 0 and 1.
    """

    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def table(self, dtype: np.dtype[Any], channels: int) -> AnyArray | None:
        """Return the numbers of all 256 levels, of shape (channels, 256) and the output's type.

        None stands for levels as they are: an output of uint8.
        Raises ValueError for an output of any type but an OutputType, or if mean and std do not fit it.
        """
        return _table(self, dtype, channels)

    def numbers(self, values: PixelArray, dtype: np.dtype[Any]) -> PixelArray:
        """Turn the values of pixels, of shape (..., channels) and one of the stored types, into those of an output.

        Raises ValueError as table does, and for an output of uint8 if the values are float32.
        """
        table = self.table(dtype, values.shape[-1])
        if values.dtype == np.uint8:
            return values if table is None else table[np.arange(values.shape[-1]), values]
        if table is not None:
            return self._scaled(values).astype(dtype)
        if values.dtype != np.uint16:
            raise ValueError(f"dtype: expected a float output for {values.dtype} pixels, found uint8")
        return (values >> 8).astype(np.uint8)

    def _scaled(self, values: PixelArray) -> PixelArray:
        # In the order and the precision of torchvision, so that results are equal to the last bit.
        scaled = values.astype(np.float32)
        if values.dtype.name in _WHITE:
            scaled *= np.float32(1 / _WHITE[values.dtype.name])
        if self.mean is not None:
            scaled -= np.array(self.mean, np.float32)
        if self.std is not None:
            scaled /= np.array(self.std, np.float32)
        return scaled


@lru_cache(maxsize=64)
def _table(look: Look, dtype: np.dtype[Any], channels: int) -> AnyArray | None:
    if dtype.name not in get_args(OutputType):
        raise ValueError(f"dtype: expected one of {', '.join(get_args(OutputType))}, found {dtype}")
    if dtype == np.uint8:
        if look.mean is not None or look.std is not None:
            raise ValueError("mean and std: expected a float output, found uint8")
        return None
    for name, values in (("mean", look.mean), ("std", look.std)):
        if values is not None and len(values) not in (1, channels):
            raise ValueError(f"{name}: expected {channels} numbers, one for each channel, found {len(values)}")
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], channels, axis=1)
    table = np.ascontiguousarray(look._scaled(levels).T.astype(dtype))  # noqa: SLF001 - the same module
    table.flags.writeable = False
    return table
