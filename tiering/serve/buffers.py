"""Buffers: reuses the memory of batches once nothing refers to it.

Each batch is an array over its own lease. Anything made from that array without a copy (a view, a view of a view, a
memoryview, a torch tensor, a DLPack capsule) refers to the array, and the array refers to its lease. When the last of
them is deleted, the lease is deleted too, and gives the memory back. The code never reads reference counts, because
they differ from one interpreter to the next.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from tiering.arrays import PixelArray


class Buffers:
    """Arrays for batches of pixels.

    The kernel zeroes new memory page by page, which costs a sixth of decoding into it. So released memory is kept for
    the next batch. Threads may share one object.

    Args:
        samples: The most samples in a batch.
        sides: Height, width and channels of an image.
        most: Bytes of unused memory to keep, in addition to one batch.
    """

    def __init__(self, samples: int, sides: tuple[int, int, int], most: int) -> None:
        self._samples, self._sides, self._most = samples, sides, most
        # A deque needs no lock. A lock would be wrong: a lease may end in the middle of any code, even of take(). In a
        # full deque, returned memory replaces the memory that has been free for longest.
        self._free: deque[PixelArray] = deque(maxlen=1 + most // max(1, samples * math.prod(sides)))

    def take(self, samples: int) -> PixelArray:
        """Return an array for some samples: uint8 (samples, height, width, channels), with undefined contents.

        Raises:
            ValueError: For more samples than fit in a batch.
        """
        if samples > self._samples:
            raise ValueError(f"a batch has at most {self._samples:,} samples, got {samples:,}")
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._samples * math.prod(self._sides), dtype=np.uint8)
        return np.asarray(_BufferLease(memory, (samples, *self._sides), self._free))

    def __reduce__(self) -> tuple[type[Buffers], tuple[int, tuple[int, ...], int]]:
        """Pickle without the memory: another process starts with none."""
        return Buffers, (self._samples, self._sides, self._most)


class _BufferLease:
    """Memory lent to one array. NumPy reads __array_interface__ and keeps this object as the base of the array.

    NumPy shortens a chain of views to the last array in it: the one over this lease. So every view keeps that array,
    and the array keeps the lease.
    """

    __slots__ = ("_free", "_memory", "_shape")

    def __init__(self, memory: PixelArray, shape: tuple[int, ...], free: deque[PixelArray]) -> None:
        self._memory, self._shape, self._free = memory, shape, free

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """The memory in the form that NumPy reads: writable uint8."""
        return {"version": 3, "typestr": "|u1", "shape": self._shape, "data": (self._memory.ctypes.data, False)}

    def __del__(self) -> None:
        """Give the memory back."""
        self._free.append(self._memory)
