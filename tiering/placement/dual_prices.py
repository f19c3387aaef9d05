"""Prices on capacity and rate under which each item chooses its own tier, and the lower bound that follows from them.

The idea: put a price on each limit. Then every item can choose its cheapest tier alone, because the price keeps others
away from scarce capacity. For any prices, the sum of these choices minus the price of all limits is a lower bound of
the optimum (Lagrangian relaxation). The best prices give the highest bound.

The bound is a concave function of the prices. Each choice of all items is a plane above it, so the minimum of the
planes found so far overestimates it. We go to the maximum of that minimum, add the plane found there, and repeat until
both meet (cutting planes: Kelley, J. SIAM 8, 1960). A box around the best prices keeps the steps short. At the end, the
planes that meet at the maximum say in which shares their choices must be mixed to use no more than the limits allow.

Example, with the two items of problem.py: without prices both choose the fast tier, 80 bytes of 60, and the bound is 3.
At a price of 4 for all 60 bytes, the items pay 1 + 2 and 2 + 3.33 there, against 3 and 9 on the slow tier. The first
item no longer minds moving, and the bound rises to 3 + 5.33 - 4 = 4.33. The optimum is 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from tiering.placement.linear_program import prices_of
from tiering.placement.problem import Choice, Floats, Problem, costs_of

#: Groups of like items in the linear program that finds the first prices.
GROUPS: Final = 3000
#: Most evaluations of all items, and the relative gap at which prices are good enough.
_STEPS: Final = 40
_CLOSED: Final = 2e-5


@dataclass(frozen=True, slots=True)
class Dual:
    """Prices, and the choices and the bound under them.

    Attributes:
        prices: [limit, tier]: the price of the whole limit.
        choice: The tier of each item under these prices.
        bound: No plan costs less.
        mixed: Choices under these and other prices, mixed so that they nearly keep the limits.
    """

    prices: Floats
    choice: Choice
    bound: float
    mixed: Choice


def relaxed(problem: Problem, prices: Floats) -> Dual:
    """Choose for each item the tier with the least sum of cost and price.

    prices: price of each tier's whole capacity (row 0) and whole rate (row 1), at least 0.
    """
    best = problem.priced(0, prices)
    choice = np.zeros(problem.items, np.intp)
    for tier in range(1, problem.tiers):
        cost = problem.priced(tier, prices)
        better = cost < best
        choice[better] = tier
        np.minimum(best, cost, out=best)
    return Dual(prices, choice, float(best.sum() - prices.sum()), choice)


def best_dual(problem: Problem) -> Dual:
    """Find nearly the best prices; exactly the best where items are few."""
    groups = problem.grouped(GROUPS)
    start = prices_of(groups)
    found = relaxed(problem, np.zeros((2, problem.tiers)) if start is None else start)
    return found if start is not None and groups is problem else _raised(problem, found)


def _raised(problem: Problem, best: Dual) -> Dual:
    """Raise the bound by cutting planes, starting from these prices."""
    planes: list[tuple[float, Floats]] = []
    choices: list[NDArray[np.uint8]] = []
    shares = np.ones(1)
    finite = np.isfinite(problem.limits).ravel()
    at, width = best, 2.0
    for _ in range(_STEPS):
        slope = problem.used(at.choice).ravel() - 1.0
        planes.append((costs_of(problem, at.choice), np.where(finite, slope, 0.0)))
        choices.append(at.choice.astype(np.uint8))
        least = 1e-3 * abs(best.bound) / problem.tiers
        center = best.prices.ravel()
        low, high = np.maximum(0.0, center / width - least), center * width + least
        prices, promised, shares = _highest(planes, low, np.where(finite, high, 0.0), max(abs(best.bound), 1e-300))
        inside = bool(((prices > low) | (low == 0)).all() and ((prices < high) | ~finite).all())
        if promised - best.bound <= _CLOSED * abs(best.bound) and inside:
            break
        at = relaxed(problem, prices.reshape(best.prices.shape))
        if at.bound > best.bound:
            best = at
            width = width if inside else width * 1.5
        else:
            width = max(1.01, width**0.7)
    return replace(best, mixed=_mixed(problem, choices, shares))


def _mixed(problem: Problem, choices: list[NDArray[np.uint8]], shares: Floats) -> Choice:
    """Give each item its tier from one of several plans, in these shares, evenly among items of similar cost."""
    order = np.argsort(problem.cost[0], kind="stable")
    # Multiples of the golden ratio fill [0, 1) evenly, wherever a run of them begins and ends.
    spread = np.modf(np.arange(1, problem.items + 1) * 0.6180339887498949)[0]
    chosen = np.searchsorted(np.cumsum(shares)[:-1], spread, side="right")
    mixed = np.empty(problem.items, np.intp)
    for number in np.unique(chosen):
        items = order[chosen == number]
        mixed[items] = choices[number][items]
    return mixed


def _highest(
    planes: list[tuple[float, Floats]], low: Floats, high: Floats, unit: float
) -> tuple[Floats, float, Floats]:
    """Return the prices in the box where the lowest plane is highest, its height, and the shares of the planes."""
    size = len(low)
    rows = np.stack([np.append(-slope, 1.0) for _, slope in planes])
    found: Any = linprog(
        np.append(np.zeros(size), -1.0),
        A_ub=rows,
        b_ub=np.array([height for height, _ in planes]) / unit,
        bounds=[*zip(low / unit, high / unit, strict=True), (None, None)],
        method="highs",
    )
    if found.status != 0:
        return low, -np.inf, np.eye(1, len(planes))[0]
    shares = np.maximum(0.0, -found.ineqlin.marginals)
    return np.clip(found.x[:-1] * unit, low, high), float(found.x[-1]) * unit, shares / shares.sum()
