"""Proportions: every batch holds each store's share, and the numbers of each store are dealt once."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.serve.proportions import Proportions
from tiering.store.apportionment import apportioned

weights = st.lists(st.integers(1, 60), min_size=1, max_size=7)
schedules = {
    "shares": weights,
    "total": st.integers(1, 4000),
    "batch_size": st.integers(1, 50),
    "ranks": st.integers(1, 9),
    "phase": st.integers(0, 2**31),
}


def made(shares, total, batch_size, ranks, phase):
    counts = apportioned(total, shares)
    return counts, Proportions(counts, shares, batch_size, ranks, phase)


def most(stores):
    """The bound on the deviation over any number of batches of a rank."""
    return 1 if stores <= 2 else 2 * math.ceil(math.log2(stores))


def span(deviations):
    """The largest deviation of any stretch of successive batches, from those of each. deviations: (batches, ...)."""
    sums = np.cumsum(np.concatenate([np.zeros_like(deviations[:1]), deviations]), axis=0)
    return (sums.max(axis=0) - sums.min(axis=0)).max()


@settings(max_examples=examples(200))
@given(**schedules, data=st.data())
def test_the_numbers_of_each_store_come_once(data, total, **schedule):
    counts, proportions = made(total=total, **schedule)
    store, number = proportions.at(np.arange(total))
    for each, count in enumerate(counts):
        assert np.array_equal(np.sort(number[store == each]), np.arange(count))
    some = np.array(data.draw(st.lists(st.integers(0, total - 1), max_size=20)), dtype=np.int64)
    assert all(
        np.array_equal(one, other[some]) for one, other in zip(proportions.at(some), (store, number), strict=True)
    )


@settings(max_examples=examples(200))
@given(**schedules)
def test_every_batch_has_the_share_of_each_store_rounded_down_or_up(shares, total, batch_size, ranks, phase):
    _, proportions = made(shares, total, batch_size, ranks, phase)
    steps = total // (batch_size * ranks)
    store = proportions.at(np.arange(steps * batch_size * ranks))[0].reshape(steps, batch_size, ranks)
    for each in range(len(shares)):
        taken = (store == each).sum(axis=1)  # (steps, ranks)
        exact = taken.sum() / max(1, steps * ranks)
        off = taken - exact
        assert (abs(off) < 1 + 1e-9).all()
        # Over any number of successive batches of a rank, and over any number of steps of all ranks together.
        assert not steps or span(off) < most(len(shares)) + 1e-6
        assert not steps or span(off.sum(axis=1)) < (1 if len(shares) <= 2 else ranks * most(len(shares))) + 1e-6
        assert abs(taken.sum() - steps * batch_size * ranks * shares[each] / sum(shares)) <= 1 + 1e-9


@pytest.mark.parametrize("ranks", [1, 3, 8])
@pytest.mark.parametrize(
    ("shares", "batch_size"), [([7, 3], 10), ([5, 3, 2], 20), ([1, 1, 1, 1], 4), ([70, 29, 1], 100)]
)
def test_shares_that_are_whole_numbers_are_the_same_in_every_batch(shares, batch_size, ranks):
    steps = 50
    _, proportions = made(shares, steps * batch_size * ranks + 7, batch_size, ranks, 1)
    store = proportions.at(np.arange(steps * batch_size * ranks))[0].reshape(steps, batch_size, ranks)
    for each, share in enumerate(shares):
        assert ((store == each).sum(axis=1) == batch_size * share // sum(shares)).all()


@settings(max_examples=examples(200))
@given(**schedules, data=st.data())
def test_others_can_go_on_after_any_step(shares, total, batch_size, ranks, phase, data):
    """The numbers that come before a step are the first of each store."""
    counts, proportions = made(shares, total, batch_size, ranks, phase)
    step = batch_size * ranks
    position = data.draw(st.integers(0, total // step)) * step
    given = proportions.given_before(position)
    store, number = proportions.at(np.arange(position))
    for each, count in enumerate(given):
        assert np.array_equal(np.sort(number[store == each]), np.arange(count))
    rest = Proportions(counts, shares, data.draw(st.integers(1, 50)), data.draw(st.integers(1, 9)), 1, position, given)
    store, number = rest.at(np.arange(position, total))
    for each, count in enumerate(counts):
        assert np.array_equal(np.sort(number[store == each]), np.arange(given[each], count))
    assert proportions.given_before(total) == counts
    assert step == 1 or position + 1 >= total // step * step or proportions.given_before(position + 1) is None


def test_the_numbers_of_a_store_rise_with_the_steps():
    counts, proportions = made([3, 1], 64_000, 32, 4, 9)
    store, number = proportions.at(np.arange(64_000))
    for each, count in enumerate(counts):
        at = np.flatnonzero(store == each)
        assert (abs(number[at] / count - at / 64_000) < 0.01).all()


def test_neighbouring_slots_of_a_batch_belong_to_different_stores():
    _, proportions = made([1, 1], 25_600, 256, 1, 0)
    store = proportions.at(np.arange(256))[0]
    assert abs(store[:128].sum() - 64) <= 3
    assert (np.diff(store) != 0).sum() > 100


def test_a_trillion_samples_need_no_table():
    counts, proportions = made([1, 2], 10**12, 256, 64, 5)
    store, number = proportions.at(np.arange(10**12 - 1000, 10**12))
    assert abs((store == 0).sum() - 333) < 20
    assert number.max() < max(counts)


def test_more_batches_than_the_arithmetic_allows_are_refused():
    with pytest.raises(ValueError, match="at most"):
        made([1, 2], 10**13, 1, 1, 0)


@settings(max_examples=examples(200))
@given(total=st.integers(0, 10**6), shares=weights)
def test_apportioned_numbers_are_shares_rounded_down_or_up(total, shares):
    found = apportioned(total, shares)
    assert sum(found) == total
    assert all(abs(each - Fraction(total * share, sum(shares))) < 1 for each, share in zip(found, shares, strict=True))


@settings(max_examples=examples(100))
@given(shares=weights, data=st.data())
def test_apportioned_numbers_keep_their_limits(shares, data):
    limits = [data.draw(st.integers(0, 100)) for _ in shares]
    total = data.draw(st.integers(0, sum(limits)))
    found = apportioned(total, shares, limits)
    assert sum(found) == total
    assert all(each <= limit for each, limit in zip(found, limits, strict=True))


def test_schedules_are_part_of_the_format():
    _, proportions = made([5, 3, 1], 40, 6, 2, 3)
    store, number = proportions.at(np.arange(40))
    assert store.tolist() == GOLDEN_STORES
    assert number.tolist() == GOLDEN_NUMBERS


GOLDEN_STORES = [
    0,
    2,
    2,
    1,
    1,
    1,
    1,
    0,
    0,
    0,
    0,
    0,
    1,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    0,
    1,
    2,
    1,
    0,
    0,
    0,
    0,
    0,
    2,
    1,
    1,
    1,
    1,
    0,
    0,
    0,
    1,
    2,
    0,
]
GOLDEN_NUMBERS = [
    0,
    1,
    0,
    3,
    1,
    2,
    0,
    5,
    2,
    4,
    1,
    3,
    5,
    12,
    4,
    11,
    8,
    10,
    7,
    9,
    6,
    7,
    2,
    6,
    15,
    18,
    14,
    17,
    13,
    3,
    9,
    11,
    8,
    10,
    16,
    19,
    20,
    12,
    4,
    21,
]
