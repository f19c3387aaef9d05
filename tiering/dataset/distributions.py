"""Distributions of the values of fields, from a random sample of bounded size."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Values = npt.NDArray[np.float64]

#: How many values a sample keeps. The error of a quantile's share is then at most 0.01 with 95 % certainty.
KEPT: Final = 10_000

#: Shares of the sorted values at which a distribution gives a value.
SHARES: Final = ("0", "0.05", "0.25", "0.5", "0.75", "0.95", "1")

_BINS: Final = 20

#: Differences of larger numbers may overflow.
_LARGEST: Final = 1e300

#: A double holds every integer up to this one, and the middle between it and the next.
_EXACT: Final = 2.0**52

#: If the largest value is more than this many times the median, most values would be in one of the equal bins.
_SKEWED: Final = 10


class Distribution(BaseModel):
    """How values are spread."""

    model_config = ConfigDict(frozen=True)

    values: int = Field(description="how many it shows; a random sample if there are more")
    quantiles: dict[str, float] = Field(
        description="values by share of the sorted ones; 0 and 1 are exact, or those seen if sampled"
    )
    edges: list[float] = Field(
        description="of the bins of a histogram, ascending; at equal ratios if the values are skewed"
    )
    counts: list[int] = Field(description="values in each bin")
    sampled: bool = Field(
        default=False, description="whether only the values of some images, drawn at random, are known"
    )


class ValueSample:
    """A simple random sample, without replacement, of numbers that come in parts. It takes 320 kB at most.

    seed: of the random choices, which otherwise depend only on the numbers and their order.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._drawn, self._values = np.empty(0), np.empty(0)
        self._limit = 1.0
        self._low, self._high = np.inf, -np.inf

    def add(self, values: Values) -> None:
        """Add numbers, float64 (n,). Those that are not finite do not count."""
        values = values[np.abs(values) <= _LARGEST]
        if not len(values):
            return
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))
        drawn = self._random.random(len(values))
        taken = drawn < self._limit
        self._drawn = np.concatenate([self._drawn, drawn[taken]])
        self._values = np.concatenate([self._values, values[taken]])
        if len(self._drawn) > 2 * KEPT:
            self._thin()

    def distribution(self, *, whole: bool) -> Distribution | None:
        """Return how the numbers are spread; None if there are none. whole: whether they are integers."""
        if not len(self._values):
            return None
        self._thin()
        return _distribution(self._values, self._low, self._high, whole=whole)

    def _thin(self) -> None:
        if len(self._drawn) > KEPT:
            kept = np.argpartition(self._drawn, KEPT)[:KEPT]
            self._drawn, self._values = self._drawn[kept], self._values[kept]
            self._limit = float(self._drawn.max())


def sampled_distribution(values: Values, weights: Values) -> Distribution | None:
    """Return how integers are spread, from a random sample of them; None for an empty sample.

    values: float64 (n,), finite. weights: float64 (n,), how many values each one stands for.
    """
    if not len(values):
        return None
    found = _distribution(values, float(values.min()), float(values.max()), whole=True, weights=weights)
    return found.model_copy(update={"sampled": True})


def _distribution(
    values: Values, low: float, high: float, *, whole: bool, weights: Values | None = None
) -> Distribution:
    """Return the distribution of a sample.

    low, high: ends of all values. weights: as for sampled_distribution, by default equal.
    """
    shares = [float(share) for share in SHARES]
    inner = np.quantile(values, shares, method="inverted_cdf", weights=weights).tolist()
    edges = _edges(low, high, inner[SHARES.index("0.5")], whole=whole)
    counts, _ = np.histogram(values, edges, weights=weights)
    if weights is not None:
        # Scaled to the sample, and rounded so that no value gets lost.
        counts = np.diff(np.rint(np.cumsum(counts) * (len(values) / weights.sum())), prepend=0).astype(np.int64)
    return Distribution(
        values=len(values),
        quantiles=dict(zip(SHARES, [low, *inner[1:-1], high], strict=True)),
        edges=edges.tolist(),
        counts=counts.tolist(),
    )


def _edges(low: float, high: float, median: float, *, whole: bool) -> Values:
    """Return the edges of bins that hold all values. Each bin holds as many integers as others, if `whole`."""
    whole = whole and max(-low, high) < _EXACT
    skewed = low > 0 and high > _SKEWED * median
    if not whole:
        if low == high:
            return np.array([low, high])
        return np.geomspace(low, high, _BINS + 1) if skewed else np.linspace(low, high, _BINS + 1)
    if skewed:
        firsts = np.unique(np.round(np.geomspace(low, high + 1, _BINS + 1)))
        return firsts - 0.5
    step = np.ceil((high - low + 1) / _BINS)
    bins = int(np.ceil((high - low + 1) / step))
    return np.linspace(low - 0.5, low - 0.5 + step * bins, bins + 1)
