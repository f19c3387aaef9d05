"""Apportionment: divides a number of samples by shares, in whole numbers that add up to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction


def apportioned(
    total: int, weights: Sequence[int] | Sequence[Fraction], most: Sequence[int] | None = None
) -> list[int]:
    """Divide a number of samples by weights: each share rounded down, and one more for the largest remainders.

    total: to divide. weights: at least 0, not all 0. most: the largest number for each; they must allow the total.
    Returns numbers that add up to the total (Hamilton's method; ties go to the first).

    Example: `apportioned(10, [2, 1])` returns [7, 3].
    """
    whole = sum(weights)
    exact = [Fraction(total * weight) / whole for weight in weights]
    room = [total] * len(exact) if most is None else list(most)
    found = [min(math.floor(share), limit) for share, limit in zip(exact, room, strict=True)]
    while (rest := total - sum(found)) > 0:
        open_ = [at for at in range(len(exact)) if found[at] < room[at]]
        if rest >= len(open_):  # some have reached their limit: the others divide what these lack
            for at in open_:
                found[at] += min(room[at] - found[at], max(1, rest // len(open_)))
        else:
            for at in sorted(open_, key=lambda at: found[at] - exact[at])[:rest]:
                found[at] += 1
    return found
