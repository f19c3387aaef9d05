"""Max-min fairness: small demands are met, large ones share the rest evenly."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiering
from tests.conftest import FIXTURES
from tiering.errors import UsageError

demands = st.lists(st.floats(0, 1e12), min_size=1, max_size=12)
limits = st.just(0.0) | st.floats(1e-9, 1e13)


def test_four_jobs_share_a_filer_as_the_scenario_says():
    scenarios = tomllib.loads((FIXTURES / "advice/scenarios.toml").read_text())["scenario"]
    (scenario,) = (each for each in scenarios if each["name"] == "hpc-four-jobs-one-filer")
    got = tiering.fair_shares(scenario["inputs"]["jobs_bytes_per_s"], 1.1e9)
    answer = scenario["answer"]
    for share, low, high in zip(got, answer["job_bytes_per_s_low"], answer["job_bytes_per_s_high"], strict=True):
        assert low <= share <= high
    assert got == (1e8, 3e8, 3.5e8, 3.5e8)


@given(demands, limits)
def test_shares_keep_the_limit_and_the_demands(asked, limit):
    got = tiering.fair_shares(asked, limit)
    assert sum(got) <= limit * (1 + 1e-9)
    assert all(0 <= share <= demand for share, demand in zip(got, asked, strict=True))
    # Nothing is left over while a job asks for more.
    assert sum(got) == pytest.approx(min(limit, sum(asked)), rel=1e-9, abs=1e-9)


@given(demands, limits)
def test_no_job_gets_less_than_its_fair_part_unless_it_asks_for_less(asked, limit):
    got = tiering.fair_shares(asked, limit)
    for share, demand in zip(got, asked, strict=True):
        assert share >= min(demand, limit / len(asked)) * (1 - 1e-9)
    # A job that does not get all it asks for gets as much as any other.
    for share, demand in zip(got, asked, strict=True):
        if share < demand * (1 - 1e-9):
            assert share >= max(got) * (1 - 1e-9)


@given(demands, limits, st.data())
def test_a_larger_demand_never_pushes_others_below_their_fair_part(asked, limit, data):
    job = data.draw(st.integers(0, len(asked) - 1))
    raised = list(asked)
    raised[job] += data.draw(st.floats(0, 1e12))
    before, after = tiering.fair_shares(asked, limit), tiering.fair_shares(raised, limit)
    assert after[job] >= before[job] * (1 - 1e-9)
    for other in range(len(asked)):
        if other != job:
            assert after[other] >= min(before[other], limit / len(asked)) * (1 - 1e-9)


@given(demands, limits, st.randoms())
def test_the_order_of_the_jobs_does_not_matter(asked, limit, random):
    order = list(range(len(asked)))
    random.shuffle(order)
    got = tiering.fair_shares(asked, limit)
    shuffled = tiering.fair_shares([asked[job] for job in order], limit)
    assert shuffled == pytest.approx([got[job] for job in order], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("asked", "limit", "said"),
    [
        ([-1.0], 1.0, "^demands"),
        ([float("inf")], 1.0, "^demands"),
        ([1.0], -1.0, "^limit"),
        ([], float("nan"), "^limit"),
    ],
)
def test_impossible_numbers_are_refused_by_name(asked, limit, said):
    with pytest.raises(UsageError, match=said):
        tiering.fair_shares(asked, limit)


def test_without_a_limit_all_get_what_they_ask_for():
    assert tiering.fair_shares([1, 2], float("inf")) == (1, 2)
    assert tiering.fair_shares([], 5) == ()
