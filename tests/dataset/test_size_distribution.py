"""Counts of sizes give exact quantiles up to a million different sizes, and ones within the stated error beyond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.dataset.size_distribution import MAX_DISTINCT, Sizes

SHARES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


@given(st.lists(st.lists(st.integers(0, 2**50), max_size=30), min_size=1, max_size=5))
def test_few_sizes_are_exact(parts: list[list[int]]):
    sizes = Sizes()
    for part in parts:
        sizes.add(np.array(part, np.int64))
    together = sorted(size for part in parts for size in part)
    assert (sizes.count, sizes.total, sizes.empty) == (len(together), sum(together), together.count(0))
    assert sizes.error == 0
    if together:
        assert sizes.quantiles(SHARES) == [together[round(share * (len(together) - 1))] for share in SHARES]
    else:
        with pytest.raises(ValueError, match="at least one size"):
            sizes.quantiles(SHARES)


def test_more_different_sizes_than_are_held_are_rounded_within_the_stated_error():
    random = np.random.default_rng(1)
    values = np.exp(random.normal(12, 4, MAX_DISTINCT + 300_000)).astype(np.int64) + np.int64(10**6)
    values = np.concatenate([values, np.arange(MAX_DISTINCT, dtype=np.int64) * 1009])
    random.shuffle(values)
    sizes = Sizes()
    for part in np.array_split(values, 13):
        sizes.add(part)
    assert (sizes.count, sizes.total) == (len(values), int(values.sum()))
    found = np.array(sizes.quantiles(SHARES))
    true = np.sort(values)[[round(share * (len(values) - 1)) for share in SHARES]]
    assert 0 < sizes.error < 0.001
    assert (np.abs(found - true) <= sizes.error * true).all()
