"""Sampling: some rows of a store, drawn at random."""

from __future__ import annotations

import reprlib
from fractions import Fraction
from typing import Any, Final

import numpy as np

from tiering.arrays import MaskArray
from tiering.errors import UsageError
from tiering.permutation import EpochOrder
from tiering.store.rows import Rows, compact, flagged, rows_type

#: Positions drawn at once.
_DRAWN: Final = 1 << 20


def drawn_rows(samples: int, amount: Any, seed: int) -> Rows:
    """Return rows drawn at random, rising. Takes some 30 ns for each, of the drawn or the others, whichever are fewer.

    The rows are those at the first positions of an EpochOrder, so a larger amount contains a smaller one.

    Args:
        samples: Samples in the store.
        amount: A share as a float in (0, 1], or a number of samples as an int.
        seed: Any integer.

    Raises:
        UsageError: For another amount.
    """
    count = _count(samples, amount)
    if count == samples:
        return range(samples)
    order = EpochOrder(samples, seed, stream="sample")
    if count > samples // 2:
        keep: MaskArray = np.ones(samples, dtype=np.bool_)
        for begin in range(count, samples, _DRAWN):
            keep[order.take(begin, min(begin + _DRAWN, samples))] = False
        return flagged(keep, count)
    rows = np.empty(count, dtype=rows_type(samples))
    for begin in range(0, count, _DRAWN):
        rows[begin : begin + _DRAWN] = order.take(begin, min(begin + _DRAWN, count))
    rows.sort()
    return compact(rows, samples)


def _count(samples: int, amount: Any) -> int:
    count = 0
    if isinstance(amount, int | np.integer) and not isinstance(amount, bool):
        count = int(amount)
    elif isinstance(amount, float | np.floating) and 0 < amount <= 1:
        count = int(Fraction(repr(float(amount))) * samples + Fraction(1, 2))
    if 1 <= count <= samples:
        return count
    raise UsageError(
        "amount", rule=f"must be a share above 0 and up to 1.0, or a number of samples from 1 to {samples:,}",
        found=reprlib.repr(amount),
    )  # fmt: skip
