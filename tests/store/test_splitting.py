"""`store.sample` and `store.split`: exact counts, proportions, groups, and that nothing is lost or doubled."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.fielded import add_fields
from tiering.errors import UsageError
from tiering.store.sampling import drawn_rows
from tiering.store.splitting import quotas

#: A group for each sample: many of one, some of several, in an order that has nothing to do with the store's.
GROUPS = [f"patient {number * 7919 % 300 % 37}" if number % 3 else f"patient {100 + number}" for number in range(300)]


@pytest.fixture(scope="module")
def store(photos, tmp_path_factory):
    place = tmp_path_factory.mktemp("split") / "store"
    tiering.convert(photos, place, "lmdb", workers=1)
    scarce = [None if number % 50 == 0 else number % 11 for number in range(300)]
    add_fields(place, {"patient": GROUPS, "ward": [number % 13 for number in range(300)], "scarce": scarce})
    add_fields(place, {"score": [number / 300 for number in range(300)], "thumbnail": [b"x"] * 300})
    with tiering.open_store(place) as opened:
        yield opened


def rows(selection) -> list[int]:
    return selection.in_origin(np.arange(len(selection))).tolist()


def shares(parts: int):
    """Shares that add up to 1, as whole thousandths."""
    cuts = st.lists(st.integers(1, 999), min_size=parts - 1, max_size=parts - 1, unique=True).map(sorted)
    return cuts.map(lambda at: [(end - begin) / 1000 for begin, end in pairwise([0, *at, 1000])])


def largest_remainder(count: int, exact: list[Fraction]) -> list[int]:
    quotas = [count * share for share in exact]
    sizes = [int(each) for each in quotas]
    for part in sorted(range(len(exact)), key=lambda at: sizes[at] - quotas[at])[: count - sum(sizes)]:
        sizes[part] += 1
    return sizes


@settings(max_examples=examples(60))
@given(st.integers(2, 5).flatmap(shares), st.integers(0, 2**70), st.sampled_from([None, "label", "ward", "scarce"]))
def test_parts_are_disjoint_everything_and_of_the_exact_sizes(store, wanted, seed, stratify):
    named = {f"part{number}": share for number, share in enumerate(wanted)}
    sizes = largest_remainder(300, [Fraction(repr(each)).limit_denominator(1000) for each in wanted])
    if 0 in sizes:
        with pytest.raises(UsageError, match="no sample is left for part"):
            store.split(seed=seed, stratify=stratify, **named)
        return
    parts = store.split(seed=seed, stratify=stratify, **named)
    assert list(parts) == list(named)
    assert sorted(row for part in parts.values() for row in rows(part)) == list(range(300))
    assert [len(part) for part in parts.values()] == sizes
    if stratify == "label":
        for label in range(10):
            for share, part in zip(wanted, parts.values(), strict=True):
                assert abs(int((part.index.label == label).sum()) - 30 * share) < 2


@settings(max_examples=examples(300))
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any), st.integers(1, 6).flatmap(shares))
def test_quotas_have_exact_rows_and_columns(counts, wanted):
    exact = [Fraction(repr(each)).limit_denominator(1000) for each in wanted]
    table = quotas(counts, exact)
    assert table.sum(axis=1).tolist() == counts
    assert table.sum(axis=0).tolist() == largest_remainder(sum(counts), exact)
    for count, row in zip(counts, table.tolist(), strict=True):
        for share, size in zip(exact, row, strict=True):
            assert size >= 0
            assert abs(size - count * share) <= (1 if len(exact) < 4 else 2)


@settings(max_examples=examples(40))
@given(st.integers(2, 4).flatmap(shares), st.integers(0, 2**31), st.sampled_from([None, "label"]))
def test_a_group_is_never_divided(store, wanted, seed, stratify):
    named = {f"part{number}": share for number, share in enumerate(wanted) if share > 0.05}
    total = sum(named.values())
    named = {name: share / total for name, share in named.items()}
    parts = store.split(seed=seed, stratify=stratify, group="patient", **named)
    assert sorted(row for part in parts.values() for row in rows(part)) == list(range(300))
    owners = [{GROUPS[row] for row in rows(part)} for part in parts.values()]
    for number, one in enumerate(owners):
        assert all(one.isdisjoint(other) for other in owners[number + 1 :])
    largest = max(GROUPS.count(group) for group in set(GROUPS))
    for part, share in zip(parts.values(), named.values(), strict=True):
        assert abs(len(part) - 300 * share) <= largest * (1 if stratify is None else 3)


def test_groups_are_dealt_evenly_over_seeds(store):
    """Each sample is in a part as often as its share says, whatever its group."""
    times = np.zeros(300)
    for seed in range(400):
        times[rows(store.split(train=0.7, val=0.3, seed=seed, group="ward")["val"])] += 1
    assert abs(times / 400 - 0.3).max() < 5 * (0.3 * 0.7 / 400) ** 0.5


def test_equal_seeds_give_equal_parts_and_others_do_not(store, packed):
    one, same, other = (store.split(train=0.8, val=0.2, seed=seed)["val"] for seed in (1, 1, 2))
    assert one.selection == same.selection != other.selection
    with tiering.open_store(packed) as elsewhere:  # the same images in other formats and shards
        assert elsewhere.split(train=0.8, val=0.2, seed=1)["val"].selection == one.selection


def test_parts_of_a_seed_are_the_same_in_every_version(store):
    """The order is part of what a seed means: an experiment must find its validation set again."""
    assert rows(store.split(train=0.98, val=0.02, seed=5)["val"]) == [1, 14, 43, 225, 291, 299]
    assert rows(store.split(train=0.98, val=0.02, seed=5, stratify="label")["val"]) == [1, 43, 141, 225, 257, 291]
    of_patients = rows(store.split(train=0.97, val=0.03, seed=5, group="patient")["val"])
    assert of_patients == [35, 48, 84, 120, 197, 220, 234, 266, 289]
    assert rows(store.split(train=0.92, val=0.08, seed=5, group="ward")["val"]) == list(range(2, 300, 13))
    assert rows(store.sample(6, seed=5)) == [23, 31, 82, 220, 284, 286]


@pytest.mark.parametrize(
    ("options", "where", "message"),
    [
        ({"train": 0.9}, "shares", "must add up to 1, not 0.9"),
        ({}, "shares", "from 1 to 250 shares above 0"),
        ({"train": 1.5, "val": -0.5}, "shares", "shares above 0"),
        ({"train": "0.5", "val": 0.5}, "shares", "shares above 0"),
        ({"train": True}, "shares", "shares above 0"),
        ({"train": float("nan"), "val": 0.5}, "shares", "shares above 0"),
        ({"train": 0.9999, "val": 0.0001}, "shares", "no sample is left for val"),
        ({"train": 0.5, "val": 0.5, "stratify": "colour"}, "stratify", "one of label, split, patient, ward, scarce"),
        ({"train": 0.5, "val": 0.5, "stratify": "score"}, "stratify", "not score, of kind float"),
        ({"train": 0.5, "val": 0.5, "group": "thumbnail"}, "group", "not thumbnail, of kind bytes"),
        (
            {"train": 0.5, "val": 0.5, "group": "scarce"},
            "group",
            "found 6 samples without one. Select the others first",
        ),
    ],
    ids=str,
)
def test_a_wrong_split_is_refused_in_one_sentence(store, options, where, message):
    with pytest.raises(UsageError, match=message) as refused:
        store.split(**options)
    assert refused.value.where == where


def test_thirds_and_shares_with_rounded_decimals_add_up(store):
    assert [len(part) for part in store.split(a=1 / 3, b=1 / 3, c=1 / 3).values()] == [100, 100, 100]
    assert [len(part) for part in store.split(a=0.333333, b=0.333333, c=0.333334).values()] == [100, 100, 100]
    assert [len(part) for part in store.split(everything=1).values()] == [300]


@settings(max_examples=examples(100))
@given(st.integers(1, 300), st.integers(-(2**40), 2**70))
def test_a_sample_has_the_exact_count_and_grows_with_the_amount(store, count, seed):
    chosen = store.sample(count, seed=seed)
    assert len(chosen) == count
    assert rows(chosen) == sorted(set(rows(chosen)))
    if count > 1:
        assert set(rows(store.sample(count - 1, seed=seed))) <= set(rows(chosen))


@pytest.mark.parametrize(
    ("amount", "count"),
    [(0.1, 30), (1.0, 300), (0.5, 150), (0.001, None), (0.0017, 1), (1, 1), (300, 300), (np.float32(0.5), 150)],
)
def test_a_share_is_rounded_to_whole_samples(store, amount, count):
    if count is None:
        with pytest.raises(UsageError, match="amount"):
            store.sample(amount)
    else:
        assert len(store.sample(amount)) == count


@pytest.mark.parametrize("amount", [0, -1, 301, 0.0, 1.01, True, "0.1", None, float("nan"), float("inf")])
def test_a_wrong_amount_is_refused(store, amount):
    with pytest.raises(UsageError, match=r"a share above 0 and up to 1.0, or a number of samples from 1 to 300"):
        store.sample(amount)


@pytest.mark.parametrize("samples", [1000, 100_000])
def test_samples_are_simple_random_samples(samples):
    """Counts in the tenths of a store are as under simple random sampling: chi-square, hypergeometric variance."""
    statistics = []
    for seed in range(200):
        drawn = drawn_rows(samples, samples // 10, seed)
        counts = np.bincount(np.asarray(drawn) * 10 // samples, minlength=10)
        statistics.append(((counts - samples / 100) ** 2).sum() / (samples / 100 * 0.9))
    # The mean of 200 draws of chi-square with 9 degrees of freedom, within four standard errors.
    assert abs(np.mean(statistics) - 9) < 4 * (2 * 9 / 200) ** 0.5


def test_most_of_a_store_is_drawn_as_the_others_are_left_out():
    samples = 200_000
    most, all_but = drawn_rows(samples, samples - 5, 3), drawn_rows(samples, samples - 4, 3)
    assert set(np.asarray(most).tolist()) < set(np.asarray(all_but).tolist())
    assert len(most) == samples - 5
