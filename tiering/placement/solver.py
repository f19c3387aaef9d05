"""Assign items to tiers for least cost within capacities and rates, with a bound on how far from the optimum it is.

This is the generalised assignment problem with two limits for each tier. Prices on the limits make it fall apart into
one choice for each item, which also gives a lower bound of the optimum (Lagrangian relaxation; Fisher, Management
Science 27, 1981; dual_prices). The choices are mended until they keep all limits, and improved
(local_search). What the bound leaves open is given to an exact solver (linear_program), as long as it is
small: an item whose other choices cost more than the gap that is left cannot lie elsewhere in any better plan.
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

#: Choices (items x tiers) that the exact solver is given at once, s that it may take, and times that it is asked.
EXACT_CHOICES: Final = 3000
EXACT_SECONDS: Final = 3.0
EXACT_TIMES: Final = 3
#: A relative gap to the bound at which nothing is left to win.
CLOSED: Final = 1e-4
#: A relative gap from which on large items are chosen first, how many of them, beside how many groups of others.
_WIDE: Final = 1e-3
_LARGE: Final = 150
_LARGE_GROUPS: Final = 700
#: Shares of the limits that are held back where no plan is found without.
_TIGHTER: Final = (1e-3, 1e-2)


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
            # Every better plan is among those that the solver looked at.
            return Assignment(best, cost, max(dual.bound, min(cost, solved.bound)), solved.proven)
    if best is None:
        return None
    cost = costs_of(problem, best)
    return Assignment(best, cost, min(dual.bound, cost), proven=cost - dual.bound <= CLOSED * dual.bound)


def _too_much(problem: Problem) -> bool:
    """Tell whether items need more than all tiers together have, even each where it uses least."""
    least = np.where(np.isfinite(problem.cost), problem.use, np.inf).min(axis=1).sum(axis=1)
    return bool(least[0] > problem.limits[0].sum() or least[1] > problem.limits[1].sum() * (1 + 1e-9))


def _first(problem: Problem, dual: Dual) -> Choice | None:
    """Find a plan by prices; where it leaves a wide gap, also with large items chosen first, and take the better."""
    best = greedy(problem, dual)
    if problem.items <= EXACT_CHOICES // problem.tiers:
        return best
    for share in _TIGHTER:
        if best is None:
            # Under limits a little tighter the choices leave room to mend what whole items do not divide.
            best = greedy(problem, best_dual(replace(problem, limits=problem.limits * (1 - share))))
    if best is not None and costs_of(problem, best) - dual.bound <= _WIDE * dual.bound:
        return best
    plans = [plan for plan in (best, _large_first(problem, dual)) if plan is not None]
    return min(plans, key=lambda plan: costs_of(problem, plan), default=None)


def greedy(problem: Problem, dual: Dual) -> Choice | None:
    """Mend and improve the choices under prices; None where the limits cannot be kept so.

    Everything on one tier is tried as well, so the plan never costs more than that.
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
    """Choose for the items that use most of any limit exactly, then for the others under what is left.

    Prices say nothing of an item that takes a third of a tier: it is there or it is not, and much follows from it.
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
    # What is used up to the last byte is a limit of nearly nothing: limits are above 0.
    left = np.maximum(problem.limits - taken, np.where(np.isfinite(problem.limits), problem.limits, 1.0) * 1e-12)
    rest = problem.part(small, left).possible()
    found = greedy(rest, best_dual(rest))
    if found is None:
        return None
    choice = np.empty(problem.items, np.intp)
    choice[large], choice[small] = chosen, found
    return None if excess(problem, choice).any() else improved(problem, choice, dual.prices)


def _parts(problem: Problem, dual: Dual, best: Choice | None) -> Iterator[tuple[Choice, Choice]]:
    """Yield what the exact solver is asked: a plan, and the items that it may move.

    First those that the prices decide least, then also those that had to be moved against the prices.
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
    """Tell whether no plan cheaper than cost has any other item elsewhere than in base."""
    outside = np.ones(problem.items, bool)
    outside[open_items] = False
    if not outside.any():
        return True
    settled = problem.regret(dual.prices)[outside] > cost - dual.bound
    return bool(settled.all() and (base == dual.choice)[outside].all())
