"""Append: new images beside the old ones, which stay as they are, under a new generation of the manifest."""

from __future__ import annotations

import os
import shutil
import signal

import numpy as np
import pytest

import tiering
from tests.crashes import Strikes
from tiering.errors import DatasetError, StoreError
from tiering.testing import assert_every_sample_once, assert_holds_exactly, tree

KINDS = ["lmdb", "zarr"]


def first_half(photos, place):
    """A dataset that begins with every second class, and grows."""
    for name in sorted(os.listdir(photos))[::2]:
        shutil.copytree(photos / name, place / name)
    return place


def grow(photos, place):
    shutil.copytree(photos, place, dirs_exist_ok=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        *(
            pytest.param(options, marks=pytest.mark.slow)
            for options in (
                {"codec": "zstd"},
                {"pixels": tiering.Pixels(24, 32)},
                {"pixels": tiering.Pixels(24, 32), "codec": "lz4"},
            )
        ),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_new_images_are_added_and_old_shards_stay(photos, tmp_path, kind, options):
    if kind == "lmdb" and options:
        options = {"shards": tiering.Shards(100_000, seed=5)}
    source = first_half(photos, tmp_path / "photos")
    store = tmp_path / "store"
    before = tiering.convert(source, store, kind, **({"shards": tiering.Shards(100_000)} | options))
    shards = {shard.name: (store / shard.name).stat().st_mtime_ns for shard in before.shards}
    reader = tiering.open_store(store)
    old = [(key, bytes(image)) for key, image in zip(_keys(reader), reader.read(np.arange(len(reader))), strict=True)]
    grow(photos, source)
    manifest = tiering.append(source, store)
    assert manifest.generation == 2
    assert manifest.shards[: len(before.shards)] == before.shards
    assert {name: (store / name).stat().st_mtime_ns for name in shards} == shards
    found = tiering.verify(store, source=source)
    assert found.ok, found.problems
    grown = tiering.open_store(store)
    assert len(grown) == 300
    loader = tiering.Loader(grown, 32, seed=1)
    assert_every_sample_once([loader], 0, 300)
    # A reader that was open keeps its generation, and so does one that travels to another process.
    assert [
        (key, bytes(image)) for key, image in zip(_keys(reader), reader.read(np.arange(len(reader))), strict=True)
    ] == old
    if "pixels" not in options:
        assert_holds_exactly(grown, source)
        tiering.export(store, tmp_path / "again")
        assert tree(tmp_path / "again") == tree(source)
    assert not (store / ".tiering").exists()


def _keys(store):
    return store.index.keys(np.arange(len(store)))


def test_labels_keep_their_numbers_and_new_ones_come_after(photos, tmp_path):
    source = first_half(photos, tmp_path / "photos")
    before = tiering.convert(source, tmp_path / "store", "lmdb")
    grow(photos, source)
    after = tiering.append(source, tmp_path / "store")
    assert after.labels[: len(before.labels)] == before.labels
    assert sorted(after.labels) == sorted(os.listdir(photos))
    store = tiering.open_store(tmp_path / "store")
    for row, key in enumerate(_keys(store)):
        assert after.labels[store.index.label[row]] == key.decode().split("/")[0]


def test_nothing_new_changes_nothing(photos, tmp_path):
    before = tiering.convert(photos, tmp_path / "store", "lmdb")
    files = tree(tmp_path / "store")
    assert tiering.append(photos, tmp_path / "store") == before
    assert tree(tmp_path / "store") == files


def test_a_file_that_changed_is_refused_by_name(some_photos, tmp_path):
    tiering.convert(some_photos, tmp_path / "store", "lmdb")
    files = tree(tmp_path / "store")
    victim = next(some_photos.rglob("*.jpg"))
    victim.write_bytes(victim.read_bytes() + b"more")
    with pytest.raises(DatasetError, match=victim.name):
        tiering.append(some_photos, tmp_path / "store")
    assert tree(tmp_path / "store") == files


def test_append_again_and_again(photos, tmp_path):
    names = sorted(os.listdir(photos))
    source, store = tmp_path / "photos", tmp_path / "store"
    for number, name in enumerate(names[:4]):
        shutil.copytree(photos / name, source / name)
        if number == 0:
            tiering.convert(source, store, "zarr")
        else:
            assert tiering.append(source, store).generation == number + 1
    assert tiering.verify(store, source=source).ok
    assert_holds_exactly(tiering.open_store(store), source)


class StopError(Exception):
    pass


def _stop(samples, of, size):
    if samples:
        raise StopError


def test_an_append_that_broke_off_leaves_the_store_as_it_was_and_goes_on(photos, tmp_path):
    source = first_half(photos, tmp_path / "photos")
    before = tiering.convert(source, tmp_path / "store", "lmdb", shards=tiering.Shards(50_000))
    grow(photos, source)
    with pytest.raises(StopError):
        tiering.append(source, tmp_path / "store", workers=1, progress=_stop)
    store = tiering.open_store(tmp_path / "store")
    assert store.manifest == before
    assert len(store.read(np.arange(len(store)))) == before.samples
    assert tiering.append(source, tmp_path / "store").samples == 300
    assert tiering.verify(tmp_path / "store", source=source).ok


@pytest.mark.parametrize("kind", ["lmdb", pytest.param("zarr", marks=pytest.mark.slow)])
def test_verify_says_that_an_append_is_unfinished_and_counts_no_problem(program, photos, tmp_path, kind):
    source = first_half(photos, tmp_path / "photos")
    store = tmp_path / "store"
    tiering.convert(source, store, kind, shards=tiering.Shards(50_000))
    grow(photos, source)
    shutil.copytree(store, tmp_path / "other")
    command = ["append", source, store, "--workers", "1"]
    with Strikes(tmp_path / "log") as strikes:
        last = strikes.count(["append", source, tmp_path / "other", "--workers", "1"])["renameat"]
        # The last name that changes is the manifest's: everything else is there by then.
        assert strikes.strike(command, "renameat", last, "KILL") == -signal.SIGKILL
    assert tiering.open_store(store).manifest.generation == 1
    found = tiering.verify(store)
    assert found.ok, found.problems
    assert "killed" in found.unfinished
    assert f"tiering append {source} {store}" in found.unfinished
    done = program("verify", store)
    assert (done.returncode, found.unfinished in done.stderr) == (0, True)
    assert program(*command).returncode == 0
    assert tiering.verify(store, source=source).unfinished is None


def test_append_to_nothing_is_an_error(photos, tmp_path):
    with pytest.raises(StoreError, match="finished store"):
        tiering.append(photos, tmp_path / "store")
    assert os.listdir(tmp_path) == []


def test_the_command_line_says_what_was_added(program, photos, tmp_path):
    source = first_half(photos, tmp_path / "photos")
    program("convert", source, tmp_path / "store", "--to", "lmdb")
    grow(photos, source)
    done = program("append", source, tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert "300 samples in all" in done.stdout
    assert "2" in program("info", tmp_path / "store").stdout
