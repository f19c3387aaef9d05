"""Linear and integer programs, solved by HiGHS through scipy.

The variables are x[tier, item], flattened tier by tier: 1 where the item lies. The constraints are:

    for each item:   the sum of x over the tiers is 1                   (_one_each)
    for each limit:  the sum of use * x on the tier is within the limit (_limit_rows, only limits that can bind)

With x between 0 and 1 this is a linear program. Its duals are the prices of the limits (`prices_of`), and slack on the
limits says how much they are short (`shortage`). With x in {0, 1} it is the assignment itself (`solve`).

Example: the two items of problem.py. As a linear program, the fast tier holds the second item and a third of the first,
cost 2 + 1/3 + 2 = 4.33: a lower bound. The only limit that binds is 60 bytes; a further byte would save 2/30, so the
price of the whole limit is 60 * 2/30 = 4. As an integer program, the first item lies on the slow tier: cost 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array, hstack, identity, kron, vstack

from tiering.placement.problem import Choice, Floats, Problem, costs_of, excess, loads

#: Relative gap at which the integer program may stop.
GAP: Final = 5e-5
#: Value of a whole limit in the program. The solver's tolerance of 1e-6 is absolute, so this sets the relative one.
_SCALE: Final = 1e2


@dataclass(frozen=True, slots=True)
class Solved:
    """A solution of the integer program.

    Attributes:
        choice: The tier of each item, also of the fixed ones.
        bound: No plan with these fixed items costs less.
        proven: Whether the solver proved that the plan is optimal, given the fixed items.
    """

    choice: Choice
    bound: float
    proven: bool


def prices_of(problem: Problem) -> Floats | None:
    """Return the price of each whole limit, [limit, tier]: the duals of the linear program. None if infeasible."""
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
    """Return the least growth of the limits that makes the problem feasible, [limit, tier], in shares of each limit.

    All 0 where the limits could be kept by dividing items between tiers.
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
    """Choose the tiers of some items exactly, with the other items fixed as in `base`. None where no plan was found.

    seconds: time limit. gap: relative gap at which the solver may stop.
    """
    fixed = np.ones(problem.items, bool)
    fixed[open_items] = False
    taken = np.stack([problem.use[:, tier, fixed & (base == tier)].sum(axis=1) for tier in range(problem.tiers)], 1)
    part = problem.part(open_items, problem.limits)
    remaining = problem.limits - taken
    if (remaining < -1e-9 * np.where(np.isfinite(problem.limits), problem.limits, 0.0)).any():
        return None
    unit = _unit(part)
    # The solver's tolerance may break a limit; then solve once more with limits tighter by that much.
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
            # Without presolve HiGHS is no slower here, and prints less to our stdout.
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
    """Choose the tiers of the first `whole` items exactly, with all others divisible. None where no plan was found.

    seconds: time limit.
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
    """Return a row for each limit that can bind, its right-hand side, and its (limit, tier)."""
    whole = loads_of_all(problem)
    where = np.nonzero(whole > limits)
    rows = []
    rest = []
    for limit, tier in zip(*where, strict=True):
        # Fixed items may have used up a limit, so the whole limit sets the scale of its row.
        scale = _SCALE / problem.limits[limit, tier]
        row = csr_array(problem.use[limit, tier][None, :] * scale)
        before, after = tier * problem.items, (problem.tiers - 1 - tier) * problem.items
        rows.append(hstack([csr_array((1, before)), row, csr_array((1, after))], format="csr"))
        rest.append(max(0.0, limits[limit, tier]) * scale)
    if not rows:
        return csr_array((0, problem.items * problem.tiers)), np.zeros(0), (where[0], where[1])
    return vstack(rows, format="csr"), np.array(rest), (where[0], where[1])


def loads_of_all(problem: Problem) -> Floats:
    """Return the use of each limit if everything lay on its tier, [limit, tier]."""
    return np.stack(
        [loads(problem, np.full(problem.items, tier, np.intp))[:, tier] for tier in range(problem.tiers)], axis=1
    )


def _one_each(problem: Problem) -> csr_array:
    return csr_array(kron(np.ones((1, problem.tiers)), identity(problem.items), format="csr"))


def _finite(problem: Problem) -> Floats:
    """Return the costs in one row. The costs of choices that are not allowed do not matter."""
    return np.where(np.isfinite(problem.cost), problem.cost, 0.0).ravel()


def _allowed(problem: Problem) -> Floats:
    """Return 1 for each allowed choice, and 0 for the others, in one row."""
    return np.isfinite(problem.cost).ravel().astype(np.float64)


def _unit(problem: Problem) -> float:
    """Return the cost that is 1 to the solver, because its tolerances are absolute: the mean item's least cost."""
    least = problem.cost.min(axis=0)
    unit = float(least[np.isfinite(least)].mean()) if np.isfinite(least).any() else 1.0
    return unit if unit > 0 else float(_finite(problem).max()) or 1.0
