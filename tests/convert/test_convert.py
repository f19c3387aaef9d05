"""Conversion, verification and export: byte-exact, all or nothing, and every damage found."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.conftest import PROGRAM
from tests.invariants import assert_holds_exactly, tree
from tiering.convert.export import export
from tiering.convert.plan import MIB, default_shard_bytes, make_plan
from tiering.errors import DatasetError, StoreError, UsageError
from tiering.store.index import Index

KINDS = ["lmdb", "zarr"]


def test_a_store_verifies_and_exports_to_the_same_tree(packed, photos, tmp_path):
    found = tiering.verify(packed, source=photos)
    assert found.ok
    assert found.samples == 300
    assert export(packed, tmp_path / "again") == 300
    assert tree(tmp_path / "again") == tree(photos)


@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_workers_makes_the_same_store(photos, tmp_path, kind):
    big = tmp_path / "big"
    for i in range(12):
        shutil.copytree(photos, big / str(i))
    (big / "large.png").write_bytes(next(photos.rglob("*.png")).read_bytes())
    one = tiering.convert(big, tmp_path / "one", kind, workers=1)
    two = tiering.convert(big, tmp_path / "two", kind, workers=2)
    assert len(two.shards) > 1
    assert one == two
    if kind == "zarr":
        assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert_holds_exactly(tiering.open_store(tmp_path / "two"), big)
    assert tiering.verify(tmp_path / "two", source=big).ok


def test_the_packed_order_is_a_shuffle_of_its_seed(photos, tmp_path):
    keys = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tiering.convert(photos, tmp_path / name, "lmdb", seed=seed)
        store = tiering.open_store(tmp_path / name)
        keys.append(store.index.keys(np.arange(len(store))))
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
    assert sorted(keys[0]) == sorted(keys[2]) != keys[0]


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(0, 40 * MIB), min_size=1, max_size=200).filter(any), kind=st.sampled_from(KINDS))
def test_a_plan_holds_every_row_once_and_bounds_every_shard(sizes, kind):
    size = np.array(sizes, dtype=np.int64)
    index = Index(np.zeros(len(size), np.int32), size, np.zeros(0, np.uint8), np.zeros(len(size), np.int64))
    plan = make_plan(index, kind)
    shards = list(plan.shards())
    assert np.array_equal(np.sort(np.concatenate(shards)), np.arange(len(size)))
    assert all(len(rows) > 0 and size[rows].sum() <= plan.settings.shard_bytes for rows in shards)


def test_shards_stay_few_for_petabytes_and_small_for_little():
    assert default_shard_bytes(10**6, 1000) == 16 * MIB
    assert default_shard_bytes(2 * 10**9, 10**6) < 256 * MIB
    assert 10**15 / default_shard_bytes(10**15, 10**6) <= 256
    assert default_shard_bytes(10**9, 400 * MIB + 1) == 401 * MIB


@pytest.mark.parametrize("kind", KINDS)
def test_odd_names_survive_the_round_trip(photos, tmp_path, kind):
    source = tmp_path / "source"
    image = next(photos.rglob("*.jpg")).read_bytes()
    for name in [
        b"caf\xe9/x.jpg",
        "häuser/猫.jpg".encode(),
        b"a b/new\nline.jpg",
        b"'quote\".jpg",
        b"x" * 200 + b".jpg",
    ]:
        path = os.path.join(os.fsencode(source), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(image)
    tiering.convert(source, tmp_path / "store", kind)
    assert tiering.verify(tmp_path / "store", source=source).ok
    export(tmp_path / "store", tmp_path / "again")
    assert tree(tmp_path / "again") == tree(source)


@pytest.mark.parametrize("kind", KINDS)
def test_identical_images_are_kept_apart(photos, tmp_path, kind):
    source = tmp_path / "source"
    source.mkdir()
    image = next(photos.rglob("*.jpg")).read_bytes()
    for i in range(50):
        (source / f"{i}.jpg").write_bytes(image)
    tiering.convert(source, tmp_path / "store", kind)
    assert tiering.verify(tmp_path / "store", source=source).ok


def _left(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("contents", "reason"),
    [(b"", "zero"), (b"not an image at all", "image"), (None, "truncated")],
)
def test_bad_images_are_all_named_and_nothing_is_left(some_photos, tmp_path, kind, contents, reason):
    victims = sorted(some_photos.rglob("*.jpg"))[:2]
    for victim in victims:
        victim.write_bytes(victim.read_bytes()[:-100] if contents is None else contents)
    with pytest.raises(DatasetError, match=reason) as raised:
        tiering.convert(some_photos, tmp_path / "store", kind)
    assert "2 images" in str(raised.value)
    assert all(victim.name in str(raised.value) for victim in victims)
    assert _left(tmp_path) == ["photos"]


def test_an_existing_output_is_refused_and_kept(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "lmdb")
    before = tree(tmp_path / "store")
    with pytest.raises(UsageError, match="--overwrite"):
        tiering.convert(photos, tmp_path / "store", "zarr")
    assert tree(tmp_path / "store") == before
    assert tiering.convert(photos, tmp_path / "store", "zarr", overwrite=True).kind == "zarr"
    assert _left(tmp_path) == ["store"]


def test_overwrite_replaces_nothing_but_a_store(some_photos, photos, tmp_path):
    before = tree(some_photos)
    with pytest.raises(UsageError, match="tiering store to replace"):
        tiering.convert(photos, some_photos, "lmdb", overwrite=True)
    assert tree(some_photos) == before


def test_a_failed_overwrite_keeps_the_old_store(some_photos, photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "lmdb")
    next(some_photos.rglob("*.jpg")).write_bytes(b"")
    with pytest.raises(DatasetError):
        tiering.convert(some_photos, tmp_path / "store", "lmdb", overwrite=True)
    assert tiering.verify(tmp_path / "store", source=photos).ok


def test_a_directory_that_only_looks_like_ours_is_not_cleared(photos, tmp_path):
    mine = tmp_path / "store.partial"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="did not make"):
        tiering.convert(photos, tmp_path / "store", "lmdb")
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_store_inside_its_dataset_is_refused(some_photos):
    with pytest.raises(UsageError, match="inside the dataset"):
        tiering.convert(some_photos, some_photos / "store", "lmdb")


@pytest.mark.parametrize("kind", KINDS)
def test_every_flipped_bit_that_matters_is_found(photos, tmp_path, kind):
    tiering.convert(photos, tmp_path / "store", kind)
    files = [path for path in sorted((tmp_path / "store").rglob("*")) if path.is_file() and path.name != "zarr.json"]
    dice = random.Random(5)
    for _ in range(120):
        path = dice.choice(files)
        at = dice.randrange(path.stat().st_size)
        with path.open("r+b") as file:
            file.seek(at)
            old = file.read(1)
            file.seek(at)
            file.write(bytes([old[0] ^ (1 << dice.randrange(8))]))
        try:
            found = tiering.verify(tmp_path / "store", source=photos)
            harmless = path.name == "manifest.json"
            assert harmless or not found.ok, f"{path.name} byte {at}"
        except StoreError:
            pass
        with path.open("r+b") as file:
            file.seek(at)
            file.write(old)
    assert tiering.verify(tmp_path / "store", source=photos).ok


@pytest.mark.parametrize("kind", KINDS)
def test_verify_finds_missing_shards_and_changed_sources(some_photos, tmp_path, kind):
    manifest = tiering.convert(some_photos, tmp_path / "store", kind)
    victims = sorted(some_photos.rglob("*.jpg"))
    victims[0].unlink()
    victims[1].write_bytes(victims[2].read_bytes())
    (some_photos / "extra.jpg").write_bytes(victims[2].read_bytes())
    found = tiering.verify(tmp_path / "store", source=some_photos)
    assert found.problem_count == 3
    assert any("extra.jpg: in the source but not in the store" in problem for problem in found.problems)
    assert tiering.verify(tmp_path / "store").ok
    (tmp_path / "store" / manifest.shards[0].name).unlink()
    assert any("missing" in problem for problem in tiering.verify(tmp_path / "store").problems)


def test_verify_of_a_folder_says_what_to_do(photos):
    with pytest.raises(StoreError, match="tiering convert"):
        tiering.verify(photos)


def test_export_into_something_is_refused(packed, some_photos):
    with pytest.raises(UsageError, match="an empty directory"):
        export(packed, some_photos)


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversion_killed_at_any_moment_leaves_no_store_and_can_be_run_again(photos, tmp_path, kind):
    dice = random.Random(kind)
    source = tmp_path / "source"
    for i in range(8):
        shutil.copytree(photos, source / str(i))
    store = tmp_path / "store"
    command = [PROGRAM, "convert", source, store, "--to", kind]
    for _ in range(5):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            time.sleep(dice.uniform(0.3, 1.6))
            os.killpg(process.pid, signal.SIGKILL)
        if store.exists():
            assert tiering.verify(store, source=source).ok
            shutil.rmtree(store)
        else:
            with pytest.raises(StoreError):
                tiering.open_store(store)
    tiering.convert(source, store, kind)
    assert tiering.verify(store, source=source).ok
    assert _left(tmp_path) == ["source", "store"]
