"""What a report shows of a trace beside its profile: exact, whatever the batches, in one pass with the profile."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.conftest import FIXTURES
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.evidence import EvidenceCollector
from tiering.trace.profile import profile_trace
from tiering.trace.program_files import FileMarks
from tiering.trace.readers import read_trace

TRACE = FIXTURES / "traces" / "train_loop.strace.gz"


def events(**columns):
    count = len(columns["time"])
    given = {"op": ["read"] * count, "file": [1] * count, "pid": [7] * count, "size": [10] * count} | columns
    return pl.DataFrame({name: given.get(name, [None] * count) for name in EVENT_SCHEMA}, schema=EVENT_SCHEMA)


def evidence(table, step=None, **options):
    collector = EvidenceCollector()
    for at in range(0, len(table), step or len(table)):
        batch = table.slice(at, step or len(table))
        collector.add(batch, batch)
    return collector.found(**options)


def test_a_moment_of_a_process_counts_once_for_the_call_that_covers_it_first():
    table = events(time=[0.0, 2.0, 10.0], op=["read", "write", "close"], duration=[3.0, 2.0, 0.0])
    found = evidence(table).process_times
    assert found.calls.sum(axis=1).tolist() == pytest.approx([3, 1, 0])
    assert found.alive.sum() == pytest.approx(10)
    assert found.shares == pytest.approx({"read": 0.3, "write": 0.1, "other": 0})


def test_a_process_is_alive_from_its_first_event_to_the_end_of_its_last():
    table = events(time=[0.0, 1.0, 2.0], pid=[1, 2, 2], op=["read", "open", "read"], duration=[4.0, 0.5, 1.0])
    found = evidence(table).process_times
    assert found.alive.sum() == pytest.approx(4 + 2)
    assert found.calls.sum(axis=1).tolist() == pytest.approx([5, 0, 0.5])


def test_a_long_call_is_spread_over_the_bins_that_it_covers():
    table = events(time=[0.0, 100.0, 900.0], duration=[1.0, 700.0, 50.0])
    found = evidence(table).process_times
    assert found.calls[0].sum() == pytest.approx(751)
    assert found.calls[0].max() <= found.bin_s * (1 + 1e-9)
    whole = slice(int(110 / found.bin_s) + 1, int(790 / found.bin_s))
    assert found.calls[0][whole].tolist() == pytest.approx([found.bin_s] * len(found.calls[0][whole]))


def test_sizes_are_counted_by_power_of_two():
    found = evidence(events(time=[float(n) for n in range(6)], size=[1, 4095, 4096, 8191, 8192, 0])).sizes
    assert {n: int(c) for n, c in enumerate(found.calls[0]) if c} == {0: 1, 11: 1, 12: 2, 13: 1}
    assert found.bytes[0][12] == 4096 + 8191
    assert found.share_below("read", 4096) == pytest.approx(2 / 5)
    assert found.share_below("write", 4096) == 0


def test_percentiles_are_at_most_4_5_percent_above_the_true_ones():
    seconds = np.random.default_rng(0).lognormal(-7, 1.5, 5000)
    times = evidence(events(time=np.arange(5000.0), duration=seconds)).calls[0]
    exact = np.quantile(seconds, [0.5, 0.9, 0.95, 0.99, 0.999], method="inverted_cdf")
    for found, true in zip(times.percentiles, exact, strict=True):
        assert true * (1 - 1e-9) <= found <= true * 1.045
    assert times.seconds == pytest.approx(seconds.sum())
    assert times.longest == seconds.max()
    slow = seconds > 10 * np.median(seconds)
    assert times.tail_share == pytest.approx(slow.mean(), rel=0.1)
    assert times.tail_seconds == pytest.approx(seconds[slow].sum(), rel=0.1)
    assert times.curve[-1][1] == 1


def test_the_busiest_come_first_and_beyond_the_most_rows_they_stay(monkeypatch):
    monkeypatch.setattr("tiering.trace.busiest._MOST", 1000)
    count = 5000
    files = np.arange(count) % (count - 10)
    sizes = np.where(files == 5, 10**9, 10)
    found = evidence(events(time=np.arange(float(count)), file=files, size=sizes), step=500).files
    assert not found.exact
    assert found.table["name"][0] == "file 5"
    assert found.table["bytes_read"][0] == 2 * 10**9
    assert evidence(events(time=[0.0, 1.0], pid=[3, 4], size=[5, 9])).processes.table["name"].to_list() == [
        "process 4",
        "process 3",
    ]


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_batches_do_not_matter_and_the_profile_shares_the_pass(step):
    whole = pl.concat(list(read_trace(TRACE).batches)).head(300 if step == 1 else 7065)
    marks = FileMarks()
    data = whole.filter(~marks.marked(whole)["noise"])
    one, many = evidence(data), evidence(data, step)
    assert [each.seconds for each in many.calls] == pytest.approx([each.seconds for each in one.calls])
    assert many.files.table.equals(one.files.table)
    assert many.process_times.calls == pytest.approx(one.process_times.calls)
    assert many.sizes.bytes.tolist() == one.sizes.bytes.tolist()
    assert many.timeline.heat.tolist() == one.timeline.heat.tolist()
    assert many.timeline.rows == one.timeline.rows


def test_a_profile_and_the_evidence_beside_it_come_from_one_pass():
    collector = EvidenceCollector()
    profile = profile_trace(TRACE, beside=collector.add)
    assert profile == profile_trace(TRACE)
    found = collector.found()
    assert sum(found.sizes.bytes[0]) == profile.bytes_read
    assert found.processes.table["reads"].sum() >= profile.reads
    assert collector.found(timed=False).timeline is None


def test_marks_do_not_depend_on_what_was_seen_before():
    paths = ["/d/1.jpg", "/usr/lib/x.so", None, "/d/1.jpg", "/root/data/a.py"]
    table = events(time=[0.0] * 5, file=[1, 2, 3, 1, 4], path=paths)
    marks = FileMarks()
    first, again = marks.marked(table), marks.marked(table.reverse()).reverse()
    assert first["noise"].to_list() == again["noise"].to_list() == [False, True, False, False, True]
    assert first["inside"].to_list() == [True] * 5
    below = FileMarks("/root/data")
    assert below.marked(table)["noise"].to_list() == [False, True, False, False, False]
    assert below.marked(table)["inside"].to_list() == [False, False, False, False, True]
