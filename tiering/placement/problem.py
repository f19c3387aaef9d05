"""The assignment problem: items, tiers, costs, uses and limits, as arrays of (tier, item).

Each item goes to exactly one tier. A tier has a capacity (bytes) and a rate (share of its time), and an item uses some
of both. The plan of least cost within all limits is wanted; solver.py finds it.

Example: items of 30 and 50 bytes on a fast tier with a capacity of 60 bytes, and on an unlimited slow one.

    cost = [[1, 2], [3, 9]]    use[0] = [[30, 50], [30, 50]]    limits[0] = [60, inf]

Only one item fits on the fast tier. The second saves 7 there and the first only 2, so the best plan is [1, 0], cost 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Choice = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Problem:
    """Items to assign to tiers. All values are float64 and at least 0.

    Attributes:
        cost: [tier, item]. inf where an item may not lie.
        use: [limit, tier, item]. Limit 0 is capacity (bytes); limit 1 is rate (share of the tier's time).
        limits: [limit, tier]. Above 0; inf for no limit.
        like: [item, feature]. Items of equal features have equal costs and uses, and both grow in proportion to them.
    """

    cost: Floats
    use: Floats
    limits: Floats
    like: Floats

    @property
    def tiers(self) -> int:
        """Number of tiers."""
        return len(self.cost)

    @property
    def items(self) -> int:
        """Number of items."""
        return int(self.cost.shape[1])

    def priced(self, tier: int, prices: Floats) -> Floats:
        """Return each item's cost on a tier, plus the price of its use of the limits there."""
        total: Floats = self.cost[tier].copy()
        for limit in range(2):
            if prices[limit, tier] > 0 and np.isfinite(self.limits[limit, tier]):
                total += (prices[limit, tier] / self.limits[limit, tier]) * self.use[limit, tier]
        return total

    def part(self, items: Choice, limits: Floats) -> Problem:
        """Return the problem of some items alone, under other limits."""
        return Problem(self.cost[:, items], self.use[:, :, items], limits, self.like[items])

    def possible(self) -> Problem:
        """Return the problem with an infinite cost where an item alone breaks a limit."""
        breaks = (self.use > self.limits[:, :, None] * (1 + np.array([0.0, 1e-9]))[:, None, None]).any(axis=0)
        return replace(self, cost=np.where(breaks, np.inf, self.cost)) if breaks.any() else self

    def used(self, choice: Choice) -> Floats:
        """Return the share of each limit that a plan uses, [limit, tier]; 0 where there is no limit."""
        return loads(self, choice) / self.limits

    def regret(self, prices: Floats) -> Floats:
        """Return the extra cost of each item's second choice over its first, under prices."""
        first = self.priced(0, prices)
        second = np.full(self.items, np.inf)
        for tier in range(1, self.tiers):
            cost = self.priced(tier, prices)
            np.minimum(second, np.maximum(first, cost), out=second)
            np.minimum(first, cost, out=first)
        # An item without any allowed tier has no regret.
        return np.where(np.isfinite(first), second - np.where(np.isfinite(first), first, 0.0), 0.0)

    def grouped(self, most: int) -> Problem:
        """Return a problem of at most `most` items, each the sum of like items.

        Items are alike when the logarithms of their features round to the same step. The steps grow coarser until the
        groups are few enough.
        """
        if self.items <= most:
            return self
        logs = np.log2(1 + self.like)
        member: NDArray[Any] = np.zeros(self.items, np.intp)
        for per_octave in (8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125):
            key = np.zeros(self.items, np.int64)
            for column in np.rint(logs * per_octave).astype(np.int64).T:
                key = key * (int(column.max()) + 1) + column
            # Counting by hash takes a tenth of the time of sorting.
            if pl.Series(key).n_unique() <= most:
                member = np.unique(key, return_inverse=True)[1]
                break
        else:
            member = (np.argsort(np.argsort(logs.sum(axis=1))) * most // self.items).astype(np.intp)
        count = int(member.max()) + 1

        def summed(values: Floats) -> Floats:
            flat = values.reshape(-1, self.items)
            added: Floats = np.stack([np.bincount(member, row, count) for row in flat]).astype(np.float64)
            return added.reshape(*values.shape[:-1], count)

        return Problem(summed(self.cost), summed(self.use), self.limits, summed(self.like.T).T)


def loads(problem: Problem, choice: Choice) -> Floats:
    """Return a plan's use of each limit, [limit, tier], in the limit's unit."""
    items = np.arange(problem.items)
    return np.stack(
        [np.bincount(choice, problem.use[limit][choice, items], problem.tiers) for limit in range(2)]
    ).astype(np.float64)


def excess(problem: Problem, choice: Choice) -> Floats:
    """Return the amount by which a plan breaks each limit, [limit, tier]: bytes exactly, rates to one part in 10^9."""
    over = loads(problem, choice) - problem.limits
    over[1] -= np.where(np.isfinite(problem.limits[1]), problem.limits[1], 0.0) * 1e-9
    return np.maximum(0.0, over)


def costs_of(problem: Problem, choice: Choice) -> float:
    """Return the cost of a plan."""
    return float(problem.cost[choice, np.arange(problem.items)].sum())
