"""Conversion and export: byte-exact, the same whoever packs, and refused where something would be lost."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

import tiering
from tiering.errors import DatasetError, UsageError
from tiering.testing import assert_holds_exactly, tree

KINDS = ["lmdb", "zarr"]


def left(place):
    return sorted(path.name for path in place.iterdir())


def test_a_store_verifies_and_exports_to_the_same_tree(packed, photos, tmp_path):
    found = tiering.verify(packed, source=photos)
    assert found.ok, found.problems
    assert found.samples == 300
    assert tiering.export(packed, tmp_path / "again") == 300
    assert tree(tmp_path / "again") == tree(photos)


@pytest.mark.parametrize("kind", ["lmdb", pytest.param("zarr", marks=pytest.mark.slow)])
def test_any_number_of_workers_makes_the_same_store(photos, tmp_path, kind):
    one = tiering.convert(photos, tmp_path / "one", kind, workers=1, shards=tiering.Shards(400_000))
    two = tiering.convert(photos, tmp_path / "two", kind, workers=2, shards=tiering.Shards(400_000))
    assert len(two.shards) > 3
    assert one == two
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert_holds_exactly(tiering.open_store(tmp_path / "two"), photos)


def test_the_packed_order_is_a_shuffle_of_its_seed(photos, tmp_path):
    keys = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tiering.convert(photos, tmp_path / name, "lmdb", shards=tiering.Shards(seed=seed))
        store = tiering.open_store(tmp_path / name)
        keys.append(store.index.keys(np.arange(len(store))))
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
    assert sorted(keys[0]) == sorted(keys[2]) != keys[0]


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
    tiering.export(tmp_path / "store", tmp_path / "again")
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


def test_splits_are_kept_beside_the_labels(photos, tmp_path):
    for split in ("train", "val"):
        shutil.copytree(photos, tmp_path / "photos" / split)
    manifest = tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb")
    assert (manifest.splits, manifest.layout) == (["train", "val"], "split and class folders")
    assert manifest.labels == sorted(path.name for path in photos.iterdir())
    store = tiering.open_store(tmp_path / "store")
    for row, key in enumerate(store.index.keys(np.arange(len(store)))):
        split, label, _ = key.decode().split("/")
        assert manifest.splits[store.index.split[row]] == split
        assert manifest.labels[store.index.label[row]] == label


def test_a_flat_directory_has_no_labels(photos, tmp_path):
    (tmp_path / "flat").mkdir()
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))[:20]):
        shutil.copy(path, tmp_path / "flat" / f"{number}.jpg")
    manifest = tiering.convert(tmp_path / "flat", tmp_path / "store", "zarr")
    assert (manifest.layout, manifest.labels, manifest.splits) == ("flat", [], [])
    assert set(tiering.open_store(tmp_path / "store").index.label.tolist()) == {-1}
    assert tiering.verify(tmp_path / "store", source=tmp_path / "flat").ok


def test_an_existing_output_is_refused_and_kept(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "lmdb")
    before = tree(tmp_path / "store")
    with pytest.raises(UsageError, match="`overwrite`"):
        tiering.convert(photos, tmp_path / "store", "zarr")
    assert tree(tmp_path / "store") == before
    assert tiering.convert(photos, tmp_path / "store", "zarr", overwrite=True).kind == "zarr"
    assert left(tmp_path) == ["store"]


def test_overwrite_replaces_nothing_but_a_store(some_photos, photos, tmp_path):
    before = tree(some_photos)
    with pytest.raises(UsageError, match="not a tiering store"):
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


def test_export_into_something_is_refused(packed, some_photos):
    with pytest.raises(UsageError, match="the directory is not empty"):
        tiering.export(packed, some_photos)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"codec": "zstd"}, "Zarr for a codec"),
        ({"pixels": tiering.Pixels(8, 8)}, "Zarr for pixels"),
        ({"pixels": tiering.Pixels()}, "Zarr for pixels"),
    ],
)
def test_what_lmdb_cannot_hold_is_refused(photos, tmp_path, options, word):
    with pytest.raises(UsageError, match=word):
        tiering.convert(photos, tmp_path / "store", "lmdb", **options)
    assert left(tmp_path) == []
