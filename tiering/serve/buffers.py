"""Buffers: the memory of batches, used again once nobody looks at it."""

from __future__ import annotations

import math
import sys
import threading
from typing import Final

import numpy as np

from tiering.store.base import PixelArray

#: Referred to by the list, by the loop that looks through it and by the call that counts, and by nobody else.
_UNUSED: Final = 3


class Buffers:
    """Arrays for batches of pixels.

    New memory is zeroed by the kernel page by page, which costs a sixth of decoding into it. Whoever still refers to
    an array, or to a view of it, keeps it: it is given out again only when its reference count says that it is free.

    samples: the most in a batch; sides: (height, width, channels). Threads may share one.
    """

    def __init__(self, samples: int, sides: tuple[int, int, int]) -> None:
        self._shape = (samples, *sides)
        self._arrays: list[PixelArray] = []
        self._lock = threading.Lock()

    def take(self, samples: int) -> PixelArray:
        """Return an array for so many samples: uint8 (samples, height, width, channels), its contents undefined."""
        with self._lock:
            for array in self._arrays:
                if sys.getrefcount(array) == _UNUSED:
                    return array[:samples]
            self._arrays.append(np.empty(self._shape, dtype=np.uint8))
            return self._arrays[-1][:samples]

    def keep(self, most: int) -> None:
        """Let go of all but free arrays of so many bytes."""
        with self._lock:
            free = [array for array in self._arrays if sys.getrefcount(array) == _UNUSED]
            self._arrays = free[: most // max(1, math.prod(self._shape))]

    def __reduce__(self) -> tuple[type[Buffers], tuple[int, tuple[int, ...]]]:
        """Copy to another process as empty as it was made."""
        return Buffers, (self._shape[0], self._shape[1:])
