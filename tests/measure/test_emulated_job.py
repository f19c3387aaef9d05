"""An emulated job: it takes its time for each batch, waits for late ones, and counts the difference."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiering
from tiering.advice.cpu_costs import typical_costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.errors import UsageError
from tiering.measure.bench import bench
from tiering.measure.emulated_job import EmulatedEpoch, EmulatedJob, emulated_job

COSTS = typical_costs(DatasetSizes(300, 1_800_000))


class Clock:
    """Time that passes only where somebody sleeps, and by as much more as each sleep ends late."""

    def __init__(self, late=0.0):
        self.now, self.late = 1000.0, late

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds + self.late

    def batches(self, count, seconds, first=0.0):
        for number in range(count):
            self.sleep(seconds + (0.0 if number else first))
            yield range(10)


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr("tiering.measure.emulated_job.time", found)
    return found


def served(job, batches, clock=time):
    """Serve batches; return the epoch, how many came, and the time that took."""
    epoch = EmulatedEpoch(job)
    began = clock.perf_counter()
    count = sum(1 for _ in epoch.serve(batches, len))
    return epoch, count, clock.perf_counter() - began


def test_a_job_is_that_of_an_accelerator_a_rate_or_a_step():
    h100 = emulated_job("resnet50-h100")
    assert (h100.batch_size, h100.step_s, h100.sample_bytes, h100.required) == (400, 0.224, 114660.07, 0.9)
    smaller = emulated_job("h100", batch_size=100)
    assert smaller.samples_per_s == pytest.approx(h100.samples_per_s)
    assert emulated_job(samples_per_s=1000).step_s == pytest.approx(0.256)
    assert emulated_job(step_s=0.02, batch_size=10).samples_per_s == pytest.approx(500)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "accelerator: needs one of `accelerator`, `samples_per_s` and `step_s`"),
        ({"samples_per_s": 1.0, "step_s": 1.0}, "samples_per_s: takes one of .*, not both"),
        ({"accelerator": "abacus"}, "accelerator: must be one of resnet50-h100"),
        ({"samples_per_s": 0.0}, "samples_per_s: must be above 0, not 0"),
        ({"step_s": 0.0}, "step_s: must be above 0, not 0"),
        ({"step_s": float("nan")}, "step_s: must be above 0, not nan"),
        ({"step_s": 1.0, "batch_size": 0}, "batch_size: must be above 0, not 0"),
    ],
)
def test_impossible_jobs_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        emulated_job(**given)


def test_a_job_that_never_waits_is_fully_used_and_takes_its_time(clock):
    epoch, count, seconds = served(EmulatedJob("a job", 10, 0.01), [range(10)] * 20, clock)
    assert count == epoch.steps == 20
    assert epoch.utilisation == pytest.approx(1)
    assert seconds == pytest.approx(0.2)


def test_a_job_waits_for_late_batches(clock):
    epoch, _, _ = served(EmulatedJob("a job", 10, 0.01), clock.batches(20, 0.02), clock)
    assert epoch.utilisation == pytest.approx(0.5)


def test_reading_overlaps_with_computing(clock):
    epoch, _, seconds = served(EmulatedJob("a job", 10, 0.02), clock.batches(20, 0.01), clock)
    assert epoch.utilisation == pytest.approx(1)
    assert seconds == pytest.approx(0.01 + 20 * 0.02)


def test_the_first_step_does_not_count(clock):
    epoch, _, seconds = served(EmulatedJob("a job", 10, 0.01), clock.batches(10, 0.0, first=0.3), clock)
    assert seconds == pytest.approx(0.4)
    assert epoch.utilisation == pytest.approx(1)
    assert epoch.computed == pytest.approx(0.09)


def test_short_steps_do_not_add_up_late_wake_ups(clock):
    """Each sleep ends some 60 us late, which would make it 0.6."""
    clock.late = 60e-6
    epoch, _, seconds = served(EmulatedJob("a job", 10, 100e-6), [range(10)] * 3000, clock)
    assert epoch.utilisation > 0.99
    assert seconds == pytest.approx(0.3, abs=0.001)


def test_a_job_takes_its_time_and_no_processor():
    cpu = time.process_time()
    _, _, seconds = served(EmulatedJob("a job", 10, 100e-6), [range(10)] * 3000)
    assert seconds >= 0.299
    assert time.process_time() - cpu < 0.6 * seconds


def test_a_shorter_batch_takes_its_share_of_a_step():
    epoch, _, _ = served(EmulatedJob("a job", 10, 0.01), [range(10), range(10), range(5)])
    assert epoch.computed == pytest.approx(0.015)


@pytest.mark.parametrize("count", [0, 1])
def test_one_step_has_no_utilisation(count):
    assert served(EmulatedJob("a job", 10, 0.001), [range(10)] * count)[0].utilisation is None


@given(st.lists(st.integers(1, 10), min_size=2, max_size=20), st.floats(1e-6, 1e-3))
def test_utilisation_is_a_share_whatever_the_batches(sizes, step):
    epoch, count, _ = served(EmulatedJob("a job", 10, step), [range(size) for size in sizes])
    assert count == len(sizes)
    assert 0 < epoch.utilisation <= 1


@pytest.mark.parametrize(
    "packed",
    ["lmdb", pytest.param("zarr", marks=pytest.mark.slow), pytest.param("zarr-zstd", marks=pytest.mark.slow)],
    indirect=True,
)
def test_bench_measures_utilisation_beside_the_predicted_one(packed):
    job = emulated_job(samples_per_s=3000, batch_size=20)
    (found,) = bench([packed], epochs=3, job=job, costs=COSTS)
    busy = found.utilisation
    assert busy.steps == 15
    assert busy.samples_per_s == pytest.approx(3000)
    assert 0 < busy.first <= 1
    assert 0 < busy.later <= 1
    assert busy.predicted_later == 1
    assert found.later_samples_per_s < 3000 * 1.05
    assert bench([packed], epochs=2)[0].utilisation is None


@pytest.mark.parametrize(
    "packed",
    ["lmdb", pytest.param("zarr", marks=pytest.mark.slow), pytest.param("zarr-zstd", marks=pytest.mark.slow)],
    indirect=True,
)
def test_a_faster_job_is_predicted_to_be_less_busy(packed):
    shares = [
        bench([packed], epochs=2, job=emulated_job(samples_per_s=rate), costs=COSTS)[0].utilisation.predicted_later
        for rate in (1e4, 1e7, 1e8)
    ]
    assert shares[0] >= shares[1] > shares[2] > 0
    assert shares[1] == pytest.approx(10 * shares[2])


@pytest.mark.parametrize(
    "packed",
    ["lmdb", pytest.param("zarr", marks=pytest.mark.slow), pytest.param("zarr-zstd", marks=pytest.mark.slow)],
    indirect=True,
)
def test_costs_are_measured_with_samples_of_any_store(packed):
    lines = []
    (found,) = bench([packed], epochs=2, job=emulated_job(samples_per_s=1e7), progress=lines.append)
    assert any("measuring this processor" in line for line in lines)
    assert 0 < found.utilisation.predicted_later < 1


def test_behind_a_cache_nothing_is_predicted(packed, tmp_path):
    with tiering.cached(packed, 1 << 30, tmp_path / "cache") as store:
        (found,) = bench([store], epochs=2, job=emulated_job(samples_per_s=1e5))
    assert found.utilisation.later is not None
    assert found.utilisation.predicted_later is None
