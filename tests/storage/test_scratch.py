"""Directories for temporary files: each is removed, by its process or, if that was killed, by a later one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tiering
from tests import warm
from tests.crashes import Strikes
from tests.fields import PACKED
from tiering.storage import scratch

_HOLDS = """
import sys, time
from tiering.storage.scratch import scratch_directory
with scratch_directory() as directory:
    (directory / "large").write_bytes(b"x" * 1000)
    print(directory, flush=True)
    time.sleep(100)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory of our own for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    scratch._remove_abandoned.cache_clear()
    return tmp_path


def holder():
    process = subprocess.Popen([sys.executable, "-c", _HOLDS], stdout=subprocess.PIPE, text=True)
    return process, Path(process.stdout.readline().strip())


def age(path):
    before = time.time() - 3600
    os.utime(path, (before, before))


def test_a_directory_is_removed_at_the_end_of_its_block(place):
    with scratch.scratch_directory() as directory:
        (directory / "file").write_text("x")
        assert directory.parent == place
    assert os.listdir(place) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(place):
    process, left = holder()
    other, held = holder()
    process.kill()
    process.wait()
    foreign = place / "tiering-thesis"
    foreign.mkdir()
    link = left.with_name(f"{left.name}-link")
    link.symlink_to(foreign)
    young = left.with_name(f"{left.name}-young")
    young.mkdir()
    for path in (left, held, foreign):
        age(path)
    with scratch.scratch_directory() as mine:
        assert sorted(place.iterdir()) == sorted([held, foreign, link, young, mine])
    assert (held / "large").exists()
    other.send_signal(signal.SIGINT)
    other.wait()
    assert not held.exists()


def test_a_check_that_was_killed_while_it_unpacked_leaves_nothing_for_long(place, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    store, source = elsewhere / "store", PACKED / "huggingface"
    tiering.convert(source, store, "lmdb", workers=1)
    words = ["verify", store, "--source", source]
    with Strikes(elsewhere / "log") as strikes:
        points = strikes.points(words, "/unpacked/")
        assert os.listdir(place) == []
        assert strikes.strike(words, *points[len(points) // 2], "KILL") == -signal.SIGKILL
    (left,) = place.iterdir()
    age(left)
    # A waiting process forks every command, so none of them has looked yet.
    assert warm.run(*words).returncode == 0
    assert os.listdir(place) == []
