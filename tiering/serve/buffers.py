"""Buffers: the memory of batches, used again once nobody looks at it.

Who looks at it is not counted but owned. Each batch is handed out as an array over a lease of its own. Whatever is made
of that array without a copy (a view, a view of a view, a memoryview, a torch tensor, a DLPack capsule) refers to the
array, and the array to its lease. When the last of them goes, the lease goes, and as its last act it gives the memory
back. No number of references is ever looked at: what they are differs from one interpreter to the next.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from tiering.store.base import PixelArray


class Buffers:
    """Arrays for batches of pixels.

    New memory is zeroed by the kernel page by page, which costs a sixth of decoding into it. So what is let go of is
    kept for the next batch.

    samples: the most in a batch; sides: (height, width, channels); most: bytes to keep free, beside one batch.
    Threads may share one.
    """

    def __init__(self, samples: int, sides: tuple[int, int, int], most: int) -> None:
        self._samples, self._sides, self._most = samples, sides, most
        # A deque needs no lock, and a lock would be wrong here: a lease may end in the middle of anything, of take()
        # too. Given back to a full one, memory takes the place of what has been free for longest.
        self._free: deque[PixelArray] = deque(maxlen=1 + most // max(1, samples * math.prod(sides)))

    def take(self, samples: int) -> PixelArray:
        """Return an array for so many samples: uint8 (samples, height, width, channels), its contents undefined.

        Raises ValueError for more samples than are in a batch.
        """
        if samples > self._samples:
            raise ValueError(f"a batch has at most {self._samples:,} samples, got {samples:,}")
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._samples * math.prod(self._sides), dtype=np.uint8)
        return np.asarray(_Lease(memory, (samples, *self._sides), self._free))

    def __reduce__(self) -> tuple[type[Buffers], tuple[int, tuple[int, ...], int]]:
        """Copy to another process as empty as it was made."""
        return Buffers, (self._samples, self._sides, self._most)


class _Lease:
    """Memory on loan to one array, of which it is the base; NumPy asks for __array_interface__ and keeps whom it asked.

    NumPy shortens chains of views, but only down to the first array that is no base of its own kind: the one over this.
    """

    __slots__ = ("_free", "_memory", "_shape")

    def __init__(self, memory: PixelArray, shape: tuple[int, ...], free: deque[PixelArray]) -> None:
        self._memory, self._shape, self._free = memory, shape, free

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """The memory, as NumPy takes it: writable uint8."""
        return {"version": 3, "typestr": "|u1", "shape": self._shape, "data": (self._memory.ctypes.data, False)}

    def __del__(self) -> None:
        """Give the memory back."""
        self._free.append(self._memory)
