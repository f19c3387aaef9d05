"""Cache sizes: straight lines for training, knees for traces, and what each step costs."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import FIXTURES
from tests.examples import examples
from tiering.advice.cache_size import SHARES, sizes_for_trace, sizes_for_training
from tiering.advice.catalog import find_tier, load_catalog
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.prediction import hit_ratio
from tiering.errors import UsageError
from tiering.trace.profile import profile_trace
from tiering.trace.reuse_distance import CurvePoint

CATALOG = {tier.name: tier for tier in load_catalog()}
NFS, NVME, HDD = (CATALOG[name] for name in ("nfs", "nvme", "hdd"))
IMAGES = DatasetSizes(1_000_000, 110_000_000_000)


def point(size, static, lru):
    return CurvePoint(cache_bytes=size, static=1 - static, lru=1 - lru)


def test_a_training_cache_gains_in_a_straight_line_up_to_everything():
    found = sizes_for_training(IMAGES, NFS, NVME)
    assert tuple(step.share for step in found.steps) == SHARES
    assert [step.hit_ratio for step in found.steps] == pytest.approx(SHARES)
    assert [step.lru_hit_ratio for step in found.steps] == [
        hit_ratio(step.cache_bytes, IMAGES.bytes, fill_once=False) for step in found.steps
    ]
    assert found.knee == len(SHARES) - 1
    assert "straight line" in found.notes[0]
    for before, step in zip(found.steps, found.steps[1:], strict=False):
        assert step.epoch_s < before.epoch_s
        # A second is never cheaper than at first: what storage gives up, the processor then takes.
        assert step.usd_per_second >= found.steps[1].usd_per_second * (1 - 1e-6)
        assert step.usd_per_point == pytest.approx(IMAGES.bytes / 1e9 * NVME.price / 100)


def test_the_knee_is_where_the_training_job_sets_the_pace():
    slowest, fastest = (sizes_for_training(IMAGES, NFS, NVME).steps[place].epoch_s for place in (0, -1))
    rate = IMAGES.samples / ((slowest + fastest) / 2)
    found = sizes_for_training(IMAGES, NFS, NVME, samples_per_s=rate)
    knee = found.steps[found.knee]
    assert 0 < knee.share < 1
    assert knee.epoch_s == pytest.approx(IMAGES.samples / rate)
    assert found.steps[found.knee - 1].epoch_s > knee.epoch_s
    assert "training job sets the pace" in found.reason
    for step in found.steps[found.knee + 1 :]:
        assert step.epoch_s == pytest.approx(knee.epoch_s)
        assert step.usd_per_second is None


def test_no_cache_where_it_gains_nothing():
    slow_job = sizes_for_training(IMAGES, NFS, NVME, samples_per_s=1.0)
    assert slow_job.steps[slow_job.knee].cache_bytes == 0
    slow_cache = sizes_for_training(IMAGES, NVME, HDD, store_format="lmdb")
    assert slow_cache.steps[slow_cache.knee].cache_bytes == 0
    assert "no faster" in slow_cache.reason
    fast_job = sizes_for_training(IMAGES, NFS, NVME, samples_per_s=1e12)
    assert fast_job.steps[fast_job.knee].share == 1.0
    assert any("never reached" in note for note in fast_job.notes)
    with pytest.raises(UsageError, match="above 0"):
        sizes_for_training(IMAGES, NFS, NVME, samples_per_s=0.0)


@settings(max_examples=examples(50))
@given(
    samples=st.integers(1, 10**7),
    size=st.integers(1, 10**7),
    origin=st.sampled_from(sorted(CATALOG)),
    cache=st.sampled_from(sorted(CATALOG)),
    rate=st.none() | st.floats(1, 1e7),
)
def test_more_cache_never_hurts_and_the_knee_is_enough(samples, size, origin, cache, rate):
    data = DatasetSizes(samples, samples * size)
    found = sizes_for_training(data, CATALOG[origin], CATALOG[cache], samples_per_s=rate)
    steps = found.steps
    assert [step.cache_bytes for step in steps] == sorted(step.cache_bytes for step in steps)
    for before, step in itertools.pairwise(steps):
        assert step.epoch_s <= before.epoch_s * (1 + 1e-9)
        assert step.monthly_usd >= before.monthly_usd
    assert steps[found.knee].epoch_s <= steps[-1].epoch_s * 1.002


def test_a_curve_that_bends_has_its_knee_where_it_bends():
    # Nine tenths of the hits come from a tenth of the bytes.
    curve = [point(10, 0.45, 0.4), point(100, 0.9, 0.8), point(500, 0.95, 0.9), point(1000, 1.0, 1.0)]
    found = sizes_for_trace(curve, NVME)
    assert found.steps[found.knee].cache_bytes == 100
    assert found.steps[0].cache_bytes == 0
    assert found.steps[2].usd_per_point == pytest.approx(90e-9 * NVME.price / 45)
    assert all(step.epoch_s is None and step.usd_per_second is None for step in found.steps)


def test_curves_without_a_knee_say_so():
    straight = sizes_for_trace([point(size, size / 1000, 0.0) for size in (1, 10, 100, 500, 1000)], NVME)
    assert straight.knee is None
    assert "no knee" in straight.reason
    once = sizes_for_trace([point(size, 0.0, 0.0) for size in (1, 1000)], NVME)
    assert once.steps[once.knee].cache_bytes == 0
    with pytest.raises(UsageError, match="no read to cache"):
        sizes_for_trace([], NVME)


def test_a_recorded_training_loop_has_the_straight_line_of_the_theory():
    curve = profile_trace(FIXTURES / "traces" / "train_loop.strace.gz").miss_ratio_curve
    found = sizes_for_trace(curve, find_tier(load_catalog(), "nvme"))
    assert found.knee is None
    for step in found.steps:
        # Four of five epochs can hit.
        assert step.hit_ratio == pytest.approx(0.8 * step.share, abs=0.01)
