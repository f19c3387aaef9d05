"""The numbers of samples that a caller gives to a store: checked, and as an array."""

from __future__ import annotations

import operator
import reprlib
from typing import Any

import numpy as np

from tiering.arrays import IndexArray


def as_index(i: Any, samples: int) -> int:
    """Return the number of one sample from 0, where negative ones count from the end.

    Raises TypeError for a non-integer, IndexError for a number outside the store.
    """
    try:
        number = None if isinstance(i, bool) else operator.index(i)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"a store's index must be an integer, got {reprlib.repr(i)} ({type(i).__name__})")
    if not -samples <= number < samples:
        raise IndexError(f"sample {number} of a store of {samples:,}")
    return number % samples


def as_indices(indices: Any, samples: int) -> IndexArray:
    """Return the indices of a store with this many samples as int64 (n,); takes about 1 us.

    Raises TypeError if they are not a list of integers, IndexError for one outside [0, samples). NumPy itself would
    turn a mask into numbers, and count negative indices from the end of the wrong array.
    """
    try:
        found = np.asarray(indices)
    except ValueError:  # lists of different lengths
        found = np.empty((0, 0))
    if found.ndim != 1:
        raise TypeError(f"a store takes a list of indices, got {reprlib.repr(indices)} ({type(indices).__name__})")
    if found.size and found.dtype.kind not in "iu":
        raise TypeError(f"a store's indices must be integers, got {reprlib.repr(indices)} ({found.dtype})")
    asked: IndexArray = np.ascontiguousarray(found, dtype=np.int64)
    # As unsigned numbers, negative indices are huge: one pass finds both kinds.
    if asked.size and int(np.maximum.reduce(asked.view(np.uint64))) >= samples:
        outside = (asked < 0) | (asked >= samples)
        raise IndexError(f"sample {found[int(np.argmax(outside))]} of a store of {samples:,}")
    return asked


def inside(indices: IndexArray, samples: int) -> IndexArray:
    """Return the indices in [0, samples), for an announcement: `read` will raise for the others."""
    return indices[(indices >= 0) & (indices < samples)]
