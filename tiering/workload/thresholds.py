"""The probabilities from which on there is a verdict, chosen for a risk: how many verdicts may be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

#: The share of the verdicts on generated runs that may be wrong, for each threshold.
VERDICT_RISK: Final = 0.02
#: The share of all parts of recorded runs, with and without a verdict, that may get a wrong one.
PART_RISK: Final = 0.01
#: Wrong verdicts that are added to those seen, since a few right ones prove nothing: on generated runs, and on recorded
#: ones, where a run of an unknown program may be misjudged from each of its four beginnings.
_ONE_MORE, _A_RUN_MORE = 1, 4
#: No forecast is a verdict below this: half is the least that "likely" can mean.
_LEAST: Final = 0.5
#: No forecast is as sure as this.
_NEVER: Final = math.nextafter(1.0, 2.0)


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


def lowest_thresholds(
    sure: npt.NDArray[np.float64],
    right: npt.NDArray[np.bool_],
    grounds: npt.NDArray[np.str_],
    recorded: npt.NDArray[np.bool_],
    parts: int,
) -> Thresholds:
    """Return the lowest thresholds that together keep VERDICT_RISK and PART_RISK.

    This is the selective risk of Geifman and El-Yaniv (NeurIPS 2017). Each threshold keeps VERDICT_RISK by itself.
    While PART_RISK is not kept, a threshold is raised above its least sure wrong verdict on a recorded run: the one
    where that withholds the fewest verdicts.

    Args:
        sure: The probability of the likeliest workload of each forecast, float64 (n,).
        right: Whether that was the workload, bool (n,).
        grounds: The name of the threshold that applies, str (n,).
        recorded: Whether the run was recorded; else it was generated, bool (n,).
        parts: The number of parts of recorded runs, those without a forecast included.

    Returns:
        Probabilities in [0.5, 1]; above 1, which no forecast reaches, where no threshold keeps the risks.

    Example:
        >>> sure, shown = np.linspace(0.5, 1, 500), np.full(500, "shown")
        >>> lowest_thresholds(sure, sure > 0.6, shown, np.zeros(500, bool), 0).shown < 0.6  # 2 % are wrong
        True
    """
    of = {each.name: grounds == each.name for each in fields(Thresholds)}
    bounds = {name: _lowest(sure[mine & ~recorded], right[mine & ~recorded]) for name, mine in of.items()}
    while True:
        answered = sure >= np.array([bounds[str(name)] for name in grounds])
        wrong = answered & recorded & ~right
        if not parts or wrong.sum() + _A_RUN_MORE <= PART_RISK * (parts + _A_RUN_MORE):
            return Thresholds(**bounds)
        higher = {name: _raised(sure[mine], wrong[mine]) for name, mine in of.items() if (mine & wrong).any()}
        if not higher:
            return Thresholds(**dict.fromkeys(of, _NEVER))
        lost = {name: (answered & of[name] & (sure < bound)).sum() for name, bound in higher.items()}
        name = min(lost, key=lost.__getitem__)
        bounds[name] = higher[name]


def _lowest(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """Return the lowest threshold that keeps VERDICT_RISK."""
    order = np.argsort(-sure, kind="stable")
    wrong, count = np.cumsum(~right[order]), np.arange(1, len(order) + 1)
    kept = np.flatnonzero(wrong + _ONE_MORE <= VERDICT_RISK * (count + _ONE_MORE))
    return max(_LEAST, float(sure[order[kept[-1]]])) if len(kept) else _NEVER


def _raised(sure: npt.NDArray[np.float64], wrong: npt.NDArray[np.bool_]) -> float:
    """Return the lowest probability above that of the least sure wrong verdict."""
    return float(sure[sure > sure[wrong].min()].min(initial=_NEVER))
