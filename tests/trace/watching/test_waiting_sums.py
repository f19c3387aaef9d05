"""Looks are summed by role to a Waiting, whatever number of processes comes and goes; a trace keeps it."""

from __future__ import annotations

import tracemalloc

import polars as pl
import pytest

import tiering
from tests.trace.watching.looks import look, process
from tiering.errors import TraceError
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.parquet_writer import TraceWriter
from tiering.trace.waiting import Waiting
from tiering.trace.watching.observation import AcceleratorLook, MemoryLook, Observation
from tiering.trace.watching.roles import Member, roles
from tiering.trace.watching.waiting_sums import WaitingSums

BUSY = {"processor": 0.5, "reads": 10, "bytes_read": 1000}


def training(number: int) -> Observation:
    """A consumer that waits for two workers, one of them started anew at each look."""
    read = {"bytes_read": 1_000_000, "reads": 100, "processor": 0.2, "queued": 0.1}
    disk = {
        "main": {"disk": 0.7, "running": 0.3},
        "threads": {"disk": 0.7, "running": 0.3, "lock": 1.0},
        "opening": 0.35,
    }
    return look(
        process(50, parent=1, command="bash"),
        process(100, parent=50, main={"pipe": 1.0}, threads={"pipe": 1.0}, **BUSY),
        process(101, parent=100, **read, **disk),
        process(1000 + number, started=number, parent=100, **read, **disk),
        time=float(number),
    )


def summed(*looks: Observation) -> Waiting:
    sums = WaitingSums(cores=4)
    for each in looks:
        sums.add(each)
    found = sums.waiting()
    assert found is not None
    return found


def test_each_role_has_its_sums():
    found = summed(*map(training, range(10)))
    workers, consumer = found.workers, found.consumer
    assert workers is not None
    assert consumer is not None
    assert (consumer.processes, workers.processes, workers.at_once) == (1, 11, 2)
    assert workers.bytes_read == 20_000_000
    assert workers.seconds == pytest.approx(20)
    assert workers.main.disk == pytest.approx(0.7)
    assert workers.main.running == pytest.approx(0.2), "0.3 ready, of which the kernel says a third was queued"
    assert workers.main.queued == pytest.approx(0.1)
    assert workers.threads.lock == pytest.approx(1.0)
    assert workers.opening == pytest.approx(0.5)
    assert workers.device_read is None
    assert consumer.main.pipe == 1.0
    assert found.others is not None
    assert found.single is None
    assert found.cores == 4


def test_nothing_is_kept_of_processes_that_ended():
    sums = WaitingSums(cores=2)
    for number in range(100):
        sums.add(training(number))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(100, 3000):
            sums.add(training(number))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000
    found = sums.waiting()
    assert found is not None
    assert found.workers is not None
    assert found.workers.processes == 3001
    assert len(found.busiest) == 8
    assert found.busiest[0].pid == 101


def test_without_a_look_there_is_nothing():
    assert WaitingSums(cores=2).waiting() is None


def test_memory_and_accelerators_are_summed_and_stay_missing_where_they_are_not_known():
    memory = MemoryLook(limit=1000, used=900, limited=2, refaulted=None, stalled=0.5)
    gpu = AcceleratorLook("H100", 0.25, 0, ours=None)
    found = summed(
        look(memory=memory, accelerators=(gpu,)),
        look(memory=memory, accelerators=(AcceleratorLook("H100", 0.75, 0, ours=True),)),
    )
    assert found.memory is not None
    assert found.memory.model_dump() == {"limit": 1000, "used": 900, "limited": 4, "refaulted": None, "stalled": 1.0}
    assert found.accelerator_busy == 0.5
    assert summed(look()).memory is None
    assert summed(look()).accelerator_busy is None


def member(pid: int, parent: int, command: str = "python", **figures: float) -> Member:
    return Member(
        pid, parent, command, **{"seconds": 10, "processor": 5, "disk": 0, "calls": 100, "bytes_read": 100, **figures}
    )


IDLE = {"processor": 0, "calls": 0, "bytes_read": 0}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([member(1, 0)], ["single"]),
        ([member(1, 0, **IDLE)], ["other"]),
        ([member(1, 0, **IDLE | {"disk": 5})], ["single"]),
        ([member(1, 0), member(2, 1), member(3, 1)], ["consumer", "worker", "worker"]),
        ([member(1, 0), member(2, 1, "pt_data_worker")], ["consumer", "worker"]),
        # A shell that starts a training, and a launcher with two ranks that load by themselves.
        ([member(1, 0, "bash", **IDLE), member(2, 1)], ["other", "single"]),
        ([member(1, 0, **IDLE), member(2, 1), member(3, 1)], ["other", "single", "single"]),
        # Ranks with workers; multiprocessing's fork server between a consumer and its workers.
        ([member(1, 0, **IDLE), member(2, 1), member(3, 2)], ["other", "consumer", "worker"]),
        ([member(1, 0), member(2, 1, **IDLE | {"bytes_read": 5}), member(3, 2)], ["consumer", "other", "worker"]),
        # A child that hardly reads is a tracker, not a worker.
        ([member(1, 0), member(2, 1), member(3, 1, **IDLE | {"bytes_read": 1})], ["consumer", "worker", "other"]),
        # A program of another name is no worker of the one that started it.
        ([member(1, 0), member(2, 1, "rsync")], ["single", "single"]),
    ],
)
def test_roles_follow_from_parents_programs_and_what_is_read(members, expected):
    found = roles(members)
    assert [found[each.pid] for each in members] == expected


def test_a_trace_keeps_where_its_job_waited(tmp_path):
    waiting, path = summed(*map(training, range(3))), tmp_path / "run.parquet"
    writer = TraceWriter(tmp_path)
    writer.add(pl.DataFrame(schema=EVENT_SCHEMA))
    writer.finish(path, [], [], waiting=waiting)
    assert tiering.profile_trace(path).waiting == waiting
    # Several traces in one directory, as of the nodes of a job, are not added up; that is said.
    writer.finish(tmp_path / "other.parquet", [], [], waiting=waiting)
    both = tiering.profile_trace(tmp_path)
    assert both.waiting is None
    assert any("one at a time" in note or "by itself" in note for note in both.notes)


def test_a_trace_whose_sums_are_damaged_is_refused(tmp_path):
    path = tmp_path / "run.parquet"
    pl.DataFrame(schema=EVENT_SCHEMA).write_parquet(path, metadata={"tiering.waiting": '{"seconds": "many"}'})
    with pytest.raises(TraceError, match=r"tiering\.waiting"):
        tiering.profile_trace(path)
    assert tiering.profile_trace(path, lenient=True).waiting is None
