"""EpochOrder: a permutation, the same everywhere, with an inverse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.permutation import TABLE_BELOW, EpochOrder

sizes = st.one_of(st.integers(1, 300), st.integers(TABLE_BELOW - 2, TABLE_BELOW + 70_000))
seeds = st.integers(-(2**63), 2**64)


@settings(max_examples=examples(60))
@given(n=sizes, seed=seeds, epoch=st.integers(0, 10**6))
def test_every_sample_comes_exactly_once(n, seed, epoch):
    taken = EpochOrder(n, seed, epoch).take(0, n)
    assert np.array_equal(np.sort(taken), np.arange(n))


@settings(max_examples=examples(60))
@given(n=sizes, seed=seeds, data=st.data())
def test_positions_are_found_again_and_any_slice_equals_the_whole(n, seed, data):
    order = EpochOrder(n, seed, 3)
    start = data.draw(st.integers(0, n - 1))
    stop = data.draw(st.integers(start, min(n, start + 500)))
    piece = order.take(start, stop)
    assert np.array_equal(piece, order.take(0, n)[start:stop])
    assert np.array_equal(order.position_of(piece), np.arange(start, stop))


@pytest.mark.parametrize("n", [1000, 100_000])
def test_orders_differ_between_epochs_seeds_and_streams(n):
    orders = [EpochOrder(n, *key).take(0, n) for key in [(0, 0), (0, 1), (1, 0), (0, 0, "pack")]]
    for one, other in itertools.combinations(orders, 2):
        # Two independent permutations share one fixed place in the mean.
        assert (one == other).sum() < 12
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(n)


def test_orders_are_part_of_the_format():
    assert EpochOrder(10, 0, 0).take(0, 10).tolist() == GOLDEN_10
    assert EpochOrder(1_000_000, 7, 3).take(999_995, 1_000_000).tolist() == GOLDEN_MILLION


def test_an_order_of_a_hundred_million_needs_no_table():
    order = EpochOrder(10**8, 0)
    assert len(set(order.take(10**7, 10**7 + 1000).tolist())) == 1000


def test_an_order_of_nothing_is_refused():
    with pytest.raises(ValueError, match="from 1 to"):
        EpochOrder(0, 0)


GOLDEN_10 = [5, 7, 0, 8, 2, 6, 9, 3, 4, 1]
GOLDEN_MILLION = [857338, 54593, 534260, 407193, 264114]
