"""The probabilities from which on there is a verdict, chosen for a risk: how many verdicts may be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

#: The share of verdicts that may be wrong.
RISK: Final = 0.02
#: No forecast is a verdict below this: half is the least that "likely" can mean.
_LEAST: Final = 0.5


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Probabilities from which on a forecast is a verdict.

    Attributes:
        forecast: Beyond what the trace shows. The same holds for read-once: until something is read twice, every run
            looks like a single pass.
        shown: If the definition, applied to the trace so far, already gives the same.
        mixed: If it already gives mixed, which lies between the others, so that the rest of the run may tip it.
    """

    forecast: float = 0.95
    shown: float = 0.85
    mixed: float = 0.85


def lowest_threshold(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], risk: float = RISK) -> float:
    """Return the lowest probability from which on at most a share `risk` of the forecasts is wrong.

    This is the selective risk of Geifman and El-Yaniv (NeurIPS 2017). One wrong forecast is added to those seen, so
    that a few right ones prove nothing.

    Args:
        sure: The probability of the likeliest workload of each forecast, float64 (n,).
        right: Whether that was the workload, bool (n,).
        risk: The share that may be wrong, in (0, 1).

    Returns:
        A probability in [0.5, 1]; above 1 if no threshold keeps the risk.

    Example:
        >>> lowest_threshold(np.linspace(0.5, 1, 500), np.arange(500) >= 100) < 0.62
        True
    """
    order = np.argsort(-sure, kind="stable")
    count = np.arange(1, len(order) + 1)
    share = (np.cumsum(~right[order]) + 1) / (count + 1)
    kept = np.flatnonzero((count >= math.ceil(1 / risk)) & (share <= risk))
    return max(_LEAST, float(sure[order[kept[-1]]])) if len(kept) else math.nextafter(1.0, 2.0)
