"""What looks add up to: flows, shares and states."""

from __future__ import annotations

import polars as pl
import pytest

from tests.trace.watching.looks import look, process
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.watching.job_progress import ProgressTally


def tallied(*looks, dataset_bytes=None):
    tally = ProgressTally(dataset_bytes=dataset_bytes)
    for each in looks:
        tally.add(each)
    return tally.progress()


def test_nothing_is_shown_before_the_first_process():
    assert tallied() is None
    assert tallied(look()) is None


def test_bytes_and_requests_add_up_and_rates_are_those_of_the_last_seconds():
    busy = look(
        process(bytes_read=10_000, reads=4, bytes_written=50, writes=1), process(101, bytes_read=2_000, reads=2)
    )
    idle = look(process(), process(101))
    found = tallied(*[busy] * 20)
    assert (found.read.bytes, found.read.requests) == (240_000, 120)
    assert found.read.bytes_per_s == pytest.approx(12_000)
    assert found.read.requests_per_s == pytest.approx(6)
    assert (found.written.bytes, found.written.requests) == (1_000, 20)
    later = tallied(*[busy] * 20, *[idle] * 20)
    assert later.read.bytes == 240_000
    assert later.read.bytes_per_s < 0.03 * 12_000
    assert later.seconds == 40
    assert (later.root, later.command) == (100, "python")


def test_what_no_source_shows_is_missing_and_not_zero():
    found = tallied(look(process(bytes_read=5)))
    assert found.mapped is found.storage_read is found.storage_written is None
    assert found.touched is found.touched_share is found.reread_share is found.epoch is None
    found = tallied(look(process(major_faults=3, device_read=4096), touched=0, touched_again=0, mapped=8192))
    assert (found.mapped.bytes, found.mapped.requests) == (8192, 3)
    assert (found.storage_read.bytes, found.storage_read.requests, found.storage_written) == (4096, None, None)
    assert (found.touched, found.reread_share) == (0, None)


def test_touched_and_reread_shares_follow_from_the_bytes():
    found = tallied(look(process(), touched=600, touched_again=0), look(process(), touched=0, touched_again=200))
    assert (found.touched, found.reread_share) == (600, 0.25)
    found = tallied(look(process(), touched=600, touched_again=0), dataset_bytes=1_000)
    assert found.touched_share == 0.6


def test_a_process_runs_or_waits_as_its_threads_do_and_otherwise_as_its_first_thread_does():
    decoding = process(processor=2.0, threads={"running": 2.0, "sleeping": 6.0}, main={"lock": 1.0})
    loading = process(101, threads={"running": 0.25, "disk": 0.5, "lock": 7.0}, main={"running": 0.5, "pipe": 0.5})
    asleep = process(102)
    found = tallied(look(asleep, loading, decoding), look(asleep, loading, decoding))
    by_pid = {each.pid: each for each in found.processes}
    assert [each.pid for each in found.processes] == [100, 101, 102]
    assert (by_pid[100].running, by_pid[100].lock, by_pid[100].processor) == (1.0, 0.0, pytest.approx(2.0))
    assert by_pid[101].running == pytest.approx(0.25)
    assert by_pid[101].disk == pytest.approx(0.5)
    assert by_pid[101].pipe == pytest.approx(0.25)
    assert by_pid[102].sleeping == 1.0
    for each in found.processes:
        shares = each.running, each.disk, each.lock, each.pipe, each.network, each.sleeping
        assert sum(shares) == pytest.approx(1)


def test_states_that_were_never_sampled_are_no_sleep():
    (found,) = tallied(look(process(samples=0, threads={}, main={}, processor=0.5))).processes
    assert found.running == found.sleeping == 0.0
    assert found.processor == 0.5


def test_a_pid_that_is_given_away_again_is_another_process_and_ended_ones_are_forgotten():
    tally = ProgressTally()
    for _ in range(10):
        tally.add(look(process(7, started=1, processor=1.0, bytes_read=500)))
    tally.add(look(process(7, started=2)))
    found = tally.progress()
    (only,) = found.processes
    assert (only.started, only.processor, only.read_per_s) == (2, 0.0, 0.0)
    assert found.read.bytes == 5_000
    for pid in range(10_000):
        tally.add(look(process(pid, started=3)))
    assert len(tally.progress().processes) == 1


def test_what_was_touched_is_missing_where_most_was_read_at_unknown_places():
    rows = {"op": ["read"], "size": [1_000], "path": [None]}
    events = pl.DataFrame(rows, schema={name: EVENT_SCHEMA[name] for name in rows})
    found = tallied(look(process(), touched=100, touched_again=20), look(process(), events=events), dataset_bytes=5_000)
    assert found.touched is found.touched_share is found.reread_share is None
    assert found.epoch.done == pytest.approx(1_120 / 5_000)
