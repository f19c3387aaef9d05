"""Statistics of permutations, and their comparison with those of true random ones.

A generator of orders passes when no statistic's distribution over many epochs can be told from Fisher and Yates's by
its shape (two-sample Kolmogorov-Smirnov) or its variance (ratio; 1 is perfect).
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

#: (n, epoch, count) -> the first so many samples in the order of an epoch.
Generator = Callable[[int, int, int], np.ndarray]

#: A p-value below this is a failure: with some twenty comparisons a run, one in thousands of sound runs fails.
SIGNIFICANT = 1e-5


@dataclass(frozen=True)
class Comparison:
    """One statistic of a generator against Fisher and Yates's shuffle."""

    statistic: str
    variance_ratio: float
    p: float

    @property
    def passes(self) -> bool:
        return self.p >= SIGNIFICANT


def compare(generator: Generator, n: int, epochs: int) -> list[Comparison]:
    """Put a generator through the whole battery. n: samples; epochs: how many orders to draw of it."""
    random = np.random.default_rng(20_000)
    ours = measured([generator(n, epoch, n) for epoch in range(epochs)])
    true = measured([random.permutation(n) for _ in range(epochs)])
    found = []
    for name, values in ours.items():
        ratio = values.var(ddof=1) / true[name].var(ddof=1)
        # Twice the smaller tail of Fisher's F; rank correlations and counts are nearly normal.
        tail = stats.f.cdf(ratio, epochs - 1, epochs - 1)
        p = min(stats.ks_2samp(values, true[name]).pvalue, 2 * min(tail, 1 - tail))
        found.append(Comparison(name, float(ratio), float(p)))
    return [*found, first_place(generator, n, max(epochs, 400))]


def measured(orders: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Every statistic of every order."""
    return {
        "fixed points": np.array([(order == np.arange(len(order))).sum() for order in orders], dtype=float),
        "descents": np.array([(np.diff(order) < 0).sum() for order in orders], dtype=float),
        "adjacent differences": np.array([np.abs(np.diff(order)).mean() for order in orders]),
        "pairs": np.array([pairs(order) for order in orders]),
        "rank correlation between epochs": np.array(
            [np.corrcoef(one, other)[0, 1] for one, other in zip(orders, orders[1:] + orders[:1], strict=True)]
        ),
        "longest increasing subsequence": np.array([longest_increasing(order) for order in orders], dtype=float),
    }


def pairs(order: np.ndarray) -> float:
    """Chi-square of neighbours (value, next value) over 16 x 16 equal cells."""
    cell = order * 16 // len(order)
    counts = np.bincount(cell[:-1] * 16 + cell[1:], minlength=256)
    expected = (len(order) - 1) / 256
    return float(((counts - expected) ** 2 / expected).sum())


def longest_increasing(order: np.ndarray) -> int:
    """Length of the longest increasing subsequence, by patience sorting (Fredman 1975)."""
    piles: list[int] = []
    for value in order.tolist():
        at = bisect.bisect_left(piles, value)
        if at == len(piles):
            piles.append(value)
        else:
            piles[at] = value
    return len(piles)


def first_place(generator: Generator, n: int, epochs: int) -> Comparison:
    """Uniformity of the sample that comes first, by chi-square over 16 cells; its ratio is to the expectation."""
    firsts = np.array([generator(n, epoch, 1)[0] for epoch in range(epochs)])
    counts = np.bincount(firsts * 16 // n, minlength=16)
    chi = float(((counts - epochs / 16) ** 2 / (epochs / 16)).sum())
    return Comparison("first place", chi / 15, float(stats.chi2.sf(chi, 15)))
