"""Make a plan keep its limits, and then make it cheaper, by moving many items at once: 10^6 items take seconds.

The idea: `mended` takes the tier that is furthest over a limit, sorts its items by the loss of a move per share of the
excess that it frees, and moves the first ones that free enough. `improved` does the reverse: it sorts all cheaper moves
by saving per share of the capacity that they use, and makes those that fit. Running sums of the sorted uses decide how
many moves fit, so a round of moves is a few array operations. Few items are also exchanged in pairs.

Example: a tier has 100 bytes, and 130 lie on it: items of 20, 30 and 80 bytes, which lose 1, 6 and 8 elsewhere. The
excess is 30, so the items free 20/30, 1 and (at most) 1 of it, at a loss of 1.5, 6 and 8 each. The first two are moved,
because the first alone does not free enough. Then 80 bytes lie there and 20 are free: `improved` moves the item of 20
bytes back. The loss is 6.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tiering.placement.problem import Choice, Floats, Problem, excess, loads

#: Most rounds of moves, and of moves to full tiers. Most plans need a few.
_ROUNDS: Final = 40
_PUSHES: Final = 20
#: Most items for which pairs are exchanged, and most rounds of that.
_PAIRED: Final = 1500
_EXCHANGES: Final = 500
_TOLERANCE: Final = 1e-9


def mended(problem: Problem, choice: Choice, prices: Floats, *, pushing: bool = False) -> Choice | None:
    """Move items away from tiers that are over a limit, least loss first. None where that fails.

    Args:
        problem: The problem.
        choice: The tier of each item.
        prices: Of the limits, [limit, tier]; they count in an item's loss.
        pushing: Whether the first rounds may move items to full tiers, from where others then move on. Each item moves
            once in these rounds.
    """
    choice = choice.copy()
    priced = np.stack([problem.priced(tier, prices) for tier in range(problem.tiers)])
    movable = np.ones(problem.items, bool)
    scale = np.where(np.isfinite(problem.limits), problem.limits, 1.0)
    for number in range(_ROUNDS + _PUSHES):
        over = excess(problem, choice)
        if not over.any():
            return choice
        push = pushing and number < _PUSHES
        tier = int((over / scale).max(axis=0).argmax())
        free = problem.limits if push else _free(problem, choice)
        moved = _relieve(problem, choice, priced, tier, over[:, tier], free, movable)
        if push:
            movable[moved] = False
        elif number >= _PUSHES:
            movable[:] = True
        if not len(moved) and not push:
            return None
    return None


def improved(problem: Problem, choice: Choice, prices: Floats) -> Choice:
    """Move items to cheaper tiers with enough free capacity, and exchange pairs where items are few."""
    choice = choice.copy()
    before = np.inf
    for _ in range(_ROUNDS):
        saved = _fill(problem, choice, prices)
        if saved <= _TOLERANCE * before:
            break
        before = saved
    if problem.items <= _PAIRED:
        for _ in range(_EXCHANGES):
            if not _exchange(problem, choice):
                break
            _fill(problem, choice, prices)
    return choice


def _free(problem: Problem, choice: Choice) -> Floats:
    return np.maximum(0.0, problem.limits - loads(problem, choice))


def _relieve(
    problem: Problem,
    choice: Choice,
    priced: Floats,
    tier: int,
    over: Floats,
    free: Floats,
    movable: NDArray[np.bool_],
) -> Choice:
    """Move items off one tier until it keeps its limits, or the others are full. Return the moved items."""
    items = np.flatnonzero((choice == tier) & movable)
    relief = (problem.use[:, tier, items] / np.where(over > 0, over, np.inf)[:, None]).sum(axis=0)
    items, relief = items[relief > 0], relief[relief > 0]
    target, loss = _best_target(problem, items, priced, free, tier)
    goes = target >= 0
    items, relief, target, loss = items[goes], relief[goes], target[goes], loss[goes]
    # Freeing more than is needed is worth nothing, so the relief counts up to 1.
    order = np.argsort(loss / np.minimum(relief, 1.0), kind="stable")
    items, target = items[order], target[order]
    fits = _fitting(problem, items, target, free)
    items, target = items[fits], target[fits]
    freed = np.cumsum(problem.use[:, tier, items], axis=1)
    enough = (freed >= over[:, None]).all(axis=0)
    count = int(enough.argmax()) + 1 if enough.any() else len(items)
    choice[items[:count]] = target[:count]
    moved: Choice = items[:count]
    return moved


def _best_target(problem: Problem, items: Choice, priced: Floats, free: Floats, tier: int) -> tuple[Choice, Floats]:
    """Return for each item the tier with capacity for it where it loses least, or -1, and the loss."""
    target, least = np.full(len(items), -1, np.intp), np.full(len(items), np.inf)
    for other in range(problem.tiers):
        if other == tier:
            continue
        fits = (problem.use[:, other, items] <= free[:, other, None]).all(axis=0)
        # An item that may not lie here loses nothing by a move, and is the first to go.
        there, here = priced[other, items], priced[tier, items]
        fits &= np.isfinite(there)
        loss = np.full(len(items), np.inf)
        loss[fits] = np.maximum(0.0, there[fits] - np.where(np.isfinite(here[fits]), here[fits], there[fits]))
        better = loss < least
        target[better], least[better] = other, loss[better]
    return target, least


def _fitting(problem: Problem, items: Choice, target: Choice, free: Floats) -> NDArray[np.bool_]:
    """Return which items fit into what is free on their targets, in this order, up to the first that does not fit."""
    fits = np.ones(len(items), bool)
    for tier in range(problem.tiers):
        there = np.flatnonzero(target == tier)
        filled = np.cumsum(problem.use[:, tier, items[there]], axis=1)
        fits[there] = (filled <= free[:, tier, None]).all(axis=0)
    return fits


def _fill(problem: Problem, choice: Choice, prices: Floats) -> float:
    """Move items to cheaper tiers, in order of saving per priced use. Return the total saving."""
    free = _free(problem, choice)
    here = problem.cost[choice, np.arange(problem.items)]
    target, most = np.full(problem.items, -1, np.intp), np.zeros(problem.items)
    for tier in range(problem.tiers):
        saving = here - problem.cost[tier]
        fits = (problem.use[:, tier] <= free[:, tier, None]).all(axis=0) & (choice != tier)
        better = fits & (saving > most) & (saving > _TOLERANCE * here)
        target[better], most[better] = tier, saving[better]
    items = np.flatnonzero(target >= 0)
    if not len(items):
        return 0.0
    target, most = target[items], most[items]
    share = problem.use[:, target, items] / problem.limits[:, target]
    worth = (share * np.maximum(prices[:, target], _TOLERANCE * most.sum())).sum(axis=0)
    with np.errstate(over="ignore"):  # A worth of 0 makes the ratio infinite.
        order = np.argsort(-most / np.maximum(worth, np.finfo(float).tiny), kind="stable")
    items, target, most = items[order], target[order], most[order]
    fits = _fitting(problem, items, target, free)
    choice[items[fits]] = target[fits]
    return float(most[fits].sum())


def _exchange(problem: Problem, choice: Choice) -> bool:
    """Exchange the two items of different tiers that save most, within the limits. Return whether there were any."""
    free = _free(problem, choice)
    best, pair = 0.0, None
    members = [np.flatnonzero(choice == tier) for tier in range(problem.tiers)]
    for one in range(problem.tiers):
        for two in range(one + 1, problem.tiers):
            first, second = members[one], members[two]
            if not len(first) or not len(second):
                continue
            saving = (problem.cost[one, first] - problem.cost[two, first])[:, None] + (
                problem.cost[two, second] - problem.cost[one, second]
            )[None, :]
            for limit in range(2):
                use = problem.use[limit]
                comes = use[two, first][:, None] - use[two, second][None, :] > free[limit, two]
                goes = use[one, second][None, :] - use[one, first][:, None] > free[limit, one]
                saving[comes | goes] = 0.0
            best = int(saving.argmax())
            found = float(saving.flat[best])
            row, column = divmod(best, len(second))
            if found > best and found > _TOLERANCE * problem.cost[one, first[row]]:
                best, pair = found, (first[row], second[column])
    if pair is None:
        return False
    choice[pair[0]], choice[pair[1]] = choice[pair[1]], choice[pair[0]]
    return True
