"""Epochs of a running job, estimated from looks at simulated jobs whose epochs are known."""

from __future__ import annotations

import random

import polars as pl
import pytest

from tests.trace.watching.looks import look
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.watching.epoch_estimate import EpochEstimator

#: A dataset of 1,000 files of 1,000 B; a look each second sees 40 files, so an epoch takes 25 s.
FILES, SIZE, A_SECOND = 1000, 1000, 40
WHOLE = FILES * SIZE


def reads(epochs, *, shuffled=True, files=FILES):
    """Yield the files that a job reads."""
    randomness = random.Random(5)
    order = list(range(files))
    for _ in range(epochs):
        if shuffled:
            randomness.shuffle(order)
        yield from order


def estimates(job, *, attached=0, from_start=False, dataset=None, bytes_shown=True):
    """Watch a job from some second on; yield the true place in its epochs, in epochs, with the estimate."""
    estimator = EpochEstimator(from_start=from_start, dataset_bytes=dataset)
    seen = set()
    job = list(job)
    for begin in range(attached * A_SECOND, len(job), A_SECOND):
        now = job[begin : begin + A_SECOND]
        new = {file for file in now if file not in seen}
        seen |= new
        moved = {"touched": len(new) * SIZE, "touched_again": (len(now) - len(new)) * SIZE}
        if not bytes_shown:
            events = pl.DataFrame(
                {"op": ["read"], "size": [len(now) * SIZE]}, schema_overrides={"op": EVENT_SCHEMA["op"]}
            )
            events = events.with_columns(path=pl.lit(None, dtype=pl.String))
            moved = {"touched": None, "touched_again": None, "events": events}
        estimator.add(look(**moved))
        yield (begin + len(now)) * SIZE / WHOLE, estimator.estimate(), estimator


@pytest.mark.parametrize("dataset", [WHOLE, None])
@pytest.mark.parametrize("shuffled", [True, False])
def test_a_job_watched_from_its_start_is_where_the_estimate_says(dataset, shuffled):
    found = list(estimates(reads(4, shuffled=shuffled), from_start=True, dataset=dataset))
    for truth, estimate, _ in found:
        if estimate is None:
            assert dataset is None
            assert truth < 1.15  # by then, hardly anything was new for a tenth of an epoch
            continue
        assert estimate.bytes == WHOLE
        assert estimate.number - 1 + estimate.done == pytest.approx(truth, abs=0.05)
        assert estimate.anchored
        assert estimate.seconds == pytest.approx(25, rel=0.01)
        assert estimate.seconds_left == pytest.approx(25 * (1 - estimate.done), rel=0.02)


def test_without_a_source_that_shows_bytes_the_dataset_gives_epochs_and_no_share():
    *_, (truth, estimate, estimator) = estimates(
        list(reads(3))[:2300], from_start=True, dataset=WHOLE, bytes_shown=False
    )
    assert (estimate.number, estimate.done) == (3, pytest.approx(0.3))
    assert truth == 2.3
    assert estimator.touched_share is None
    assert list(estimates(reads(2), bytes_shown=False))[-1][1] is None


def test_a_shuffled_job_watched_from_the_middle_shows_where_its_next_epoch_begins():
    for attached in (3, 10, 20):
        for truth, estimate, _ in estimates(reads(4), attached=attached, dataset=WHOLE):
            if truth < 1:
                assert not estimate.anchored
            elif truth > 1.1 and estimate.done > 0.05:
                assert estimate.anchored
                assert (estimate.number - 1 + estimate.done) == pytest.approx(truth, abs=0.06), attached


def test_without_a_dataset_a_job_watched_from_the_middle_is_placed_once_all_of_it_was_seen():
    late = [each for truth, each, _ in estimates(reads(5), attached=10) if truth > 2.15 and each.done > 0.05]
    assert {each.number for each in late} == {3, 4, 5}
    assert all(each.anchored and each.bytes == WHOLE for each in late)


def test_a_fixed_order_watched_from_the_middle_counts_from_the_first_look():
    *_, (_, estimate, _) = estimates(list(reads(3, shuffled=False))[:1600], attached=10, dataset=WHOLE)
    assert (estimate.number, estimate.done) == (2, pytest.approx(0.2))
    assert estimate.seconds_left == pytest.approx(20, rel=0.02)


def test_a_job_that_reads_half_of_its_dataset_has_epochs_of_that_half():
    *_, (_, estimate, estimator) = estimates(list(reads(4, files=500))[:1750], from_start=True, dataset=WHOLE)
    assert estimate.bytes == 500 * SIZE
    assert (estimate.number, estimate.done) == (4, pytest.approx(0.5, abs=0.05))
    assert estimator.touched_share == 0.5


def test_an_index_that_is_read_twice_before_the_data_is_no_epoch():
    job = [0, 0] * A_SECOND + list(reads(2))[: FILES // 2]
    *_, (_, estimate, _) = estimates(job, from_start=True)
    assert estimate is None
    *_, (_, estimate, _) = estimates(job, from_start=True, dataset=WHOLE)
    assert estimate.number == 1


def test_validation_files_that_are_first_read_after_an_epoch_belong_to_it():
    validation = list(range(FILES, FILES + 80))
    job = [*reads(1), *validation, *list(reads(1))[:500]]
    *_, (_, estimate, _) = estimates(job, from_start=True)
    assert estimate.bytes == WHOLE + 80 * SIZE
    assert (estimate.number, estimate.done) == (2, pytest.approx(0.46, abs=0.03))


def test_the_time_left_is_unknown_once_a_job_stops_reading():
    estimator = list(estimates(list(reads(1))[:480], from_start=True, dataset=WHOLE))[-1][2]
    assert estimator.estimate().seconds_left == pytest.approx(13, rel=0.02)
    for _ in range(30):
        estimator.add(look(touched=0, touched_again=0))
    assert estimator.estimate().done == 0.48
    assert estimator.estimate().seconds_left is None
