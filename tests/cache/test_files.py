"""A cache is private to its owner or shared with a group, and leaves foreign files alone."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import tiering
from tests.conftest import FIXTURES
from tiering.cache import maintenance as care
from tiering.cache.memory_directory import memory_of
from tiering.errors import TieringError, UsageError


@pytest.fixture(scope="module")
def lmdb(photos, tmp_path_factory):
    place = tmp_path_factory.mktemp("private") / "photos.lmdb"
    tiering.convert(photos, place, "lmdb", shards=tiering.Shards(1 << 20), workers=1)
    return place


@pytest.fixture
def umask():
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


def fill(lmdb, directory, **how) -> None:
    store = tiering.cached(lmdb, "8MB", directory, **how)
    care.warm_cache(store)
    store.close()


def modes(directory: Path) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {"directories": {stat.S_IMODE(directory.stat().st_mode)}, "files": set()}
    for path in directory.rglob("*"):
        found["directories" if path.is_dir() else "files"].add(stat.S_IMODE(path.stat().st_mode))
    return found


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o077])
def test_a_cache_is_private_to_its_owner(lmdb, tmp_path, umask, mask):
    umask(mask)
    fill(lmdb, tmp_path / "cache")
    assert modes(tmp_path / "cache") == {"directories": {0o700}, "files": {0o600}}


@pytest.mark.parametrize("mask", [0o002, 0o077])
def test_the_group_can_use_a_shared_cache(lmdb, tmp_path, umask, mask):
    umask(mask)
    fill(lmdb, tmp_path / "cache", shared_group=True)
    assert modes(tmp_path / "cache") == {"directories": {0o2770}, "files": {0o660}}
    store = tiering.cached(lmdb, "8MB", tmp_path / "cache", ram="4MB")
    assert modes(memory_of(tmp_path / "cache")) == {"directories": {0o2770}, "files": {0o660}}
    store.close()


READ = """
import sys, tiering
from tiering.cache import maintenance as care
store = tiering.cached(sys.argv[1], "8MB", sys.argv[2])
care.warm_cache(store)
print(store.stats().hits, store.stats().misses)
store.close()
"""


def as_user(user: int, group: int, *words: object) -> subprocess.CompletedProcess[str]:
    """Run Python as another user, who may read everything (the interpreter may lie in root's home) and write nothing."""
    if os.geteuid() != 0:
        pytest.fail("other users are tested by root: run the tests as root, in a container of their own")
    able = [
        "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search",
        "--bounding-set=-all,+dac_read_search",
    ]
    who = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *able]
    command = [*who, "env", "-u", "HOME", "PYTHONDONTWRITEBYTECODE=1", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_members_of_the_group_can_use_a_shared_cache_and_others_cannot(lmdb, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    os.chown(cache, -1, 54321)
    fill(lmdb, cache, shared_group=True)
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    member = as_user(54322, 54321, sys.executable, "-c", READ, lmdb, cache)
    assert member.stdout.split() == ["300", "0"], member.stderr
    stranger = as_user(54322, 54322, sys.executable, "-c", READ, lmdb, cache)
    assert "MachineError" in stranger.stderr
    assert "permission denied" in stranger.stderr
    assert "Or choose another `directory`" in stranger.stderr


def test_a_private_cache_does_not_become_shared(lmdb, tmp_path):
    fill(lmdb, tmp_path / "cache")
    with pytest.raises(UsageError, match="found one for its owner alone"):
        tiering.cached(lmdb, "8MB", tmp_path / "cache", shared_group=True)


def snapshot(paths: list[Path]) -> list[tuple[object, ...]]:
    found = []
    for path in paths:
        about = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(about.st_mode) else b""
        found.append((str(path), about.st_mode, about.st_ino, content))
    return found


def strays(cache: Path, outside: Path) -> list[Path]:
    """Put what does not belong there into every directory of a cache."""
    dataset = next(each for each in (cache / "datasets").iterdir())
    outside.mkdir()
    (outside / "about.json").write_text("{}")
    (outside / "precious").write_text("mine")
    made = []
    for directory in (cache, cache / "datasets", cache / "extents", dataset):
        for name in ("notes.txt", ".hidden", ".DS_Store", "-rf", "x [y]\n", "99999", "00063"):
            made.append(directory / name)
            made[-1].write_text("mine")
        made.append(directory / "link")
        made[-1].symlink_to(outside)
        made.append(directory / ("ab" * 16))
        made[-1].symlink_to(outside)
        made.append(directory / "00062")
        made[-1].symlink_to(outside / "precious")
        made.append(directory / "00061")
        os.mkfifo(made[-1])
        (directory / "00060").mkdir()
        made.append(directory / "00060" / "mine")
        made[-1].write_text("mine")
    for name in (".new-0", ".gone-mine", ".mine", "folder", "cd" * 16):
        (cache / "datasets" / name).mkdir()
        made.append(cache / "datasets" / name / "precious")
        made[-1].write_text("mine")
    return [*made, outside / "precious", outside / "about.json"]


def test_foreign_files_are_skipped_and_never_removed(lmdb, tmp_path, photos):
    cache = tmp_path / "cache"
    fill(lmdb, cache)
    mine = strays(cache, tmp_path / "outside")
    before = snapshot(mine)
    assert [each.samples for each in care.cache_info(cache).datasets] == [300]
    assert care.verify_cache(cache).damaged == 0
    fill(lmdb, cache)
    fill(photos, cache)  # another dataset
    assert sorted(care.clear_cache(cache)) == sorted([str(lmdb), str(photos)])
    assert care.cache_info(cache).datasets == ()
    assert snapshot(mine) == before
    tiering.cached(lmdb, "1MiB", cache).close()  # smaller: everything of the cache goes
    fill_small = tiering.cached(photos, "1MiB", cache)
    care.warm_cache(fill_small)
    fill_small.close()
    assert snapshot(mine) == before


ABOUT = {"origin": "x", "samples": 1, "image_bytes": 1, "unit_samples": 1, "units": 1, "filling": "0" * 32}


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", '"x"', "{}", "[" * 100_000, json.dumps(ABOUT | {"more": 1}),
        *(json.dumps(ABOUT | {name: value}) for name in ABOUT for value in ("../../etc", -1, 1 << 80, None, [1], "zz")
          if not (name == "origin" and isinstance(value, str))),
    ],
)  # fmt: skip
def test_a_dataset_with_damaged_notes_is_cached_again(lmdb, tmp_path, text):
    cache = tmp_path / "cache"
    tiering.cached(lmdb, "8MB", cache).close()
    (about,) = cache.glob("datasets/*/about.json")
    about.write_text(text)
    assert care.cache_info(cache).datasets == ()
    assert care.clear_cache(cache) == []
    store = tiering.cached(lmdb, "8MB", cache)
    assert bytes(store[7].image) == bytes(tiering.open_store(lmdb)[7].image)
    store.close()
    assert len(care.cache_info(cache).datasets) == 1


@pytest.mark.parametrize("name", ["slots", "in-use", "about.json"])
@pytest.mark.parametrize("kind", ["empty", "short", "link", "fifo", "directory", "none"])
def test_a_dataset_with_a_damaged_file_is_cached_again(lmdb, tmp_path, name, kind):
    cache = tmp_path / "cache"
    fill(lmdb, cache)
    (path,) = cache.glob(f"datasets/*/{name}")
    path.unlink()
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine" * 1000)
    match kind:
        case "empty":
            path.touch()
        case "short":
            path.write_bytes(b"{" * 100)
        case "link":
            path.symlink_to(victim)
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
    care.cache_info(cache)
    care.verify_cache(cache)
    if kind == "directory":  # not a thing of ours: it stays, and with it the place that the dataset needs
        with pytest.raises(TieringError, match=str(path.parent)):
            tiering.cached(lmdb, "8MB", cache)
        assert path.is_dir()
        return
    store = tiering.cached(lmdb, "8MB", cache)
    assert bytes(store[7].image) == bytes(tiering.open_store(lmdb)[7].image)
    store.close()
    assert victim.read_bytes() == b"mine" * 1000


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "size": -1, "extent_bytes": 0}', "[" * 100_000])
def test_a_directory_with_a_damaged_marker_is_not_a_cache(lmdb, tmp_path, text):
    fill(lmdb, tmp_path / "cache")
    (tmp_path / "cache" / "tiering-cache.json").write_text(text)
    with pytest.raises(UsageError, match="needs a cache directory"):
        care.cache_info(tmp_path / "cache")
    fill(lmdb, tmp_path / "cache")
    assert len(care.cache_info(tmp_path / "cache").datasets) == 1


def test_a_directory_without_a_marker_is_not_a_cache():
    with pytest.raises(UsageError):
        care.clear_cache(FIXTURES)
