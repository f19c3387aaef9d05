"""Assign items to tiers for least cost within capacities and rates, with a bound on the distance to the optimum.

This is the generalised assignment problem with two limits for each tier. It is solved in three steps:

1. Prices on the limits let each item choose alone, which also gives a lower bound of the optimum (dual_prices;
   Lagrangian relaxation: Fisher, Management Science 27, 1981).
2. The choices are mended until they keep all limits, and improved (local_search).
3. The gap to the bound is closed exactly for the few items that are still open (linear_program). If another tier would
   cost an item more than the whole gap, no better plan can move it, so it stays fixed.

Example: the two items of problem.py. The bound is 4.33. Under the prices both items choose the fast tier, or the first
one the slow tier; mending moves the first one, for cost 5. The integer program over both items proves that 5 is best.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiering.placement.dual_prices import Dual, best_dual
from tiering.placement.linear_program import large_ones, solve
from tiering.placement.local_search import improved, mended
from tiering.placement.problem import Choice, Problem, costs_of, excess, loads

#: Most choices (items x tiers) in one integer program, and its time limit in seconds.
EXACT_CHOICES: Final = 3000
EXACT_SECONDS: Final = 3.0
#: Relative gap to the bound at which a plan counts as optimal.
CLOSED: Final = 1e-4
#: Relative gap above which large items are placed first; how many of them; and how many groups the others form.
_WIDE: Final = 1e-3
_LARGE: Final = 150
_LARGE_GROUPS: Final = 700
#: Shares of the limits held back where no plan is found otherwise.
_TIGHTER: Final = (1e-3, 1e-2)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A plan.

    Attributes:
        choice: The tier number of each item.
        cost: The plan's cost, in the problem's unit.
        bound: No plan costs less.
        proven: Whether no plan costs less than this one (to 0.01 %).
    """

    choice: NDArray[np.intp]
    cost: float
    bound: float
    proven: bool

    @property
    def gap(self) -> float:
        """Largest possible excess of the cost over the optimum, as a share of the bound."""
        return max(0.0, self.cost - self.bound) / self.bound if self.bound > 0 else 0.0 if self.cost <= 0 else 1.0


def assign(problem: Problem) -> Assignment | None:
    """Find a plan. None where no plan was found that keeps the limits.

    The peak memory is about four times that of problem.cost. 10^6 items on 4 tiers take about 5 s
    (benchmarks/placement.py).
    """
    problem = problem.possible()
    if not np.isfinite(problem.cost.min(axis=0)).all() or _too_much(problem):
        return None
    dual = best_dual(problem)
    best = _first(problem, dual)
    for base, open_items in _parts(problem, dual, best):
        cost = np.inf if best is None else costs_of(problem, best)
        if cost - dual.bound <= CLOSED * dual.bound:
            break
        solved = solve(problem, base, open_items, EXACT_SECONDS)
        if solved is None:
            continue
        if best is None or costs_of(problem, solved.choice) < cost:
            best = improved(problem, solved.choice, dual.prices)
            cost = costs_of(problem, best)
        if _covers(problem, dual, base, open_items, cost):
            # The solver considered every plan that could be better.
            return Assignment(best, cost, max(dual.bound, min(cost, solved.bound)), solved.proven)
    if best is None:
        return None
    cost = costs_of(problem, best)
    return Assignment(best, cost, min(dual.bound, cost), proven=cost - dual.bound <= CLOSED * dual.bound)


def _too_much(problem: Problem) -> bool:
    """Return whether the items need more than all tiers together have, even each on the tier where it uses least."""
    least = np.where(np.isfinite(problem.cost), problem.use, np.inf).min(axis=1).sum(axis=1)
    return bool(least[0] > problem.limits[0].sum() or least[1] > problem.limits[1].sum() * (1 + 1e-9))


