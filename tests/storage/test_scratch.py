"""Directories for temporary files: each is removed, by its process or, if that was killed, by a later one."""

from __future__ import annotations

import os
import re
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
from pathlib import Path
from tiering.storage.scratch import scratch_directory, temporary_directory
with temporary_directory(Path(sys.argv[1])) if sys.argv[1:] else scratch_directory() as directory:
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


def holder(*within):
    process = subprocess.Popen([sys.executable, "-c", _HOLDS, *map(str, within)], stdout=subprocess.PIPE, text=True)
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
    link = left.with_name(f"{left.name[:-4]}link")
    link.symlink_to(foreign)
    young = left.with_name(f"{left.name[:-4]}yong")
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


@pytest.mark.parametrize("verb", ["watch", "trace"])
def test_what_a_killed_recording_left_beside_its_trace_is_removed_and_nothing_else(tmp_path, verb):
    """The directory is the user's: whatever else is in it stays."""
    process, held = holder(tmp_path)
    words = [verb, "-o", tmp_path / "trace.parquet", "--", "sh", "-c", "echo job $$ >&2; exec sleep 60"]
    with warm.start(*words) as recording:
        while (job := re.search(r"^job (\d+)$", recording.said(), re.MULTILINE)) is None:
            assert recording.poll() is None
            time.sleep(0.01)
        recording.kill()
        assert recording.wait(60) == -signal.SIGKILL
    os.kill(int(job[1]), signal.SIGKILL)
    (left,) = set(tmp_path.iterdir()) - {held}
    assert left.name.startswith(".tiering-")
    # Like ours, but longer, not hidden by us, a file, or a link.
    theirs = [tmp_path / f"{left.name}s", tmp_path / ".tiering-notes", tmp_path / f".{held.name}"]
    for path in theirs:
        path.mkdir()
    theirs.append(left.with_name(f"{left.name[:-4]}file"))
    theirs[-1].write_text("precious")
    theirs.append(left.with_name(f"{left.name[:-4]}link"))
    theirs[-1].symlink_to(theirs[0])
    for path in (left, held, *theirs):
        age(path)
    words = [verb, "-o", tmp_path / "trace.parquet", "--", "true"]
    assert warm.run(*words).returncode == 0
    assert sorted(tmp_path.iterdir()) == sorted([held, tmp_path / "trace.parquet", *theirs])
    assert (held / "large").exists()
    process.kill()
    process.wait()
