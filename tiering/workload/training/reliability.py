"""Reliability: how often forecasts of a probability are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Forecasts of nearly the same probability: how many, their mean probability, and the share that was right."""

    count: int
    sure: float
    right: float


def bins(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> list[Bin]:
    """Put forecasts into ten bins of equal width, and leave out the empty ones.

    sure: the probability of the likeliest workload of each, float64 (n,). right: whether that was it, bool (n,).
    """
    number = np.minimum((sure * _BINS).astype(np.int64), _BINS - 1)
    of = [number == each for each in np.unique(number)]
    return [Bin(int(mine.sum()), float(sure[mine].mean()), float(right[mine].mean())) for mine in of]


def calibration_error(found: Sequence[Bin]) -> float:
    """Return the expected calibration error (Guo et al., ICML 2017, section 2)."""
    total = sum(each.count for each in found)
    return sum(each.count * abs(each.sure - each.right) for each in found) / total if total else 0.0