def _first(problem: Problem, dual: Dual) -> Choice | None:
    """Find a plan by prices. If its gap is wide, also find one with large items placed first, and return the better."""
    best = greedy(problem, dual)
    if problem.items <= EXACT_CHOICES // problem.tiers:
        return best
    for share in _TIGHTER:
        if best is None:
            # Slightly tighter limits leave space for whole items that do not divide evenly.
            best = greedy(problem, best_dual(replace(problem, limits=problem.limits * (1 - share))))
    if best is not None and costs_of(problem, best) - dual.bound <= _WIDE * dual.bound:
        return best
    plans = [plan for plan in (best, _large_first(problem, dual)) if plan is not None]
    return min(plans, key=lambda plan: costs_of(problem, plan), default=None)


def greedy(problem: Problem, dual: Dual) -> Choice | None:
    """Mend and improve the choices under prices. None where that does not keep the limits.

    It also tries everything on one tier, so the plan never costs more than that.
    """
    plans: list[Choice] = []
    for pushing in (False, True):
        if plans and costs_of(problem, plans[0]) - dual.bound <= _WIDE * dual.bound:
            break
        found = mended(problem, dual.mixed, dual.prices, pushing=pushing)
        if found is not None:
            plans.append(improved(problem, found, dual.prices))
    for tier in range(problem.tiers):
        whole = np.full(problem.items, tier, np.intp)
        if not excess(problem, whole).any():
            plans.append(improved(problem, whole, dual.prices))
    return min(plans, key=lambda choice: costs_of(problem, choice), default=None)


def _large_first(problem: Problem, dual: Dual) -> Choice | None:
    """Place the items that use most of any limit exactly, then the others in the remaining capacity.

    Prices cannot guide an item that fills a third of a tier: its tier decides many others.
    """
    shares = np.where(np.isfinite(problem.cost), (problem.use / problem.limits[:, :, None]).max(axis=0), 0.0)
    order = np.argsort(-shares.max(axis=0), kind="stable")
    large, small = order[:_LARGE], np.sort(order[_LARGE:])
    if not len(small):
        return None
    parts = problem.part(large, problem.limits), problem.part(small, problem.limits).grouped(_LARGE_GROUPS)
    joined = Problem(
        np.concatenate([part.cost for part in parts], axis=1),
        np.concatenate([part.use for part in parts], axis=2),
        problem.limits,
        np.concatenate([part.like for part in parts]),
    )
    chosen = large_ones(joined, len(large), EXACT_SECONDS)
    if chosen is None:
        return None
    taken = loads(parts[0], chosen)
    # A fully used limit becomes a tiny positive number, because limits must be > 0.
    left = np.maximum(problem.limits - taken, np.where(np.isfinite(problem.limits), problem.limits, 1.0) * 1e-12)
    rest = problem.part(small, left).possible()
    found = greedy(rest, best_dual(rest))
    if found is None:
        return None
    choice = np.empty(problem.items, np.intp)
    choice[large], choice[small] = chosen, found
    return None if excess(problem, choice).any() else improved(problem, choice, dual.prices)


def _parts(problem: Problem, dual: Dual, best: Choice | None) -> Iterator[tuple[Choice, Choice]]:
    """Yield the questions for the exact solver: a plan, and the items that it may move.

    First come the items that the prices decide least clearly, then also those that were moved against the prices.
    """
    count = EXACT_CHOICES // problem.tiers
    if count >= problem.items:
        yield dual.choice, np.arange(problem.items)
        return
    regret = problem.regret(dual.prices)
    yield dual.mixed, np.argpartition(regret, count)[:count]
    if best is None:
        return
    moved = np.flatnonzero(best != dual.choice)
    if len(moved) > count // 2:
        moved = moved[np.argsort(-problem.cost[best[moved], moved], kind="stable")][: count // 2]
    regret[moved] = -1.0
    yield best, np.argpartition(regret, count)[:count]


def _covers(problem: Problem, dual: Dual, base: Choice, open_items: Choice, cost: float) -> bool:
    """Return whether every plan cheaper than `cost` leaves all other items where they are in `base`."""
    outside = np.ones(problem.items, bool)
    outside[open_items] = False
    if not outside.any():
        return True
    settled = problem.regret(dual.prices)[outside] > cost - dual.bound
    return bool(settled.all() and (base == dual.choice)[outside].all())
