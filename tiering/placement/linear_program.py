"""What HiGHS solves, by scipy: the linear program behind the prices, small problems exactly, and what is short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array, hstack, identity, kron, vstack

from tiering.placement.problem import Choice, Floats, Problem, costs_of, excess, loads

#: Relative gap at which the exact solver may stop.
GAP: Final = 5e-5
#: What a whole limit is to the solver, whose tolerance of 1e-6 is absolute.
_SCALE: Final = 1e2


@dataclass(frozen=True, slots=True)
class Solved:
    """What the exact solver found: a plan for all items, a bound given the items that were fixed, and its word."""

    choice: Choice
    bound: float
    proven: bool


def prices_of(problem: Problem) -> Floats | None:
    """Return the price of each whole limit, [limit, tier]: the duals of the linear relaxation; None if infeasible."""
    rows, rest, where = _limit_rows(problem, problem.limits)
    unit = _unit(problem)
    found: Any = linprog(
        _finite(problem) / unit,
        A_ub=rows,
        b_ub=rest,
        A_eq=_one_each(problem),
        b_eq=np.ones(problem.items),
        bounds=np.stack([np.zeros(problem.cost.size), _allowed(problem)], axis=1),
        method="highs",
    )
    if found.status != 0:
        return None
    prices = np.zeros(problem.limits.shape)
    prices[where] = np.maximum(0.0, -found.ineqlin.marginals) * unit * _SCALE
    return prices


def shortage(problem: Problem) -> Floats:
    """Return by how much each limit would have to grow, [limit, tier], in shares of the whole, least in all.

    All 0 where items could be divided between tiers to keep the limits.
    """
    rows, rest, where = _limit_rows(problem, problem.limits)
    count, choices = len(rest), problem.items * problem.tiers
    slack = -_SCALE * identity(count, format="csr")
    found: Any = linprog(
        np.concatenate([np.zeros(choices), np.ones(count)]),
        A_ub=hstack([rows, slack], format="csr"),
        b_ub=rest,
        A_eq=hstack([_one_each(problem), csr_array((problem.items, count))], format="csr"),
        b_eq=np.ones(problem.items),
        method="highs",
    )
    short = np.zeros(problem.limits.shape)
    if found.status == 0:
        short[where] = np.where(found.x[choices:] > 1e-7, found.x[choices:], 0.0)
    return short


def solve(problem: Problem, base: Choice, open_items: Choice, seconds: float, *, gap: float = GAP) -> Solved | None:
    """Choose the tiers of some items exactly, the others staying as in base; None where no plan was found.

    seconds: that the solver may take. gap: relative, at which it may stop.
    """
    fixed = np.ones(problem.items, bool)
    fixed[open_items] = False
    taken = np.stack([problem.use[:, tier, fixed & (base == tier)].sum(axis=1) for tier in range(problem.tiers)], 1)
    part = problem.part(open_items, problem.limits)
    remaining = problem.limits - taken
    if (remaining < -1e-9 * np.where(np.isfinite(problem.limits), problem.limits, 0.0)).any():
        return None
    unit = _unit(part)
    # A limit may come out broken by the solver's tolerance: then once more with limits as much tighter.
    for tightened in (0.0, 2e-6 / _SCALE):
        rows, rest, _ = _limit_rows(part, remaining - tightened * np.where(np.isfinite(remaining), problem.limits, 0))
        found: Any = milp(
            _finite(part) / unit,
            integrality=np.ones(part.cost.size),
            bounds=Bounds(0, _allowed(part)),
            constraints=[
                LinearConstraint(rows, -np.inf, rest),
                LinearConstraint(_one_each(part), 1, 1),
            ],
            # Without presolve HiGHS is no slower here, and prints less to a stdout that is not its own.
            options={"time_limit": seconds, "mip_rel_gap": gap, "presolve": False},
        )
        if found.x is None:
            return None
        choice = base.copy()
        choice[open_items] = np.argmax(found.x.reshape(problem.tiers, -1), axis=0)
        if not excess(problem, choice).any():
            break
    else:
        return None
    kept = float(problem.cost[base[fixed], np.flatnonzero(fixed)].sum())
    bound = kept + float(found.mip_dual_bound) * unit if found.mip_dual_bound is not None else -np.inf
    return Solved(choice, min(bound, costs_of(problem, choice)), proven=found.status == 0)


def large_ones(problem: Problem, whole: int, seconds: float) -> Choice | None:
    """Choose the tiers of the first `whole` items exactly, all others being divisible; None where no plan was found.

    seconds: that the solver may take.
    """
    rows, rest, _ = _limit_rows(problem, problem.limits)
    integral = np.zeros(problem.cost.shape)
    integral[:, :whole] = 1
    found: Any = milp(
        _finite(problem) / _unit(problem),
        integrality=integral.ravel(),
        bounds=Bounds(0, _allowed(problem)),
        constraints=[LinearConstraint(rows, -np.inf, rest), LinearConstraint(_one_each(problem), 1, 1)],
        options={"time_limit": seconds, "mip_rel_gap": GAP},
    )
    if found.x is None:
        return None
    return np.asarray(np.argmax(found.x.reshape(problem.tiers, -1)[:, :whole], axis=0), np.intp)


def _limit_rows(problem: Problem, limits: Floats) -> tuple[csr_array, Floats, tuple[Choice, Choice]]:
    """Return one row for each limit that binds at all, its right-hand side, and which limit it is."""
    whole = loads_of_all(problem)
    where = np.nonzero(whole > limits)
    rows = []
    rest = []
    for limit, tier in zip(*where, strict=True):
        # A limit may have been used up by fixed items; its row's scale is that of what it is to hold.
        scale = _SCALE / problem.limits[limit, tier]
        row = csr_array(problem.use[limit, tier][None, :] * scale)
        before, after = tier * problem.items, (problem.tiers - 1 - tier) * problem.items
        rows.append(hstack([csr_array((1, before)), row, csr_array((1, after))], format="csr"))
        rest.append(max(0.0, limits[limit, tier]) * scale)
    if not rows:
        return csr_array((0, problem.items * problem.tiers)), np.zeros(0), (where[0], where[1])
    return vstack(rows, format="csr"), np.array(rest), (where[0], where[1])


def loads_of_all(problem: Problem) -> Floats:
    """Return what each limit would have to hold if everything lay on its tier, [limit, tier]."""
    return np.stack(
        [loads(problem, np.full(problem.items, tier, np.intp))[:, tier] for tier in range(problem.tiers)], axis=1
    )


def _one_each(problem: Problem) -> csr_array:
    return csr_array(kron(np.ones((1, problem.tiers)), identity(problem.items), format="csr"))


def _finite(problem: Problem) -> Floats:
    """Return the costs in one row; those of choices that are not allowed do not matter."""
    return np.where(np.isfinite(problem.cost), problem.cost, 0.0).ravel()


def _allowed(problem: Problem) -> Floats:
    """Return 1 for each choice that is allowed, in one row, and 0 for the others."""
    return np.isfinite(problem.cost).ravel().astype(np.float64)


def _unit(problem: Problem) -> float:
    """Return the cost that becomes 1 for the solver, whose tolerances are absolute: a mean item's least."""
    least = problem.cost.min(axis=0)
    unit = float(least[np.isfinite(least)].mean()) if np.isfinite(least).any() else 1.0
    return unit if unit > 0 else float(_finite(problem).max()) or 1.0
