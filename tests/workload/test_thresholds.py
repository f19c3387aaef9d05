"""Thresholds: above them the risks are kept, and a few right forecasts prove nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.workload.thresholds import PART_RISK, VERDICT_RISK, lowest_thresholds

GROUNDS = ("forecast", "shown", "mixed")


def _shown(sure, right):
    """The threshold if all runs are generated and all traces show what is forecast."""
    nowhere = np.zeros(len(sure), bool)
    return lowest_thresholds(sure, right, np.full(len(sure), "shown"), nowhere, 0).shown


@given(st.integers(0, 2**32), st.integers(1, 3000), st.floats(0.05, 3.0), st.floats(0.0, 1.0))
@settings(max_examples=examples(60), deadline=None)
def test_above_the_thresholds_the_risks_are_kept(seed, count, hardness, of_recorded):
    rng = np.random.default_rng(seed)
    sure, grounds = rng.random(count), rng.choice(GROUNDS, count)
    right, recorded = rng.random(count) < sure**hardness, rng.random(count) < of_recorded
    parts = int(recorded.sum())
    found = dataclasses.asdict(lowest_thresholds(sure, right, grounds, recorded, parts))
    answered = sure >= np.array([found[ground] for ground in grounds])
    wrong = answered & ~right
    assert (wrong & ~recorded).sum() <= VERDICT_RISK * (answered & ~recorded).sum()
    assert (wrong & recorded).sum() <= PART_RISK * parts
    assert min(found.values()) >= 0.5


def test_a_few_right_forecasts_prove_nothing():
    assert _shown(np.full(10, 0.9), np.ones(10, bool)) > 1
    assert _shown(np.zeros(0), np.zeros(0, bool)) > 1


def test_all_right_is_a_verdict_from_a_half_on():
    assert _shown(np.linspace(0.3, 1, 400), np.ones(400, bool)) == 0.5


def test_the_lowest_one_is_found():
    sure = np.linspace(0.5, 1.0, 501)
    assert _shown(sure, sure >= 0.7) == pytest.approx(0.7, abs=0.02)


def test_each_ground_has_the_threshold_that_it_needs():
    sure, grounds = np.tile(np.linspace(0.5, 1.0, 1000), 2), np.repeat(["shown", "forecast"], 1000)
    right = sure >= np.where(grounds == "shown", 0.6, 0.9)
    found = lowest_thresholds(sure, right, grounds, np.zeros(2000, bool), 0)
    assert found.shown == pytest.approx(0.6, abs=0.02)
    assert found.forecast == pytest.approx(0.9, abs=0.02)
    assert found.mixed > 1


def test_wrong_verdicts_on_recorded_runs_count_against_all_their_parts():
    sure, recorded = np.tile(np.linspace(0.5, 1.0, 1000), 2), np.repeat([True, False], 1000)
    right = (sure >= 0.8) | ~recorded
    several, few = (lowest_thresholds(sure, right, np.full(2000, "shown"), recorded, parts) for parts in (1000, 300))
    assert several.shown == pytest.approx(0.8, abs=0.02)
    assert min(dataclasses.astuple(few)) > 1
