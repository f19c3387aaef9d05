"""Limits drop what breaks them, say so, and are refused where nothing is left."""

from __future__ import annotations

import pytest

from tests.advice.profiles import GIB, IMAGENET, TIERS, everything
from tiering.advice.constraints import Limits
from tiering.advice.job import Job
from tiering.advice.recommend import recommend
from tiering.errors import UsageError


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"budget_usd": -1.0}, "budget_usd"),
        ({"max_epoch_s": float("nan")}, "max_epoch_s"),
        ({"gpu_utilisation": 1.5}, "gpu_utilisation"),
        ({"capacity": {"nvme": 0}}, "capacity nvme"),
        ({"capacity": {"tape": 1}}, "capacity tape"),
        ({"gpu_utilisation": 0.9}, "gpu_utilisation"),
    ],
)
def test_impossible_limits_are_refused_by_name(wrong, where):
    with pytest.raises(UsageError) as caught:
        recommend(IMAGENET, limits=Limits(**wrong))
    assert caught.value.where == where


def test_a_budget_drops_what_is_dearer_and_says_so():
    free = recommend(IMAGENET, current="nfs", job=Job(ram=16 * GIB))
    limit = min(option.monthly_usd for option in everything(free)) * 2
    found = recommend(IMAGENET, current="nfs", limits=Limits(budget_usd=limit), job=Job(ram=16 * GIB))
    assert all(option.monthly_usd <= limit for option in everything(found))
    assert any(line.startswith("A budget of") and "drops" in line for line in found.dropped)
    with pytest.raises(UsageError, match="for the cheapest one left"):
        recommend(IMAGENET, limits=Limits(budget_usd=0.0))


def test_an_epoch_time_drops_what_is_slower():
    job = Job(decode=False, threads=8, hour_usd=0.0)
    tiers = [TIERS["nvme"], TIERS["hdd"], TIERS["nfs"]]
    free = recommend(IMAGENET, tiers=tiers, current="nfs", job=job)
    fastest = min(option.steady_epoch_s for option in everything(free))
    found = recommend(IMAGENET, tiers=tiers, current="nfs", job=job, limits=Limits(max_epoch_s=2 * fastest))
    assert all(option.steady_epoch_s <= 2 * fastest for option in everything(found))
    assert free.choice.steady_epoch_s > 2 * fastest
    assert found.asks.bytes_per_s == pytest.approx(IMAGENET.bytes / (2 * fastest))
    with pytest.raises(UsageError, match="at best"):
        recommend(IMAGENET, limits=Limits(max_epoch_s=1e-3))


def test_the_room_that_is_told_counts_and_not_the_catalogs():
    found = recommend(IMAGENET, limits=Limits(capacity={"nvme": 10**9, "sata-ssd": 10**9}))
    assert {option.tier for option in everything(found)}.isdisjoint({"nvme", "sata-ssd"})
    assert any(line.startswith("nvme holds 1 GB") for line in found.dropped)


def test_originals_that_must_stay_rule_pixels_out():
    job = Job(resize=(224, 224), threads=2, ram=16 * GIB)
    free = recommend(IMAGENET, job=job)
    assert free.choice.format == "pixels"
    assert "Keep the originals" in free.choice.reason
    found = recommend(IMAGENET, job=job, limits=Limits(keep_originals=True))
    assert {option.format for option in everything(found)} <= {"folder", "lmdb", "zarr"}
    assert any("Keeping the originals drops" in line for line in found.dropped)
    assert found.choice.bottleneck in {"decoding", "all cores"}


def test_a_utilisation_drops_what_lets_the_job_wait():
    job = Job(decode=False, threads=8, samples_per_s=3000.0)
    found = recommend(IMAGENET, job=job, current="hdd", limits=Limits(gpu_utilisation=0.9))
    assert found.choice.stall_fraction <= 0.1
    assert found.baseline.stall_fraction > 0.1
    assert all(option.stall_fraction <= 0.1 + 1e-3 for option in everything(found))
    with pytest.raises(UsageError, match="at best"):
        recommend(IMAGENET, job=Job(samples_per_s=1e9, threads=2), limits=Limits(gpu_utilisation=0.9))
