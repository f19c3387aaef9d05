"""A month of runs: parallel ranks wait together, and no job waits longer than a month lasts."""

from __future__ import annotations

import itertools
import tomllib

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiering
from tests.conftest import FIXTURES
from tiering.advice.catalog import load_catalog
from tiering.placement.heat import HEAT_SCHEMA, Heat, trace_heat
from tiering.placement.process_overlap import heaviest_chain
from tiering.trace.events import EVENT_SCHEMA
from tiering.units import MONTH_SECONDS

NFS = next(tier for tier in load_catalog() if tier.name == "nfs")
(SCENARIO,) = (
    each
    for each in tomllib.loads((FIXTURES / "advice/scenarios.toml").read_text())["scenario"]
    if each["name"] == "place-parallel-ranks"
)


def trace_of_ranks(ranks: int, seconds: float, wait_s: float, one_after_the_other: bool = False) -> pl.DataFrame:
    """Reads of 4 KiB in each rank, spread over some seconds. Each rank waits for a filer for wait_s in all."""
    each = round(wait_s / (NFS.read_latency_p50 + 4096 / NFS.read_bandwidth))
    rank = pl.int_range(ranks * each, eager=True) // each
    step = pl.int_range(ranks * each, eager=True) % each
    time = step * (seconds / (each - 1)) + (rank * (seconds + 1) if one_after_the_other else 0.0)
    return pl.DataFrame(
        {
            "time": time,
            "op": ["read"] * len(rank),
            "file": rank,
            "offset": step * 4096,
            "size": [4096] * len(rank),
            "pid": rank,
            "group": rank,
            "duration": [wait_s / each] * len(rank),
            "path": pl.select(pl.format("/data/rank{}", rank)).to_series(),
            "flags": pl.Series([None] * len(rank), dtype=pl.String),
        },
        schema=EVENT_SCHEMA,
    ).sort("time")


def test_parallel_ranks_wait_together_as_the_scenario_says():
    inputs, answer = SCENARIO["inputs"], SCENARIO["answer"]
    heat = trace_heat([trace_of_ranks(inputs["ranks"], inputs["trace_seconds"], inputs["rank_wait_s"])])
    assert heat.processes == pytest.approx(inputs["ranks"])
    month = tiering.Month(runs_per_month=inputs["runs_per_month"], nodes=inputs["nodes"])
    (share,) = tiering.place(heat, {"nfs": None}, month=month).summary.tiers
    low, high = answer["waiting_hours_per_month"]
    assert low <= share.waiting_h <= high
    assert share.waiting_h == pytest.approx(100 * 30 / 3600, rel=0.02)
    assert share.rank_waiting_h == pytest.approx(13.3, rel=0.02)
    assert share.waiting_h <= inputs["runs_per_month"] * inputs["trace_seconds"] / 3600
    # Both nodes wait, and each costs the price of an hour.
    assert share.waiting_usd == pytest.approx(share.waiting_h * 2.0 * inputs["nodes"])


def test_processes_that_follow_each_other_wait_in_turn():
    heat = trace_heat([trace_of_ranks(4, 10, 1, one_after_the_other=True)])
    assert heat.processes == pytest.approx(1)


def test_a_trace_of_seconds_is_not_repeated_all_month():
    """It was: 1,501 hours of waiting in a month of 730."""
    heat = tiering.read_heat(FIXTURES / "traces/dlio")
    assert heat.processes == pytest.approx(2, rel=0.01)
    summary = tiering.place(heat, {"nvme": 10**12}).summary
    assert summary.runs == 1
    assert sum(share.waiting_h for share in summary.tiers) * 3600 <= summary.duration
    assert any("one run a month; `runs_per_month`" in note for note in summary.notes)
    assert any("2 processes at the same time" in note for note in summary.notes)


def test_more_runs_than_fit_into_a_month_load_the_tiers_at_the_same_time():
    rows = [{"path": "a", "size": 10**6, "reads": 100, "bytes_read": 100 * 4096}]
    files = pl.DataFrame(rows).with_columns(
        **{name: pl.lit(0) for name in ("opens", "writes", "bytes_written")}, first=pl.lit(0.0), last=pl.lit(3600.0)
    )
    heat = Heat(files.select(HEAT_SCHEMA.names()).cast(dict(HEAT_SCHEMA)), 3600.0)
    full = MONTH_SECONDS / 3600
    busy = {
        share: tiering.place(heat, {"nvme": None}, month=tiering.Month(runs_per_month=share * full)).summary
        for share in (0.5, 1.0, 3.0)
    }
    assert busy[0.5].tiers[0].busy == busy[1.0].tiers[0].busy
    assert busy[3.0].tiers[0].busy == pytest.approx(3 * busy[1.0].tiers[0].busy)
    assert busy[0.5].duty_cycle == pytest.approx(0.5)
    assert any("3 runs at the same time" in note for note in busy[3.0].notes)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(1, 9)), max_size=7))
def test_the_heaviest_chain_is_the_best_of_all_chains(rows):
    spans = [(begin, begin + length, weight) for begin, length, weight in rows]
    chains = (chosen for count in range(len(spans) + 1) for chosen in itertools.combinations(sorted(spans), count))
    possible = (chain for chain in chains if all(one[1] <= next_[0] for one, next_ in itertools.pairwise(chain)))
    assert heaviest_chain(spans) == max(sum(weight for _, _, weight in chain) for chain in possible)


def test_a_run_that_would_last_longer_than_in_the_trace_is_pointed_out():
    heat = trace_heat([trace_of_ranks(1, 60, 30)])
    fine = tiering.place(heat, {"nfs": None}, current="nfs").summary
    assert not any("would last" in note for note in fine.notes)
    # 30 ms a read in place of 0.7 ms.
    slow = tiering.place(heat, {"object": None}, current="nfs").summary
    assert any("would last at least so long" in note for note in slow.notes)


def test_no_run_waits_longer_than_it_lasts_where_its_files_are():
    """One process with many threads: one request at a time would take ten times as long as the trace."""
    heat = trace_heat([trace_of_ranks(1, 60, 600)])
    month = tiering.Month(runs_per_month=100)
    for current in ("nfs", None):
        summary = tiering.place(heat, {"nfs": None}, month=month, current=current).summary
        assert summary.tiers[0].waiting_h <= 100 * summary.duration / 3600 * (1 + 1e-9)
        assert any("10 in flight are assumed" in note for note in summary.notes)
    one = tiering.place(heat, {"nfs": None}, month=tiering.Month(runs_per_month=100, in_flight=1)).summary
    assert one.tiers[0].waiting_h == pytest.approx(100 * 600 / 3600, rel=0.01)
