"""Ctrl-C: a conversion returns within two seconds, whoever packs; what is done stays, and nobody goes on in the dark."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

import tiering
from tests import warm
from tiering.storage.location import Location
from tiering.testing import tree

SHARD = 20_000


@pytest.fixture(scope="module")
def many(photos, tmp_path_factory) -> Path:
    """So many photographs that packing them takes a while."""
    source = tmp_path_factory.mktemp("many")
    shutil.copytree(photos, source / "0")
    for number in range(1, 8):
        shutil.copytree(source / "0", source / str(number), copy_function=os.link)
    return source


def descendants(process: int) -> set[int]:
    found: set[int] = set()
    waiting = [process]
    while waiting:
        at = waiting.pop()
        for task in Path(f"/proc/{at}/task").glob("*/children"):
            children = [int(each) for each in task.read_text().split()]
            found.update(children)
            waiting += children
    return found


def alive(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


#: s; an interruption takes less than two where nothing else runs.
PATIENCE = 60.0


def orphans(processes: set[int]) -> list[int]:
    """Those that live on after their parent; the tracker of multiprocessing ends a moment later than it."""
    deadline = time.monotonic() + PATIENCE
    while (left := [each for each in processes if alive(each)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def interrupted(source, store, *options, group: bool, at: Path) -> str:
    """Convert, press Ctrl-C once the first receipt is there, and return what was said."""
    with warm.start("convert", source, store, "--to", "zarr", *options, own_session=True) as process:
        deadline = time.monotonic() + 100
        while not list(at.glob("*.npz")):
            assert process.poll() is None, process.said()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        children = descendants(process.pid)
        (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
        process.wait(PATIENCE)
        said = process.said()
    assert process.returncode == 130, said
    assert orphans(children) == []
    return said


@pytest.mark.parametrize(
    ("options", "group"),
    [
        pytest.param(["--workers", 1], False, id="thread"),
        pytest.param(["--workers", 2], False, id="processes, parent alone"),
        pytest.param(["--workers", 2], True, id="processes, terminal", marks=pytest.mark.slow),
        pytest.param(["--dask", "local"], False, id="dask", marks=pytest.mark.slow),
    ],
)
def test_it_returns_at_once_and_goes_on_later(many, tmp_path, options, group):
    store = tmp_path / "store"
    notes = tmp_path / "store.partial" / ".tiering"
    said = interrupted(many, store, "--shard-size", f"{SHARD}B", *options, group=group, at=notes)
    # Dask may tell of tasks that it lost behind it.
    assert any(line.startswith("Interrupted") for line in said.splitlines())
    assert list(notes.glob("*.npz"))
    done = len(list(notes.glob("*.npz")))
    assert done < 500, "it went on to the end: there are 900 shards"
    time.sleep(0.5)
    assert len(list(notes.glob("*.npz"))) == done, "somebody still packs"
    again = warm.run("convert", many, store, "--to", "zarr", "--shard-size", f"{SHARD}B")
    assert again.returncode == 0, again.stderr
    assert sorted(os.listdir(tmp_path)) == ["store"]
    assert len(tiering.open_store(store)) == 2400


def test_one_large_shard_in_hand_is_dropped(many, tmp_path):
    """Pixels of thousands of images in one shard: that takes minutes, and nobody waits for them."""
    words = ["convert", many, tmp_path / "store", "--to", "zarr", "--codec", "zstd:19"]
    options = ["--resize", "512x512", "--shard-size", "10GB", "--workers", "1"]
    with warm.start(*words, *options, own_session=True) as process:
        partial = tmp_path / "store.partial"
        deadline = time.monotonic() + 100
        while not list(partial.rglob("*.tmp")) and not list(partial.rglob(".*.tmp")):
            assert process.poll() is None, process.said()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    assert process.returncode == 130
    assert os.listdir(tmp_path) == []


def test_a_failing_callback_leaves_nobody_packing(photos, tmp_path):
    """A script whose progress raises: the workers are gone when the error arrives."""

    def fail(samples, of, size):
        if samples:
            raise KeyError(samples)

    with pytest.raises(KeyError):
        tiering.convert(photos, tmp_path / "store", "zarr", shards=tiering.Shards(SHARD), workers=2, progress=fail)
    before = tree(tmp_path)
    time.sleep(0.3)
    assert tree(tmp_path) == before


@pytest.mark.slow
def test_a_bucket_target_is_let_go_of_as_fast(many, s3):
    words = ["convert", many, f"{s3}/store", "--to", "zarr", "--shard-size", f"{SHARD}B", "--workers", "2"]
    notes = Location.of(f"{s3}/store/.tiering")
    with warm.start(*words, own_session=True) as process:
        deadline = time.monotonic() + 100
        while not any(name.endswith(".npz") for name in notes.names()):
            assert process.poll() is None, process.said()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    assert process.returncode == 130
    assert orphans(children) == []
    assert "lock" not in notes.names()
    assert warm.run(*words).returncode == 0
