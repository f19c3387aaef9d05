"""Mixtures: proportions of every batch, passes of every store, ranks and interruptions."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from scipy import stats

import tiering
from benchmarks.shuffle_battery import compare
from tests.serve.sampled import dealt, drawn, epoch_of, in_turn, interrupted, maker
from tiering.errors import UsageError


@pytest.fixture(scope="module")
def parts(store):
    """Of 41, 180 and 79 samples."""
    return [store.select(range(*ends)) for ends in ((0, 41), (41, 221), (221, 300))]


def mixture(parts, weights=(7, 2, 1), **options):
    return tiering.mix(dict(zip(parts, weights, strict=True)), **options)


def counts_of(mixed, batches):
    """How many samples each batch has of each store, (batches, stores)."""
    stores = len(mixed.store.parts)
    return np.array([np.bincount(mixed.store.part_of(batch.indices), minlength=stores) for batch in batches])


@pytest.mark.parametrize("ranks", [1, 3, 8])
def test_every_batch_and_any_hundred_have_the_proportions(parts, ranks):
    mixed = mixture(parts, (0.7, 0.25, 0.05), until=100_000)
    served = [counts_of(mixed, batches) for batches in dealt(maker(mixed), ranks, 64, 0)]
    exact = 64 * np.array([0.7, 0.25, 0.05])
    whole = 100_000 // (64 * ranks)
    for batches in served:
        full = batches[:whole]
        assert (abs(full - exact) < 1 + 1e-3).all()
        sums = np.cumsum(np.vstack([np.zeros(3), full - exact]), axis=0)
        windows = sums[100:] - sums[:-100]
        assert abs(windows).max() < 4.1  # 2 ceil(log2(3)), and what the counts are off the weights
    assert abs(sum(batches.sum(axis=0) for batches in served) / 100_000 - [0.7, 0.25, 0.05]).max() < 1e-5


@pytest.mark.parametrize("ranks", [1, 3, 8])
def test_two_stores_are_less_than_a_sample_off_in_any_batches_of_any_rank_and_of_all(parts, ranks):
    mixed = mixture(parts[:2], (0.3, 0.7), until=64_000)
    served = [counts_of(mixed, batches)[:, 0] for batches in dealt(maker(mixed), ranks, 32, 3)]
    whole = 64_000 // (32 * ranks)
    steps = np.array([batches[:whole] for batches in served]) - 32 * 0.3
    for deviations in [*steps, steps.sum(axis=0)]:
        sums = np.cumsum([0, *deviations])
        assert sums.max() - sums.min() < 1 + 1e-2


def test_until_the_first_store_ends_it_is_served_once_and_no_sample_twice(parts):
    mixed = mixture(parts)
    assert mixed.counts[0] == 41
    for epoch in range(3):
        times = Counter(drawn(epoch_of(tiering.Loader(mixed, 16), epoch)))
        assert max(times.values()) == 1
        assert sum(times[index] for index in range(41)) == 41
        assert sum(times.values()) == mixed.positions == len(times) == 58


def test_until_the_last_store_ends_it_is_served_once_and_all_others_in_passes(parts):
    mixed = mixture(parts, until="last")
    for epoch in range(2):
        times = np.bincount(drawn(epoch_of(tiering.Loader(mixed, 64), epoch)), minlength=300)
        assert times.sum() == mixed.positions
        for begin, end in ((0, 41), (41, 221), (221, 300)):
            assert times[begin:end].min() >= 1
            assert times[begin:end].max() - times[begin:end].min() <= 1
        assert [times[41:221].min(), times[41:221].max()] == [1, 1] or mixed.counts[1] != 180
    assert mixed.counts[1] >= 180


def test_passes_go_on_in_the_next_epochs(parts):
    """Of 180 samples an epoch serves 20: nine epochs serve each of them once."""
    mixed = mixture(parts, (80, 20, 0.0001), until=100)
    loader = tiering.Loader(mixed, 10, seed=1)
    served = [np.array(drawn(epoch_of(loader, epoch))) for epoch in range(18)]
    of_second = [epoch[(epoch >= 41) & (epoch < 221)].tolist() for epoch in served]
    for first in (0, 9):
        assert sorted(chain.from_iterable(of_second[first : first + 9])) == list(range(41, 221))
    assert of_second[0] != of_second[9]


def test_every_pass_has_an_order_of_its_own(parts):
    mixed = mixture(parts[:1], (1,), until=41 * 5)
    served = np.array(drawn(epoch_of(tiering.Loader(mixed, 41), 0))).reshape(5, 41)
    assert all(sorted(each) == list(range(41)) for each in served.tolist())
    assert len(set(map(tuple, served.tolist()))) == 5


def test_without_shuffle_passes_keep_the_order_of_their_store(parts):
    mixed = mixture(parts)
    served = np.array(drawn(epoch_of(tiering.Loader(mixed, 1, shuffle=False), 0)))
    assert served[served < 41].tolist() == list(range(41))


def test_the_numbers_of_a_sampled_mixture_are_multinomial_and_their_order_is_random(parts):
    mixed = mixture(parts, sampled=True, until=2000)
    loader = tiering.Loader(mixed, 2000, seed=3)
    part = np.array([mixed.store.part_of(np.array(drawn(epoch_of(loader, epoch)))) for epoch in range(60)])
    counts = np.array([np.bincount(each, minlength=3) for each in part])
    expected = np.array([0.7, 0.2, 0.1])
    chi = ((counts - 2000 * expected) ** 2 / (2000 * expected)).sum(axis=1)
    assert stats.kstest(chi, stats.chi2(2).cdf).pvalue > 1e-4
    # Neighbours are independent: a pair is (a, b) with the product of their probabilities.
    pairs = np.bincount((part[:, :-1] * 3 + part[:, 1:]).ravel(), minlength=9)
    assert stats.chisquare(pairs, pairs.sum() * np.outer(expected, expected).ravel()).pvalue > 1e-4
    # Within a store, samples come equally often.
    times = np.bincount(drawn(epoch_of(loader, 0)), minlength=300)
    assert all(np.ptp(times[begin:end]) <= 1 for begin, end in ((0, 41), (41, 221), (221, 300)))


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("before", [1, 3, 8])
@pytest.mark.parametrize("after", [1, 3, 8])
def test_another_number_of_ranks_ends_an_epoch_with_the_same_samples(parts, before, after, sampled):
    mixed = mixture(parts, until="last", sampled=sampled)
    make = maker(mixed)
    whole = sorted(in_turn(dealt(make, before, 4, 2)))
    legs = interrupted(make, [(before, 4, 3), (after, 7, 2), (before, 5, 10**6)], 2)
    assert sorted(chain.from_iterable(legs)) == whole


@pytest.mark.parametrize("before", [1, 3, 8])
@pytest.mark.parametrize("after", [1, 3, 8])
def test_the_rest_of_an_interrupted_epoch_has_the_proportions_for_other_ranks_and_batches(parts, before, after):
    mixed = mixture(parts, (0.7, 0.25, 0.05), until=60_000)
    make = maker(mixed)
    loader = make(batch_size=64, ranks=tiering.Ranks(0, before))
    loader.set_epoch(4)
    state = loader.state_dict(20)
    for batches in dealt(make, after, 50, 4, state):
        full = counts_of(mixed, batches)[: (60_000 - 20 * 64 * before) // (50 * after)]
        deviations = full - 50 * np.array([0.7, 0.25, 0.05])
        assert (abs(deviations) < 1 + 1e-2).all()
        sums = np.cumsum(np.vstack([np.zeros(3), deviations]), axis=0)
        assert abs(sums[100:] - sums[:-100]).max() < 4.5


@pytest.mark.parametrize("until", ["first", "last"])
def test_ranks_share_an_epoch_of_a_mixture(parts, until):
    mixed = mixture(parts, until=until)
    times = [np.bincount(in_turn(dealt(maker(mixed), ranks, 8, 1)), minlength=300) for ranks in (1, 3, 8)]
    # Every number of ranks takes as many samples of each store; with "first", none twice.
    assert {tuple(np.add.reduceat(each, [0, 41, 221]).tolist()) for each in times} == {tuple(mixed.counts)}
    assert until == "last" or all(each.max() == 1 for each in times)


def test_a_sampled_mixture_is_the_same_for_any_number_of_ranks(parts):
    make = maker(mixture(parts, sampled=True))
    assert len({tuple(in_turn(dealt(make, ranks, 8, 1))) for ranks in (1, 3, 8)}) == 1


@pytest.mark.parametrize("sampled", [False, True])
def test_a_mixture_of_one_store_passes_the_battery_of_shuffles(store, sampled):
    mixed = mixture([store.select(range(250))], (1,), sampled=sampled)

    def generated(n, epoch, count):
        return np.array(drawn(epoch_of(tiering.Loader(mixed, n, seed=11), epoch)))[:count]

    assert [each.statistic for each in compare(generated, 250, 60) if not each.passes] == []


def test_drop_last_and_limit_work(parts):
    mixed = mixture(parts, until=1000)
    served = dealt(maker(mixed, drop_last=True), 3, 16, 0)
    assert {len(batch) for batches in served for batch in batches} == {16}
    assert {len(batches) for batches in served} == {1000 // 48}
    limited = tiering.Loader(mixed, 16, seed=5, limit=100)
    assert drawn(epoch_of(limited, 0)) == drawn(epoch_of(tiering.Loader(mixed, 16, seed=5), 0))[:100]


def test_a_skipped_sample_is_replaced_by_one_of_the_same_store(parts):
    mixed = mixture(parts, until=300)
    broken = {mixed.store[index].key for index in (3, 4, 5, 40, 50, 220, 221, 299)}

    def transform(sample):
        if sample.key in broken:
            raise ValueError("broken")
        return sample.key

    loader = tiering.Loader(mixed, 20, seed=5, transform=transform, on_error="skip")
    plain = counts_of(mixed, epoch_of(tiering.Loader(mixed, 20, seed=5), 0))
    assert np.array_equal(counts_of(mixed, epoch_of(loader, 0)), plain)
    assert loader.stats().skipped > 0


@pytest.mark.parametrize(
    "other", [{"weights": (7, 2, 2)}, {"until": "last"}, {"sampled": True}, {"parts": slice(2)}], ids=repr
)
def test_the_state_of_another_mixture_is_refused(parts, other):
    parts_, weights = parts[other.pop("parts", slice(3))], other.pop("weights", (7, 2, 1))
    another = mixture(parts_, weights[: len(parts_)], **other)
    state = tiering.Loader(another, 8).state_dict()
    with pytest.raises(UsageError, match="mixture"):
        tiering.Loader(mixture(parts), 8).load_state_dict(state)


def test_a_mixture_and_a_plain_epoch_refuse_the_states_of_each_other(parts):
    mixed = mixture(parts, until=300)
    with pytest.raises(UsageError, match="mixture"):
        tiering.Loader(mixed.store, 8).load_state_dict(tiering.Loader(mixed, 8).state_dict())
    with pytest.raises(UsageError, match="mixture"):
        tiering.Loader(mixed, 8).load_state_dict(tiering.Loader(mixed.store, 8).state_dict())


@pytest.mark.parametrize(
    "wrong",
    [
        *({"batch": value} for value in (0, -1, None, 1.5, 2**40)),
        *({"begin": value} for value in (-1, None, 17, 1.5)),
        *(
            {"given": value}
            for value in (None, [1], [1, 1, 1], [16, 0, 0, 0], [0.5, 0, 0], [-1, 9, 8], [50, 0, 0], "xyz")
        ),
        {"begin": 16, "given": [0, 0, 15]},
        {"begin": 16, "given": [0, 0, 16]},
    ],
    ids=repr,
)
def test_an_impossible_state_is_refused_and_changes_nothing(parts, wrong):
    loader = tiering.Loader(mixture(parts), 8)
    before = loader.state_dict(2)
    with pytest.raises(UsageError, match=next(reversed(wrong))):
        loader.load_state_dict(before | wrong)
    assert loader.state_dict(2) == before


@pytest.mark.parametrize("shuffle", ["block", "sticky"])
def test_shuffles_that_deal_samples_are_refused(parts, shuffle):
    with pytest.raises(UsageError, match="shuffle"):
        tiering.Loader(mixture(parts), 8, shuffle=shuffle)


@pytest.mark.parametrize("options", [{"weights": "balanced"}, {"repeats": 2}])
def test_weights_and_repeats_of_a_mixture_are_refused(parts, options):
    with pytest.raises(UsageError, match="mixture"):
        tiering.Loader(mixture(parts), 8, **options)


@pytest.mark.parametrize(
    ("weights", "options", "error"),
    [
        ((0, 1, 1), {}, UsageError),
        ((-1, 1, 1), {}, UsageError),
        ((float("nan"), 1, 1), {}, UsageError),
        (("1", 1, 1), {}, UsageError),
        ((1, 1, 1), {"until": "end"}, ValueError),
        ((1, 1, 1), {"until": 0}, ValueError),
        ((1, 1, 1), {"until": 1.5}, TypeError),
        ((1e-15, 1, 1), {"until": "last"}, UsageError),
    ],
)
def test_impossible_mixtures_are_refused(parts, weights, options, error):
    with pytest.raises(error):
        mixture(parts, weights, **options)


def test_no_store_is_refused():
    with pytest.raises(UsageError, match="at least one store"):
        tiering.mix({})


def test_weights_are_taken_as_they_are_written(parts):
    """0.7 and 0.3 are seven and three tenths, not the nearest floats."""
    mixed = mixture(parts[:2], (0.1, 0.2), until=30)
    assert mixed.counts == [10, 20]
    assert mixture(parts[:2], (np.float64(0.1), np.float32(0.5)), until=60).counts == [10, 50]


def test_paths_are_opened_and_closed(store, tmp_path, photos):
    with tiering.mix({store.location.url: 1, photos: 2}) as mixed:
        assert len(epoch_of(tiering.Loader(mixed, 50), 0)) == 9
        assert [part.manifest.kind for part in mixed.store.parts] == ["lmdb", "folder"]
    with pytest.raises(tiering.errors.TieringError):
        tiering.mix({store.location.url: 1, tmp_path / "nothing": 2})


def test_a_mixture_is_pickled(parts):
    mixed = mixture(parts)
    again = pickle.loads(pickle.dumps(mixed))
    assert drawn(epoch_of(tiering.Loader(again, 8), 2)) == drawn(epoch_of(tiering.Loader(mixed, 8), 2))


def test_mixtures_are_part_of_the_format(parts):
    assert drawn(epoch_of(tiering.Loader(mixture(parts, until=20), 5, seed=1), 2)) == GOLDEN
    assert drawn(epoch_of(tiering.Loader(mixture(parts, until=20, sampled=True), 5, seed=1), 2)) == GOLDEN_SAMPLED


GOLDEN = [0, 25, 9, 174, 39, 102, 27, 268, 11, 5, 36, 131, 37, 34, 31, 276, 38, 32, 68, 14]
GOLDEN_SAMPLED = [18, 25, 154, 286, 29, 36, 2, 19, 8, 212, 145, 120, 31, 28, 26, 16, 24, 40, 21, 12]
