"""The picture of a watched job, on terminals of several sizes."""

from __future__ import annotations

import re

import pytest

from tests.trace.watching.looks import look, process
from tiering.cli.watch_view import drawn
from tiering.trace.watching.job_progress import ProgressTally
from tiering.trace.watching.observation import AcceleratorLook, MemoryLook

WAITING = {"threads": {"disk": 0.6, "running": 0.25}, "main": {"pipe": 1.0}, "processor": 0.25, "bytes_read": 2_000_000}


def progress(workers: int, *, dataset_bytes=None, **figures):
    tally = ProgressTally(from_start=True, dataset_bytes=dataset_bytes)
    each = [process(4000 + number, command="loader", parent=100, **WAITING) for number in range(workers)]
    for _ in range(8):
        tally.add(look(process(command="train.py"), *each, **figures))
    return tally.progress()


def lines(made, width, height):
    return drawn(made, width, height).plain.splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 16), (200, 60)])
def test_forty_processes_fit_and_the_rest_is_one_line(width, height):
    shown = lines(progress(39), width, height)
    assert len(shown) < height
    assert max(map(len, shown)) <= width
    rows = [line for line in shown if re.search(r"\bloader ", line)]
    rest = shown[-1]
    if len(rows) < 39:
        assert f"{40 - len(rows)} more" in rest
    if width >= 80:
        assert f"{min(39 - len(rows), 39) * 2_000_000 / 1e6:g} MB/s" in rest or len(rows) == 39


def test_states_are_shares_of_time_and_a_wait_for_the_disk_is_coloured():
    made = progress(2)
    shown = drawn(made, 80, 24)
    head = next(line for line in shown.plain.splitlines() if "waits: cpu" in line)
    row = next(line for line in shown.plain.splitlines() if "loader" in line)
    assert row[: head.index("lock/pipe") + len("lock/pipe")].endswith("15 %")
    assert row[: head.index("disk") + len("disk")].endswith("60 %")
    assert row[: head.index("runs") + len("runs")].endswith("25 %")
    styles = {shown.plain[span.start : span.end].strip(): span.style for span in shown.spans}
    assert styles["60 %"] == "red"
    assert "network" not in head
    assert "network" in drawn(made, 120, 24).plain


def test_what_no_source_shows_says_so():
    shown = "\n".join(lines(progress(1), 80, 24))
    assert re.search(r"mapped +- +not shown", shown)
    assert "no source shows which bytes were read" in shown
    assert "not known yet; --dataset PATH" in shown


def test_epochs_have_a_bar_and_the_time_left():
    made = progress(1, dataset_bytes=12_000_000, touched=1_000_000, touched_again=0)
    shown = "\n".join(lines(made, 80, 24))
    assert re.search(r"epoch +1 ━{12} 67 %, 4 s left of 12 s", shown)
    assert "67 % touched (8 MB); 0 % of the bytes read were read again" in shown


def test_names_that_would_move_the_cursor_are_harmless():
    tally = ProgressTally()
    tally.add(look(process(command="evil\x1b[2J\n" + 50 * "名")))
    shown = drawn(tally.progress(), 80, 24)
    assert "\x1b" not in shown.plain
    assert all(line.cell_len <= 80 for line in shown.split())


def test_limits_of_memory_and_accelerators_are_shown_where_there_are_some():
    memory = MemoryLook(limit=16_000_000_000, used=15_900_000_000, limited=3, refaulted=0, stalled=0.0)
    accelerator = AcceleratorLook("NVIDIA H100", busy=0.43, memory_used=12_000_000_000, ours=True)
    shown = lines(progress(39, memory=memory, accelerators=(accelerator,) * 4), 80, 24)
    assert "memory        15.9 GB used of 16 GB allowed" in shown
    assert shown.count("accelerator   43 % busy, 12 GB used: NVIDIA H100") == 4
    assert len(shown) < 24


def test_a_picture_that_is_seldom_drawn_says_so():
    tally = ProgressTally()
    tally.add(look(process(seconds=11.0), seconds=11.0))
    assert "11 s, a look each 11 s, watcher 0 % of a core" in lines(tally.progress(), 80, 24)[0]
