"""The commit: a store takes its name whole, replaces what it was told to replace, and loses nothing of anybody's."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

import tiering
from tests import warm
from tests.crashes import Strikes
from tiering.errors import UsageError
from tiering.testing import tree

SHARD = 100_000


def appears_at(path, make):
    """A progress callback that makes something appear at a path while a conversion runs."""

    def progress(samples, of, size):
        if samples == of and not os.path.lexists(path):
            make(path)

    return progress


def a_file(path):
    path.write_text("years of work")


def an_empty_directory(path):
    path.mkdir()


def a_directory(path):
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")


def a_link(path):
    path.symlink_to("elsewhere")


def state(path):
    """What is at a path, links not followed."""
    if path.is_dir() and not path.is_symlink():
        return tree(path)
    return os.readlink(path) if path.is_symlink() else path.read_bytes()


@pytest.mark.parametrize("make", [a_file, an_empty_directory, a_directory, a_link])
def test_what_appears_at_the_output_meanwhile_is_kept_and_so_is_the_work(some_photos, tmp_path, make):
    output, expected = tmp_path / "store", tmp_path / "expected"
    make(expected)
    with pytest.raises(UsageError, match="kept in"):
        tiering.convert(some_photos, output, "lmdb", shards=tiering.Shards(SHARD), progress=appears_at(output, make))
    assert state(output) == state(expected)
    partial = tmp_path / "store.partial"
    packed = {path.name: path.stat().st_ino for path in partial.glob("*.mdb")}
    output.rename(tmp_path / "moved")
    tiering.convert(some_photos, output, "lmdb", shards=tiering.Shards(SHARD))
    assert {path.name: path.stat().st_ino for path in output.glob("*.mdb")} == packed
    assert tiering.verify(output, source=some_photos).ok
    assert sorted(os.listdir(tmp_path)) == ["expected", "moved", "photos", "store"]


def test_overwrite_replaces_the_store_that_was_there_at_the_start_and_no_other(photos, some_photos, tmp_path):
    output = tmp_path / "store"
    tiering.convert(some_photos, output, "lmdb")
    tiering.convert(some_photos, tmp_path / "other", "zarr")
    other = tree(tmp_path / "other")

    def swapped(samples, of, size):
        if samples == of and (tmp_path / "other").exists():
            output.rename(tmp_path / "first")
            (tmp_path / "other").rename(output)

    with pytest.raises(UsageError, match="another store"):
        tiering.convert(photos, output, "lmdb", overwrite=True, progress=swapped)
    assert tree(output) == other
    tiering.convert(photos, output, "lmdb", overwrite=True)
    assert tiering.verify(output, source=photos).ok
    assert sorted(os.listdir(tmp_path)) == ["first", "photos", "store"]


@pytest.mark.parametrize("name", ["notes.txt", "index/notes/mine", "link"])
def test_overwrite_refuses_a_store_with_files_of_somebody_else(photos, tmp_path, name):
    output = tmp_path / "store"
    tiering.convert(photos, output, "lmdb")
    (output / name).parent.mkdir(parents=True, exist_ok=True)
    if name == "link":
        (output / name).symlink_to(tmp_path)
    else:
        (output / name).write_text("years of work")
    before = tree(output)
    with pytest.raises(UsageError, match=f"1 foreign file .*{name}"):
        tiering.convert(photos, output, "zarr", overwrite=True)
    assert tree(output) == before


def test_overwrite_waits_for_nobody_and_harms_nobody_who_appends(photos, some_photos, tmp_path):
    output = tmp_path / "store"
    tiering.convert(some_photos, output, "lmdb")

    def overwrite(samples, of, size):
        if samples and not said:
            with pytest.raises(UsageError) as raised:
                tiering.convert(some_photos, output, "zarr", overwrite=True)
            said.append(str(raised.value))

    said = []
    tiering.append(photos, output, workers=1, progress=overwrite)
    assert "one converter at a time" in said[0]
    assert tiering.verify(output).ok
    assert tiering.open_store(output).manifest.generation == 2


@pytest.fixture(scope="module")
def strikes(tmp_path_factory):
    with Strikes(tmp_path_factory.mktemp("strace") / "log") as waiting:
        yield waiting


def test_where_no_rename_can_refuse_to_replace_the_name_is_claimed_first(strikes, photos, tmp_path):
    output = tmp_path / "store"
    command = ["convert", photos, output, "--to", "lmdb", "--workers", "1"]
    assert strikes.tamper(command, "renameat2:error=EINVAL") == 0
    assert tiering.verify(output, source=photos).ok
    before = tree(output)
    assert strikes.tamper([*command, "--overwrite"], "renameat2:error=EINVAL") == 2
    assert "swap two directories" in strikes.said()
    assert (
        tree(output) == before | {b".tiering/lock": tree(output).get(b".tiering/lock", b"")} or tree(output) == before
    )
    assert tiering.convert(photos, output, "lmdb", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["store"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_killed_in_the_rename_the_finished_store_is_committed_by_the_next_run(
    strikes, photos, some_photos, tmp_path, overwrite
):
    output = tmp_path / "store"
    command = ["convert", photos, output, "--to", "lmdb", "--shard-size", "100kB", "--workers", "1"]
    if overwrite:
        tiering.convert(some_photos, output, "zarr")
        command.append("--overwrite")
    assert strikes.tamper(command, "renameat2:signal=KILL") == -signal.SIGKILL
    packed = {path.name: path.stat().st_ino for path in (tmp_path / "store.partial").glob("*.mdb")}
    assert len(packed) > 2
    assert warm.run(*command).returncode == 0
    assert {path.name: path.stat().st_ino for path in output.glob("*.mdb")} == packed
    assert tiering.verify(output, source=photos).ok
    assert sorted(set(os.listdir(tmp_path)) - {"photos"}) == ["store"]


def test_a_store_that_an_older_version_set_aside_gets_its_name_back(photos, some_photos, tmp_path):
    tiering.convert(some_photos, tmp_path / "store.replaced-4711", "lmdb")
    tiering.convert(photos, tmp_path / "store.partial", "lmdb")
    with pytest.raises(UsageError, match=r"mv -nT .*store\.partial .*store"):
        tiering.convert(photos, tmp_path / "store", "lmdb", overwrite=True)
    assert tiering.verify(tmp_path / "store", source=some_photos).ok


def test_restart_of_a_finished_conversion_of_another_kind_leaves_nothing_of_it(photos, tmp_path):
    output = tmp_path / "store"
    with pytest.raises(UsageError):
        tiering.convert(photos, output, "zarr", progress=appears_at(output, an_empty_directory))
    output.rmdir()
    tiering.convert(photos, output, "lmdb", resume="never")
    assert tiering.verify(output, source=photos).ok
    shutil.rmtree(output)
