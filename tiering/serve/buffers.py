"""Buffers: reuses the memory of batches once nothing refers to it.

Each batch is an array over its own lease. Anything made from that array without a copy (a view, a view of a view, a
memoryview, a torch tensor, a DLPack capsule) refers to the array, and the array refers to its lease. When the last of
them is deleted, the lease is deleted too, and gives the memory back. The code never reads reference counts, because
they differ from one interpreter to the next.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tiering.arrays import PixelArray

_Memory = npt.NDArray[np.uint8]

#: Addresses of batches are multiples of this, the widest vector and a line of the cache: JAX copies other arrays.
_ALIGNMENT: Final = 64


class Buffers:
    """Arrays for batches of pixels.

    The kernel zeroes new memory page by page, which costs a sixth of decoding into it. So released memory is kept for
    the next batch. Threads may share one object.

    Args:
        samples: The most samples in a batch.
        sides: The shape of one image.
        numbers: The type of its numbers.
        batches: Batches of unused memory to keep, in addition to one.
        views: How many views there are of each image.

    Attributes:
        allocate: Returns new memory, uint8 (nbytes,). Another function may allocate memory of another kind.
    """

    def __init__(
        self, samples: int, sides: tuple[int, ...], numbers: np.dtype[Any], batches: int, views: int | None = None
    ) -> None:
        self.allocate: Callable[[int], _Memory] = _fresh
        self._samples, self._sides, self._numbers, self._batches, self._views = samples, sides, numbers, batches, views
        self._nbytes = samples * (views or 1) * math.prod(sides) * numbers.itemsize
        # A deque needs no lock. A lock would be wrong: a lease may end in the middle of any code, even of take(). In a
        # full deque, returned memory replaces the memory that has been free for longest.
        self._free: deque[_Memory] = deque(maxlen=1 + batches)

    def take(self, samples: int) -> PixelArray:
        """Return an array for some samples, with undefined contents.

        Returns:
            (samples, *sides), or (views, samples, *sides) if there are views.

        Raises:
            ValueError: For more samples than fit in a batch.
        """
        if samples > self._samples:
            raise ValueError(f"a batch has at most {self._samples:,} samples, got {samples:,}")
        try:
            memory = self._free.pop()
        except IndexError:
            memory = self.allocate(self._nbytes)
        sides = (samples, *self._sides) if self._views is None else (self._views, samples, *self._sides)
        return np.asarray(_BufferLease(memory, sides, self._numbers.str, self._free))

    def __reduce__(self) -> tuple[type[Buffers], tuple[object, ...]]:
        """Pickle without the memory: another process starts with none."""
        return Buffers, (self._samples, self._sides, self._numbers, self._batches, self._views)


def _fresh(nbytes: int) -> _Memory:
    memory = np.empty(nbytes + _ALIGNMENT - 1, dtype=np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    return memory[begin : begin + nbytes]


class _BufferLease:
    """Memory lent to one array. NumPy reads __array_interface__ and keeps this object as the base of the array.

    NumPy shortens a chain of views to the last array in it: the one over this lease. So every view keeps that array,
    and the array keeps the lease.
    """

    __slots__ = ("_free", "_memory", "_sides", "_type")

    def __init__(self, memory: _Memory, sides: tuple[int, ...], typestr: str, free: deque[_Memory]) -> None:
        self._memory, self._sides, self._type, self._free = memory, sides, typestr, free

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """The memory in the form that NumPy reads: writable."""
        return {"version": 3, "typestr": self._type, "shape": self._sides, "data": (self._memory.ctypes.data, False)}

    def __del__(self) -> None:
        """Give the memory back."""
        self._free.append(self._memory)
