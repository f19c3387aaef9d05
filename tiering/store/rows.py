"""Rows: the numbers of some samples of a store, rising, as a range or as an array of 4 or 8 bytes each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tiering.arrays import AnyArray, IndexArray, MaskArray

#: A range takes no memory. An array is uint32, or int64 in a store of 2**32 samples or more.
Rows = range | npt.NDArray[np.integer[Any]]


def rows_type(samples: int) -> type[np.uint32 | np.int64]:
    """Return the type of the rows of a store with this many samples."""
    return np.uint32 if samples <= 1 << 32 else np.int64


def compact(rows: AnyArray, samples: int) -> Rows:
    """Return rising, different rows in their smallest form: a range if they follow each other at one distance.

    Args:
        rows: int (n,), rising.
        samples: Samples in the store.
    """
    if not len(rows):
        return range(0)
    first, last = int(rows[0]), int(rows[-1])
    step, rest = divmod(last - first, max(1, len(rows) - 1))
    if not rest and _is_even(rows, step):
        return range(first, last + 1, max(1, step))
    found: npt.NDArray[np.integer[Any]] = np.ascontiguousarray(rows, dtype=rows_type(samples))
    return found


def even(rows: range) -> range:
    """Return a rising range of the same numbers in the form that `compact` gives them."""
    rising = rows if rows.step > 0 else rows[::-1]
    if not len(rising):
        return range(0)
    return range(rising[0], rising[-1] + 1, rising.step if len(rising) > 1 else 1)


def _is_even(rows: AnyArray, step: int, piece: int = 1 << 20) -> bool:
    """Return whether the distance of all neighbours is the step; rising rows at distance 1 need no look."""
    ends = range(0, len(rows), piece)
    return step == 1 or all(bool((np.diff(rows[at : at + piece + 1]) == step).all()) for at in ends)


def numbers_at(rows: Rows, indices: IndexArray) -> IndexArray:
    """Return the rows at some positions, both int64 (k,)."""
    if isinstance(rows, range):
        return indices if rows == range(len(rows)) else indices * rows.step + rows.start
    return rows[indices].astype(np.int64, copy=False)


def composed(outer: Rows, inner: Rows, samples: int) -> Rows:
    """Return the rows of a selection from a selection.

    Args:
        outer: Rows of a store.
        inner: Positions in `outer`.
        samples: Samples in the store.
    """
    if isinstance(inner, range):
        chosen = outer[inner.start : inner.stop : inner.step]
        # A copy, because a view would keep all of the outer rows alive.
        return even(chosen) if isinstance(chosen, range) else compact(chosen.copy(), samples)
    if isinstance(outer, range):
        return compact(numbers_at(outer, inner.astype(np.int64)), samples)
    return compact(outer[inner], samples)


def joined(parts: Iterable[AnyArray], samples: int) -> Rows:
    """Return rows that come in parts, in their smallest form. Takes twice their memory for a moment.

    Args:
        parts: Arrays of int, (n,) each, rising from one to the next.
        samples: Samples in the store.
    """
    kind = rows_type(samples)
    found = [part.astype(kind, copy=False) for part in parts]
    return compact(np.concatenate(found) if found else np.empty(0, kind), samples)


def flagged(flags: MaskArray, count: int | None = None) -> Rows:
    """Return the rows at which flags are set.

    Args:
        flags: bool (n,), one for each sample of the store.
        count: How many are set, if that is known.
    """
    kind, size = rows_type(len(flags)), 1 << 22
    rows = np.empty(int(np.count_nonzero(flags)) if count is None else count, dtype=kind)
    filled = 0
    for begin in range(0, len(flags), size):
        part = np.flatnonzero(flags[begin : begin + size])
        rows[filled : filled + len(part)] = part + begin
        filled += len(part)
    return compact(rows, len(flags))
