"""Thresholds: at most the risk is wrong above them, and a few right forecasts prove nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.workload.thresholds import RISK, lowest_threshold


@given(st.integers(0, 2**32), st.integers(1, 600), st.floats(0.2, 3.0))
@settings(max_examples=examples(60), deadline=None)
def test_above_the_threshold_at_most_the_risk_is_wrong(seed, count, hardness):
    rng = np.random.default_rng(seed)
    sure = rng.random(count)
    right = rng.random(count) < sure**hardness
    bound = lowest_threshold(sure, right)
    above = sure >= bound
    assert (~right[above]).sum() <= RISK * (above.sum() + 1)
    assert above.sum() == 0 or above.sum() >= 1 / RISK


def test_a_few_right_forecasts_prove_nothing():
    assert lowest_threshold(np.full(10, 0.9), np.ones(10, bool)) > 1
    assert lowest_threshold(np.zeros(0), np.zeros(0, bool)) > 1


def test_all_right_is_a_verdict_from_a_half_on():
    assert lowest_threshold(np.linspace(0.3, 1, 300), np.ones(300, bool)) == 0.5


def test_the_lowest_one_is_found():
    sure = np.linspace(0.5, 1.0, 501)
    assert lowest_threshold(sure, sure >= 0.7) == pytest.approx(0.7, abs=0.02)
