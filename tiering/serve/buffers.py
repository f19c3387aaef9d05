"""Buffers: the memory of batches, used again once nobody looks at it."""

from __future__ import annotations

import sys
from typing import Final

import numpy as np

from tiering.store.base import PixelArray

#: Referred to by the list, by the loop that looks through it and by the call that counts, and by nobody else.
_UNUSED: Final = 3


class Buffers:
    """Arrays for batches of pixels.

    New memory is zeroed by the kernel page by page, which costs a sixth of decoding into it. Whoever still refers to
    an array, or to a view of it, keeps it: it is given out again only when its reference count says that it is free.

    samples: the most in a batch; sides: (height, width, channels).
    """

    def __init__(self, samples: int, sides: tuple[int, int, int]) -> None:
        self._shape = (samples, *sides)
        self._arrays: list[PixelArray] = []

    def take(self, samples: int) -> PixelArray:
        """Return an array for so many samples: uint8 (samples, height, width, channels), its contents undefined."""
        for array in self._arrays:
            if sys.getrefcount(array) == _UNUSED:
                return array[:samples]
        self._arrays.append(np.empty(self._shape, dtype=np.uint8))
        return self._arrays[-1][:samples]
