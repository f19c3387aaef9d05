"""Where checkpoints are written: waiting, draining, cost and wear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.advice.profiles import TIERS
from tiering.advice.checkpoints import checkpoint_plans
from tiering.errors import UsageError

HPC = [TIERS["nvme"], TIERS["parallel-fs"], TIERS["nfs"]]


def test_a_large_job_writes_to_its_own_disks_first_and_drains():
    best = checkpoint_plans(HPC, 5_290_000_000_000, 1800, nodes=512, kept=10, hour_usd=55.04)[0]
    assert (best.tier, best.path, best.drained_to) == ("nvme", "local first, then drained", "parallel-fs")
    assert best.write_s == pytest.approx(5.29e12 / 512 / 3e9)
    assert best.busy == pytest.approx(5.29e12 / 60e9 / 1800)
    assert best.monthly_usd == pytest.approx(52_900 * 0.145 + 5_290 * 0.08)


def test_the_ways_that_lose_a_checkpoint_or_fill_a_tier_come_last():
    plans = checkpoint_plans(HPC, 18_000_000_000_000, 600, nodes=512)
    poor = [not plan.safe or plan.busy > 0.8 for plan in plans]
    assert poor == sorted(poor)
    assert {plan.path for plan in plans if not plan.safe} == {"local"}


def test_the_disk_of_a_single_node_keeps_its_own_checkpoints():
    best = checkpoint_plans([TIERS["nvme"], TIERS["sata-ssd"], TIERS["nfs"]], 105 * 10**9, 900)[0]
    assert (best.tier, best.path) == ("nvme", "local")
    assert best.life_years == pytest.approx(15e12 * 5 / (105e9 * 96))


@pytest.mark.parametrize(("size", "every"), [(0, 1), (1, 0), (-1, 1), (1, float("nan")), (1, float("inf"))])
def test_impossible_numbers_are_refused(size, every):
    with pytest.raises(UsageError, match="above 0"):
        checkpoint_plans(HPC, size, every)


@given(
    size=st.integers(1, 10**14), every=st.floats(1, 10**6), nodes=st.integers(1, 1024), more=st.integers(2, 8),
)  # fmt: skip
def test_more_nodes_never_wait_longer_and_shares_are_shares(size, every, nodes, more):
    few, many = (
        {(plan.tier, plan.path, plan.drained_to): plan for plan in checkpoint_plans(HPC, size, every, nodes=count)}
        for count in (nodes, nodes * more)
    )
    for key, plan in few.items():
        assert 0 < plan.stall_fraction <= 1
        assert 0 < plan.busy <= 1
        assert many[key].write_s <= plan.write_s * (1 + 1e-9)
