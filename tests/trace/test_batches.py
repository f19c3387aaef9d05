"""The same events give the same profile, wherever their batches are cut."""

from __future__ import annotations

import gzip
import itertools
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.profile import profile_events
from tiering.trace.readers import read_trace

TRACES = Path(__file__).parents[2] / "fixtures" / "traces"
OPS = ("open", "close", "read", "read", "read", "write", "mmap", "rename", "sync", "access")


def event(time, op, offset=None, size=0, pid=1, file=10, path="/data/f.bin"):
    flags = "r" if op == "open" else None
    return (float(time), op, file, offset, size, pid, 10, None, path, flags)


def frame(rows):
    return pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")


def test_a_close_of_one_of_two_descriptors_ends_no_run_wherever_the_batch_ends():
    rows = [event(0, "open"), event(1, "open"), *(event(2 + at, "read", at * 1000, 1000) for at in range(5))]
    rows += [event(8, "close"), *(event(9 + at, "read", 5000 + at * 1000, 1000) for at in range(5))]
    whole = profile_events([frame(rows)])
    assert whole.sequentiality == 1
    for cut in range(len(rows)):
        assert profile_events([frame(rows[:cut]), frame(rows[cut:])]) == whole


def test_reads_after_the_last_close_are_another_run_wherever_the_batch_ends():
    rows = [event(0, "open"), event(1, "read", 0, 1000), event(2, "close"), event(3, "read", 1000, 1000)]
    whole = profile_events([frame(rows)])
    assert whole.sequentiality == 0.5
    for cut in range(len(rows)):
        assert profile_events([frame(rows[:cut]), frame(rows[cut:])]) == whole


@st.composite
def some_events(draw):
    rows = []
    for time in range(draw(st.integers(1, 40))):
        op, number = draw(st.sampled_from(OPS)), draw(st.integers(0, 3))
        moves = op in ("read", "write", "access")
        offset = draw(st.none() | st.integers(0, 6)) if moves else None
        size = draw(st.integers(0, 4)) if moves or op == "mmap" else 0
        offset = None if offset is None else offset * 40_000
        where = f"/data/{number}" if number else "/usr/lib/a.so"
        rows.append(event(time, op, offset, size * 40_000, draw(st.integers(1, 2)), number, where))
    return rows


@settings(max_examples=examples(30))
@given(rows=some_events(), cuts=st.lists(st.integers(0, 40), max_size=5))
def test_any_events_give_the_same_profile_in_any_batches(rows, cuts):
    edges = [0, *sorted(cuts), len(rows)]
    parts = [frame(rows[begin:end]) for begin, end in itertools.pairwise(edges)]
    assert profile_events(parts) == profile_events([frame(rows)])


@pytest.mark.parametrize("name", ["sqlite_log.strace", "train_loop.strace.gz"])
def test_a_recorded_trace_gives_the_same_profile_in_any_batches(name):
    events = pl.concat(read_trace(TRACES / name).batches)
    whole = profile_events([events])
    chance = random.Random(7)
    edges = [0, *sorted(chance.sample(range(len(events)), 15)), len(events)]
    assert profile_events([events[begin:end] for begin, end in itertools.pairwise(edges)]) == whole


def test_samples_of_large_traces_do_not_depend_on_batches_either(monkeypatch):
    monkeypatch.setattr("tiering.trace.block_sample._MOST", 500)
    monkeypatch.setattr("tiering.trace.distinct_count._MOST", 64)
    monkeypatch.setattr("tiering.trace.overwrites._FEWEST", 50)
    monkeypatch.setattr("tiering.trace.overwrites.MOST", 60)
    monkeypatch.setattr("tiering.trace.intervals._FEWEST", 50)
    monkeypatch.setattr("tiering.trace.intervals.MOST", 60)
    monkeypatch.setattr("tiering.trace.file_totals._MOST", 40)
    monkeypatch.setattr("tiering.trace.file_totals._FEWEST", 50)
    chance = random.Random(3)
    rows = []
    for time in range(3000):
        place, number = chance.randrange(200) << 20, chance.randrange(60)
        op = chance.choice(["read", "read", "write"])
        rows.append(event(time, op, place, 1 << 16, file=number, path=f"/data/{number}"))
    whole = profile_events([frame(rows)])
    assert whole.sample_rate < 1
    assert whole.range_rate < 1
    for step in (100, 333, 1024):
        assert profile_events([frame(rows[at : at + step]) for at in range(0, len(rows), step)]) == whole


def test_events_of_strace_come_in_the_same_order_in_batches_of_any_size(tmp_path, monkeypatch):
    lines = gzip.decompress((TRACES / "train_loop.strace.gz").read_bytes()).splitlines(keepends=True)
    trace = tmp_path / "job.strace"
    trace.write_bytes(b"".join(lines[:4000]))
    whole = pl.concat(read_trace(trace).batches)
    monkeypatch.setattr("tiering.trace.readers.strace._BATCH", 50)
    monkeypatch.setattr("tiering.trace.readers.strace._BLOCK", 1000)
    assert pl.concat(read_trace(trace).batches).equals(whole)
