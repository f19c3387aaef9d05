"""Progress: counts, rates and time left from the beginning, on a terminal alone."""

from __future__ import annotations

import re

import pytest

from tests import warm
from tests.conftest import FIXTURES
from tiering.cli.progress import Pace, time_left


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_work_says_how_long_it_will_take():
    clock = Clock()
    pace = Pace("samples", clock)
    assert pace.figures(0, 60_000, 0) == "0 % of 60,000 samples"
    clock.now = 0.5
    assert pace.figures(3_000, 60_000, 6_000_000) == "5 % of 60,000 samples, 6,000/s, 12 MB/s, 10 s left"


def test_rates_make_room_for_the_time_that_is_left():
    clock = Clock()
    paces = [Pace("samples", clock) for _ in range(3)]
    for pace in paces:
        pace.figures(0, 60_000, 0)
    clock.now = 0.5
    assert [pace.figures(3_000, 60_000, 6_000_000, room) for pace, room in zip(paces, (50, 41, 40), strict=True)] == [
        "5 % of 60,000 samples, 6,000/s, 12 MB/s, 10 s left",
        "5 % of 60,000 samples, 6,000/s, 10 s left",
        "5 % of 60,000 samples, 10 s left",
    ]


def test_a_count_of_what_nobody_knows_has_a_rate_and_no_end():
    clock = Clock()
    pace = Pace("images", clock)
    assert pace.figures(0, 0, 0) == "0 images"
    clock.now = 0.5
    assert pace.figures(10_000, 0, 1_000_000) == "10,000 images, 20,000/s, 2 MB/s"
    clock.now = 1.0
    assert pace.figures(0, 2_000, 0) == "0 % of 2,000 images"


def test_what_was_done_before_does_not_count_as_quick():
    clock = Clock()
    pace = Pace("samples", clock)
    pace.figures(50_000, 60_000, 900)
    clock.now = 10.0
    assert pace.figures(50_010, 60_000, 1_000) == "83 % of 60,000 samples, 1/s, 10 B/s, 3 h left"


def test_something_is_left_until_all_is_done():
    assert [time_left(seconds) for seconds in (0.0001, 1.2, 119, 121, 7300, 200_000)] == [
        "1 s left", "2 s left", "119 s left", "3 min left", "3 h left", "3 days left",
    ]  # fmt: skip
    pace = Pace("samples", Clock())
    pace.figures(0, 10, 0)
    assert "left" not in pace.figures(10, 10, 0)


VERBS = {
    "profile": ("profile", FIXTURES / "images"),
    "classify": ("classify", FIXTURES / "traces" / "train_loop.strace.gz"),
    "survey": ("survey", FIXTURES),
    "place": ("place", FIXTURES / "traces" / "train_loop.strace.gz", "--capacity", "nvme=1TB"),
    "recommend": ("recommend", FIXTURES / "images"),
    "report": ("report", FIXTURES / "images", FIXTURES / "traces" / "train_loop.strace.gz", "-o", "made.html"),
    "convert": ("convert", FIXTURES / "images", "made.lmdb", "--to", "lmdb"),
    "cache warm": ("cache", "warm", FIXTURES / "images", "--cache-size", "20MB", "--cache-dir", "cache"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_long_verb_shows_counts_on_a_terminal(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = warm.written_on_terminal(*VERBS[verb], width=80)
    assert re.search(r"[1-9][\d,]* (images|events|files|samples)", shown), shown
    assert "0:00:00" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_a_pipe_gets_no_progress(tmp_path, program):
    done = program("convert", FIXTURES / "images", tmp_path / "made.lmdb", "--to", "lmdb", "--no-progress")
    assert "%" not in done.stderr
    done = program("profile", FIXTURES / "images")
    assert done.stderr == ""
