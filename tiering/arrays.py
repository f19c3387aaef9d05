"""Type names for the NumPy arrays that cross module boundaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: Sample numbers, byte offsets and sizes.
IndexArray = npt.NDArray[np.int64]
#: Decoded pixels, of shape (height, width, channels) or (samples, height, width, channels).
PixelArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
MaskArray = npt.NDArray[np.bool_]
AnyArray = npt.NDArray[Any]
