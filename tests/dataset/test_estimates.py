"""Estimates are exact of a whole dataset, sensible at the ends, and never outside what is possible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.dataset.estimates import (
    EstimatedValue,
    FileSample,
    empties,
    mean,
    quantile,
    ratio_of_squares,
    share,
    total,
    total_files,
)


def simple(sizes: list[int], files: int) -> FileSample:
    return FileSample.simple(files, [b"%d" % number for number in range(len(sizes))], np.array(sizes, np.int64))


SIZES = st.lists(st.integers(0, 10**9), min_size=2, max_size=40)


@given(SIZES, st.floats(0, 1))
def test_a_whole_dataset_is_known(sizes: list[int], at: float):
    sample = simple(sizes, len(sizes))
    values = sample.size.astype(float)
    large = sample.size > 10**6
    assert sample.complete
    for found, true in (
        (total_files(sample), len(sizes)),
        (total(sample, values), sum(sizes)),
        (mean(sample, values), np.mean(sizes)),
        (share(sample, large), large.mean()),
    ):
        assert found.exact
        assert found.value == pytest.approx(true)
    assert quantile(sample, at).value in sizes


@given(SIZES, st.integers(1, 10**6), st.floats(0, 1))
def test_a_part_of_a_dataset_has_an_interval_around_each_figure(sizes: list[int], more: int, at: float):
    sample = simple(sizes, len(sizes) + more)
    values = sample.size.astype(float)
    estimates = [total_files(sample), total(sample, values), mean(sample, values), quantile(sample, at)]
    for found in estimates:
        assert 0 <= found.low <= found.value <= found.high < float("inf")
        assert EstimatedValue.model_validate_json(found.model_dump_json()) == found
    found = share(sample, sample.size > 10**6)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert estimates[1].low >= min(sum(sizes), estimates[1].value)


def test_nothing_found_is_not_nothing_there():
    """Of 100 files none damaged: up to 3.6 % may be (Clopper and Pearson), and of 1,000 up to 0.37 %."""
    for count, most in ((100, 0.0362), (1000, 0.00368)):
        found = share(simple([1] * count, 10**7), np.zeros(count, bool))
        assert (found.value, found.low) == (0, 0)
        assert found.high == pytest.approx(most, rel=0.02)
        every = share(simple([1] * count, 10**7), np.ones(count, bool))
        assert (every.low, every.high) == (pytest.approx(1 - most, rel=0.01), 1)


def test_shares_and_means_may_be_of_some_files_only():
    sample = simple([10, 20, 30, 40], 4)
    some = np.array([True, True, False, False])
    assert mean(sample, sample.size.astype(float), some).value == 15
    assert share(sample, np.array([True, False, True, True]), some).value == 0.5
    none = np.zeros(4, bool)
    assert mean(sample, sample.size.astype(float), none).value == 0
    assert share(sample, some, none).sample == 0


def drawn(population: list[int], factor: float) -> FileSample:
    """Units drawn by chance, each with two files at most that were asked for."""
    taken = np.minimum(population, 2)
    unit = np.repeat(np.arange(len(population)), taken)
    none = np.zeros(len(population), np.int64)
    return FileSample(
        population=np.array(population, np.int64),
        factor=np.full(len(population), factor),
        draw=np.arange(len(population)),
        turn=none,
        key=[b"%d" % number for number in range(len(unit))],
        size=np.full(len(unit), 7, np.int64),
        unit=unit,
    )


def test_units_that_are_alike_leave_no_doubt_about_their_sum():
    sample = drawn([10] * 20, 5.0)
    assert total_files(sample).value == 1000
    assert total_files(sample).exact
    assert not sample.complete
    assert total(sample, sample.size.astype(float)).value == 7000
    unequal = ratio_of_squares(sample)
    assert unequal is not None
    assert unequal.value == pytest.approx(1)


def test_a_single_draw_says_that_it_knows_nothing():
    found = total_files(drawn([10], 5.0))
    assert found.value == 50
    assert found.low == 10
    assert found.high > 1e100


def test_units_without_files_are_estimated():
    found = empties(drawn([5, 0, 5, 5, 0, 5, 5, 5, 5, 5], 3.0))
    assert found is not None
    assert found.value == pytest.approx(0.8)
    assert found.low < 0.6
    assert found.high > 0.9
    assert empties(simple([1, 2], 10)) is None
    unequal = ratio_of_squares(drawn([1, 3], 2.0))
    assert unequal is not None
    assert unequal.value == pytest.approx(2 * (1 + 9) / 16)
