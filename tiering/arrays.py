"""Type names for the NumPy arrays that cross module boundaries, and row numbers in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

#: Sample numbers, byte offsets and sizes.
IndexArray = npt.NDArray[np.int64]
#: Decoded pixels, of shape (height, width, channels) or (samples, height, width, channels): uint8, or the uint16 or
#: float32 of a store that keeps such pixels.
PixelArray = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
MaskArray = npt.NDArray[np.bool_]
AnyArray = npt.NDArray[Any]


def row_parts(rows: int, size: int = 1 << 16) -> Iterator[IndexArray]:
    """Yield the row numbers 0 to rows - 1 in arrays of at most `size` consecutive ones, int64.

    Work on millions of rows then holds the Python objects of one part only.
    """
    for begin in range(0, rows, size):
        yield np.arange(begin, min(begin + size, rows), dtype=np.int64)


def stretches(values: AnyArray) -> Iterator[tuple[int, int]]:
    """Yield the first and the last + 1 position of each stretch of equal neighbours."""
    if len(values):
        cuts = (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()
        yield from zip([0, *cuts], [*cuts, len(values)], strict=True)
