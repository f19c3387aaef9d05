"""Assign items to tiers for least cost within capacities and rates, with a bound on how far from the optimum it is.

This is the generalised assignment problem with two limits for each tier. Prices on the limits make it fall apart into
one choice for each item, and whatever the prices are, the sum of these choices is a lower bound of the optimum
(Lagrangian relaxation; Fisher, Management Science 27, 1981). The prices are the duals of a linear program over groups
of like items. The choices are then mended until they keep all limits, and improved. What the bound leaves open is given
to an exact solver (HiGHS, by scipy), as long as it is small: an item whose other choices cost more than the gap that is
left cannot lie elsewhere in any better plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiering.tiers.exact import prices_of, solve
from tiering.tiers.mend import improved, mended
from tiering.tiers.problem import Problem, costs_of, excess

#: Groups of like items in the linear program that gives the prices.
GROUPS: Final = 3000
#: Choices (items x tiers) that the exact solver is given, and s that it may take.
EXACT_CHOICES: Final = 3000
EXACT_SECONDS: Final = 5.0
#: A relative gap to the bound at which nothing is left to win.
CLOSED: Final = 1e-4
#: Steps in which prices are mended on all items.
_STEPS: Final = 12


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which item goes where.

    choice: for each item the number of its tier. cost: of all, in the problem's unit. bound: no plan costs less.
    proven: an exact solver showed that none costs less than this one (to 0.01 %).
    """

    choice: NDArray[np.intp]
    cost: float
    bound: float
    proven: bool

    @property
    def gap(self) -> float:
        """Share of the bound by which the plan may cost more than the optimum, at most."""
        return max(0.0, self.cost - self.bound) / self.bound if self.bound > 0 else 0.0 if self.cost <= 0 else 1.0


def assign(problem: Problem) -> Assignment | None:
    """Find a plan; None where none was found that keeps the limits.

    Memory is about four times that of problem.cost. 10^6 items on 4 tiers take about 5 s (benchmarks/placement.py).
    """
    groups = problem.grouped(GROUPS)
    start = prices_of(groups)
    if start is None and len(groups.like) == problem.items:
        return None
    prices = np.zeros((2, problem.tiers)) if start is None else start
    relaxed = relaxation(problem, prices)
    if len(groups.like) < problem.items:
        relaxed, prices = _sharpened(problem, relaxed, prices)
    found = greedy(problem, relaxed, prices)
    return _exactly(problem, prices, relaxed.bound, found)


@dataclass(frozen=True, slots=True)
class Relaxed:
    """The cheapest choice for each item under prices, and the bound that follows."""

    choice: NDArray[np.intp]
    bound: float


def relaxation(problem: Problem, prices: NDArray[np.float64]) -> Relaxed:
    """Choose for each item the tier of least cost and price.

    prices: cost of the whole capacity (row 0) and of the whole rate (row 1) of each tier, at least 0.
    """
    best = problem.priced(0, prices)
    choice = np.zeros(problem.items, np.intp)
    for tier in range(1, problem.tiers):
        cost = problem.priced(tier, prices)
        better = cost < best
        choice[better] = tier
        np.minimum(best, cost, out=best)
    return Relaxed(choice, float(best.sum() - prices.sum()))


def greedy(problem: Problem, relaxed: Relaxed, prices: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """Mend and improve the choices under prices; None where the limits cannot be kept so.

    Everything on one tier is tried as well, so the plan never costs more than that.
    """
    found = mended(problem, relaxed.choice, prices)
    plans = [] if found is None else [improved(problem, found, prices)]
    for tier in range(problem.tiers):
        whole = np.full(problem.items, tier, np.intp)
        if not excess(problem, whole).any():
            plans.append(improved(problem, whole, prices))
    return min(plans, key=lambda choice: costs_of(problem, choice), default=None)


def _sharpened(problem: Problem, relaxed: Relaxed, prices: NDArray[np.float64]) -> tuple[Relaxed, NDArray[np.float64]]:
    """Take some subgradient steps on all items, whose groups were not quite alike; keep the best bound."""
    best, best_prices, at = relaxed, prices, prices
    size = 0.02
    for _ in range(_STEPS):
        over = problem.used(relaxed.choice) - 1.0
        over[~np.isfinite(problem.limits)] = 0.0
        scale = float((over**2).sum())
        if scale <= 1e-12:
            break
        at = np.maximum(0.0, at + size * abs(best.bound) / scale * over)
        relaxed = relaxation(problem, at)
        if relaxed.bound > best.bound:
            best, best_prices = relaxed, at
        else:
            size /= 2
            at = best_prices
            relaxed = best
    return best, best_prices


def _exactly(
    problem: Problem, prices: NDArray[np.float64], bound: float, found: NDArray[np.intp] | None
) -> Assignment | None:
    """Give what the bound leaves open to the exact solver, as far as it is small enough."""
    made = None if found is None else Assignment(found, costs_of(problem, found), bound, proven=False)
    if made is not None and made.gap <= CLOSED:
        return made
    regret = problem.regret(prices)
    count = min(problem.items, EXACT_CHOICES // problem.tiers)
    least = np.argpartition(regret, count - 1)[:count] if count < problem.items else np.arange(problem.items)
    left_out = float(np.delete(regret, least).min()) if count < problem.items else np.inf
    base = relaxation(problem, prices).choice if found is None else found
    solved = solve(problem, base, least, EXACT_SECONDS)
    if solved is None:
        return made
    cost = costs_of(problem, solved.choice)
    whole = made is not None and left_out > made.cost - bound and _settled(problem, found, prices, least)
    whole |= count == problem.items
    # What the solver could not rule out bounds the whole only where every item outside was rightly fixed.
    proven_bound = max(bound, min(cost, solved.bound)) if whole else bound
    if made is not None and made.cost <= cost:
        return replace(made, bound=max(bound, min(made.cost, proven_bound)), proven=whole and solved.proven)
    return Assignment(solved.choice, cost, proven_bound, proven=whole and solved.proven)


def _settled(
    problem: Problem, found: NDArray[np.intp] | None, prices: NDArray[np.float64], open_items: NDArray[np.intp]
) -> bool:
    """Tell whether every item outside the open ones lies where prices put it."""
    if found is None:
        return False
    same = relaxation(problem, prices).choice == found
    same[open_items] = True
    return bool(same.all())
