"""EpochOrder cannot be told from true random permutations by the battery, which can tell weak generators."""

from __future__ import annotations

import itertools
from collections import Counter
from functools import partial

import pytest

from benchmarks.shuffle_battery import compare
from benchmarks.shuffle_quality import affine, ours, rounds
from tiering.permutation import TABLE_BELOW, EpochOrder


@pytest.mark.parametrize("n", [1_000, pytest.param(TABLE_BELOW + 1, marks=pytest.mark.slow)])
def test_orders_cannot_be_told_from_fisher_and_yates(n):
    found = compare(ours, n, epochs=100)
    assert [each for each in found if not each.passes] == []


def test_the_battery_sees_weak_generators():
    assert not all(each.passes for each in compare(partial(rounds, 2), 1_000, epochs=100))
    assert not all(each.passes for each in compare(affine, 1_000, epochs=100))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_all_small_orders_are_equally_likely(n):
    every = list(itertools.permutations(range(n)))
    epochs = 40 * len(every)
    counts = Counter(tuple(EpochOrder(n, 1, epoch).take(0, n).tolist()) for epoch in range(epochs))
    assert set(counts) == set(every)
    chi = sum((count - 40) ** 2 / 40 for count in counts.values())
    degrees = len(every) - 1
    # Beyond four standard deviations of the chi-square.
    assert chi <= degrees + 4 * (2 * degrees) ** 0.5 + 1
