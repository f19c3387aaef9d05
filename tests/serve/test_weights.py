"""Weights and repeats: how often samples are drawn, ranks and interruptions."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import tiering
from benchmarks.shuffle_battery import compare
from tests.examples import examples
from tests.serve.sampled import dealt, drawn, epoch_of, in_turn, interrupted, maker
from tiering.errors import UsageError
from tiering.permutation import EpochNumbers


@pytest.fixture(scope="module")
def uneven(store):
    """The photographs of two classes: all of one, and five of the other."""
    labels = np.asarray(store.index.label[:])
    few = np.flatnonzero(labels == 1)[:5]
    return store.select(np.sort(np.concatenate([np.flatnonzero(labels == 0), few])))


def times_drawn(store, epochs, **options):
    loader = tiering.Loader(store, 100, seed=3, **options)
    served = [index for epoch in range(epochs) for index in drawn(epoch_of(loader, epoch))]
    return np.bincount(served, minlength=len(store))


def test_samples_are_drawn_as_often_as_their_weights_say(store):
    weights = np.random.default_rng(1).random(300) ** 2
    times = times_drawn(store, 100, weights=weights)
    assert stats.chisquare(times, 100 * 300 * weights / weights.sum()).pvalue > 1e-4
    # Not more evenly than independent draws either.
    assert stats.chisquare(times, 100 * 300 * weights / weights.sum()).pvalue < 1 - 1e-4


@pytest.mark.parametrize("ranks", [1, 3, pytest.param(8, marks=pytest.mark.slow)])
def test_classes_are_drawn_equally_often(uneven, ranks):
    labels = np.asarray(uneven.index.label[:])
    make = maker(uneven, weights="balanced")
    served = np.array([index for epoch in range(200) for index in in_turn(dealt(make, ranks, 8, epoch))])
    assert len(served) == 200 * len(uneven)
    assert stats.chisquare([(labels[served] == each).sum() for each in (0, 1)]).pvalue > 1e-4
    rare = np.bincount(served, minlength=len(uneven))[labels == 1]
    assert stats.chisquare(rare).pvalue > 1e-4


def test_weights_may_span_many_blocks_and_be_zero(store):
    weights = np.zeros(300)
    weights[[0, 63, 64, 200, 299]] = [1, 2, 3, 4, 5]
    times = times_drawn(store, 20, weights=weights)
    assert np.flatnonzero(times).tolist() == [0, 63, 64, 200, 299]
    assert stats.chisquare(times[weights > 0], 6000 * np.arange(1, 6) / 15).pvalue > 1e-4


def test_without_replacement_each_sample_comes_once_and_heavy_ones_first(store):
    weights = np.arange(300.0)
    loader = tiering.Loader(store, 100, weights=weights, replacement=False)
    served = np.array(drawn(epoch_of(loader, 0)))
    assert sorted(served.tolist()) == list(range(1, 300))
    assert served[:100].mean() > served[-100:].mean() + 50
    assert len(loader) == 3


@pytest.mark.parametrize("epochs", [2000, pytest.param(5000, marks=pytest.mark.slow)])
def test_without_replacement_draws_follow_the_weights_of_those_that_are_left(store, epochs):
    """The probability of an ordered pair is w1 / W * w2 / (W - w1)."""
    weights = np.zeros(300)
    weights[:4] = [1, 2, 3, 4]
    loader = tiering.Loader(store, 2, weights=weights, replacement=False, limit=2)
    pairs = Counter(tuple(drawn(epoch_of(loader, epoch))) for epoch in range(epochs))
    expected = {
        (one, two): weights[one] / 10 * weights[two] / (10 - weights[one])
        for one in range(4)
        for two in range(4)
        if one != two
    }
    assert pairs.keys() == expected.keys()
    found = stats.chisquare([pairs[pair] for pair in expected], [epochs * each for each in expected.values()])
    assert found.pvalue > 1e-4


def test_the_first_samples_without_replacement_are_those_of_the_whole_order(store):
    weights = np.random.default_rng(2).random(300)
    some, all_ = (tiering.Loader(store, 50, weights=weights, replacement=False, limit=n) for n in (70, None))
    assert drawn(epoch_of(some, 3)) == drawn(epoch_of(all_, 3))[:70]


def test_equal_weights_without_replacement_pass_the_battery_of_shuffles(store):
    part = store.select(range(250))

    def generated(n, epoch, count):
        loader = tiering.Loader(part, n, seed=11, weights=np.ones(n), replacement=False)
        return np.array(drawn(epoch_of(loader, epoch)))[:count]

    assert [each.statistic for each in compare(generated, 250, 60) if not each.passes] == []


@pytest.mark.parametrize(
    "options",
    [{"weights": "balanced"}, {"weights": "balanced", "replacement": False}, {"repeats": 3}],
    ids=str,
)
@pytest.mark.parametrize("before", [1, 3, 8])
@pytest.mark.parametrize("after", [1, 3, 8])
def test_another_number_of_ranks_ends_an_epoch_with_the_same_samples(store, before, after, options):
    make = maker(store, **options)
    whole = in_turn(dealt(make, 1, 16, 2))
    assert in_turn(dealt(make, before, 16, 2)) == whole
    legs = interrupted(make, [(before, 4, 3), (after, 7, 2), (before, 5, 10**6)], 2)
    first = before * 4 * 3
    assert sorted(legs[0]) == sorted(whole[:first])
    assert sorted(legs[1]) == sorted(whole[first : first + after * 7 * 2])
    assert sorted(chain.from_iterable(legs)) == sorted(whole)


def test_a_skipped_sample_is_replaced_by_one_of_positive_weight(store):
    weights = np.zeros(300)
    weights[10:40] = 1
    broken = {store[index].key for index in range(10, 20)}

    def transform(sample):
        if sample.key in broken:
            raise ValueError("broken")
        return sample.key

    loader = tiering.Loader(store, 32, weights=weights, transform=transform, on_error="skip")
    served = drawn(epoch_of(loader, 0))
    assert len(served) == 300
    assert set(served) <= set(range(20, 40))
    assert loader.stats().skipped > 50
    assert drawn(epoch_of(loader, 0)) == served


def test_drop_last_and_limit_work(store):
    served = dealt(maker(store, weights="balanced", drop_last=True), 3, 16, 0)
    assert {len(batch) for batches in served for batch in batches} == {16}
    assert {len(batches) for batches in served} == {6}
    make = maker(store, weights="balanced")
    assert drawn(epoch_of(make(batch_size=16, limit=50), 0)) == drawn(epoch_of(make(batch_size=16), 0))[:50]


@pytest.mark.parametrize("shuffle", ["block", "sticky", False])
def test_other_shuffles_are_refused(store, shuffle):
    with pytest.raises(UsageError, match="shuffle"):
        tiering.Loader(store, 8, weights="balanced", shuffle=shuffle)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.ones(299), "300 numbers"),
        (np.ones((300, 1)), "300 numbers"),
        (["a"] * 300, "300 numbers"),
        (np.zeros(300), "above 0"),
        (np.full(300, -1.0), "at least 0"),
        (np.where(np.arange(300) == 7, np.nan, 1), "none for sample 7"),
        (np.where(np.arange(300) == 7, np.inf, 1), "inf for sample 7"),
        ("score", "field of numbers"),
        ("label", "numbers of classes"),
    ],
)
def test_impossible_weights_are_refused(store, weights, words):
    with pytest.raises(UsageError, match=words):
        tiering.Loader(store, 8, weights=weights)


def test_a_store_without_classes_cannot_be_balanced(photos, tmp_path):
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))[:5]):
        (tmp_path / f"{number}.jpg").write_bytes(path.read_bytes())
    with tiering.open_store(tmp_path) as flat, pytest.raises(UsageError, match="classes"):
        tiering.Loader(flat, 8, weights="balanced")


@pytest.mark.parametrize("other", [{}, {"weights": np.ones(300)}, {"weights": "balanced", "replacement": False}])
def test_the_state_of_other_weights_is_refused(store, other):
    state = tiering.Loader(store, 8, weights="balanced").state_dict()
    with pytest.raises(UsageError, match=r"weights|replacement"):
        tiering.Loader(store, 8, **other).load_state_dict(state)


def test_weights_are_pickled(store):
    loader = tiering.Loader(store, 32, weights="balanced")
    assert drawn(epoch_of(pickle.loads(pickle.dumps(loader)), 1)) == drawn(epoch_of(loader, 1))


@settings(max_examples=examples(40))
@given(times=st.integers(1, 6), ranks=st.integers(1, 9), batch_size=st.integers(1, 40), shuffle=st.booleans())
def test_each_sample_is_repeated_and_its_copies_go_to_different_ranks(store, times, ranks, batch_size, shuffle):
    make = maker(store, repeats=times, shuffle=shuffle)
    served = [drawn(batches) for batches in dealt(make, ranks, batch_size, 1)]
    assert Counter(chain.from_iterable(served)) == dict.fromkeys(range(300), times)
    copies = Counter((rank, index) for rank, samples in enumerate(served) for index in samples)
    assert max(copies.values()) == -(-times // ranks)


def test_repeats_of_an_epochs_length_are_those_of_deit(store):
    """As its RASampler: a shuffle, each sample three times in succession, cut at the length of the store."""
    repeated = tiering.Loader(store, 30, seed=4, repeats=3, limit=300)
    plain = drawn(epoch_of(tiering.Loader(store, 30, seed=4), 2))
    assert drawn(epoch_of(repeated, 2)) == np.repeat(plain, 3)[:300].tolist()


def test_weighted_samples_may_be_repeated(store):
    repeated = drawn(epoch_of(tiering.Loader(store, 30, weights="balanced", repeats=2), 2))
    assert repeated == np.repeat(drawn(epoch_of(tiering.Loader(store, 30, weights="balanced"), 2)), 2).tolist()


@pytest.mark.parametrize("repeats", [0, -1])
def test_impossible_repeats_are_refused(store, repeats):
    with pytest.raises(ValueError, match="repeats"):
        tiering.Loader(store, 8, repeats=repeats)


@pytest.mark.parametrize("repeats", [1.5, True, "2"])
def test_repeats_that_are_no_integers_are_refused(store, repeats):
    with pytest.raises(TypeError, match="repeats"):
        tiering.Loader(store, 8, repeats=repeats)


def test_random_numbers_are_uniform_and_part_of_the_format():
    numbers = EpochNumbers(1, 2).at(np.arange(100_000))
    assert stats.kstest(numbers, "uniform").pvalue > 1e-4
    assert numbers.min() > 0
    assert numbers.max() < 1
    assert np.array_equal(EpochNumbers(1, 2).at(np.array([5, 3])), numbers[[5, 3]])
    assert [int(each * 2**53) for each in EpochNumbers(1, 2).at(np.array([0, 10**12]))] == GOLDEN_NUMBERS


def test_weighted_orders_are_part_of_the_format(store):
    weights = np.arange(300) % 7
    assert drawn(epoch_of(tiering.Loader(store, 8, weights=weights, limit=8), 2)) == GOLDEN
    without = tiering.Loader(store, 8, weights=weights, replacement=False, limit=8)
    assert drawn(epoch_of(without, 2)) == GOLDEN_WITHOUT


GOLDEN_NUMBERS = [4591501311689679, 8406250782151483]
GOLDEN = [228, 118, 108, 237, 186, 201, 208, 195]
GOLDEN_WITHOUT = [200, 69, 139, 216, 131, 188, 123, 208]
