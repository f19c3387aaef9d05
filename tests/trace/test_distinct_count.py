"""Distinct counts: exact while they are small, close when they are large."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.trace.distinct_count import DistinctCount
from tiering.trace.hash_share import mixed


@given(st.lists(st.lists(st.integers(0, 50), max_size=40), max_size=8))
def test_few_are_counted_exactly_however_they_come(batches):
    counted = DistinctCount()
    for batch in batches:
        counted.add(mixed(np.array(batch, np.uint64)))
    assert counted.count() == len({value for batch in batches for value in batch})


def test_many_are_counted_to_a_percent_or_so_in_bounded_memory():
    counted = DistinctCount()
    for begin in range(0, 6_000_000, 500_000):
        keys = mixed(np.arange(begin, begin + 500_000, dtype=np.uint64) % np.uint64(5_000_000))
        counted.add(keys)
        assert len(counted._kept) <= 1 << 18
    assert counted.count() == pytest.approx(5_000_000, rel=0.015)
