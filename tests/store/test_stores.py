"""Every kind of store: the same samples, labels and keys, read in any order, from any process."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil

import lmdb
import numpy as np
import pytest
import zarr
from PIL import Image

import tiering
from tiering.errors import StoreError
from tiering.testing import assert_holds_exactly


def test_a_store_holds_the_images_byte_for_byte(packed, photos):
    assert_holds_exactly(tiering.open_store(packed), photos)


def test_a_folder_is_a_store(photos):
    assert_holds_exactly(tiering.open_store(photos), photos)


def test_labels_are_those_of_the_class_folders(packed):
    store = tiering.open_store(packed)
    for sample in store[0], store[17], store[-1]:
        assert store.manifest.labels[sample.label] == sample.key.split("/")[0]


def test_many_indices_are_read_in_the_order_asked_for(packed):
    store = tiering.open_store(packed)
    asked = np.array([5, 299, 0, 5])
    assert [bytes(image) for image in store.read(asked)] == [bytes(store[int(i)].image) for i in asked]
    assert len(store.read(np.array([], dtype=np.int64))) == 0


@pytest.mark.parametrize("index", [300, -301])
def test_an_index_outside_is_an_index_error(packed, index):
    with pytest.raises(IndexError):
        tiering.open_store(packed)[index]


def test_views_outlive_the_store(packed):
    store = tiering.open_store(packed)
    image = store[0].image
    again = bytes(image)
    store.close()
    del store
    assert bytes(image) == again


def test_announcing_changes_nothing(packed):
    store = tiering.open_store(packed)
    before = bytes(store[7].image)
    store.announce(np.arange(300))
    store.announce(np.array([], dtype=np.int64))
    assert bytes(store[7].image) == before


def _first(store, results):
    results.put(bytes(store[0].image))


@pytest.mark.parametrize(
    ("packed", "method"),
    [
        *(("lmdb", "spawn"), ("lmdb", "fork"), ("zarr", "fork"), ("zarr-zstd", "fork")),
        *(pytest.param(kind, "spawn", marks=pytest.mark.slow) for kind in ("zarr", "zarr-zstd")),
    ],
    indirect=["packed"],
)
def test_an_open_store_serves_other_processes(packed, method):
    store = tiering.open_store(packed)
    expected = bytes(store[0].image)
    context = multiprocessing.get_context(method)
    results = context.Queue()
    process = context.Process(target=_first, args=(store, results))
    process.start()
    assert results.get(timeout=60) == expected
    process.join()


def test_a_pickled_store_is_a_path(packed):
    assert len(pickle.dumps(tiering.open_store(packed))) < 5000


def test_plain_lmdb_reads_every_sample(photos, tmp_path):
    manifest = tiering.convert(photos, tmp_path / "a.lmdb", "lmdb", shards=tiering.Shards(400_000))
    store, found = tiering.open_store(tmp_path / "a.lmdb"), []
    for shard in manifest.shards:
        with (
            lmdb.open(str(tmp_path / "a.lmdb" / shard.name), subdir=False, readonly=True, lock=False) as env,
            env.begin() as txn,
        ):
            values = [(int.from_bytes(key, "big"), value) for key, value in txn.cursor()]
        assert [number for number, _ in values] == list(range(shard.samples))
        found += [value for _, value in values]
    assert found == [bytes(store[i].image) for i in range(len(store))]
    assert len(manifest.shards) > 1


def test_plain_zarr_reads_every_sample(packed):
    store = tiering.open_store(packed)
    if store.manifest.kind != "zarr":
        # The index of an LMDB store is a Zarr group too.
        assert np.array_equal(zarr.open_group(packed / "index", mode="r")["size"][:], store.index.size)
        return
    group = zarr.open_group(packed, mode="r")
    offset, size = group["index/offset"][:], group["index/size"][:]
    for i in range(len(store)):
        assert group["data"][offset[i] : offset[i] + size[i]].tobytes() == bytes(store[i].image)


def test_a_store_without_a_manifest_is_not_opened(packed, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(StoreError, match="not a finished store"):
        tiering.open_store(copy)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format_version": 99}, "needs a newer tiering"),
        ({"format_version": 1}, r"Convert the dataset again: tiering convert DATASET .* --overwrite"),
        ({"format": "x"}, "damaged"),
        ({"samples": 299}, "damaged"),
    ],
)
def test_a_manifest_of_another_format_is_refused(packed, tmp_path, change, word):
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    manifest = json.loads((copy / "manifest.json").read_text()) | change
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match=word):
        tiering.open_store(copy)


def test_a_shard_that_was_cut_is_noticed_on_reading(packed, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    store = tiering.open_store(copy)
    shard = copy / store.manifest.shards[0].name
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size // 2)
    with pytest.raises(StoreError):
        store.read(np.arange(len(store)))


def test_a_missing_column_is_a_store_error(packed, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    (copy / "index" / "size" / "c" / "0").unlink()
    with pytest.raises(StoreError, match="index/size"):
        tiering.open_store(copy)


def test_neither_store_nor_folder_is_one_clear_error(tmp_path):
    with pytest.raises(StoreError, match="no such directory"):
        tiering.open_store(tmp_path / "nothing")


def test_a_class_named_index_makes_no_unfinished_store_of_a_folder(photos, tmp_path):
    for name in ("index", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        shutil.copy(next(photos.rglob("*.jpg")), tmp_path / "photos" / name / "a.jpg")
    assert tiering.open_store(tmp_path / "photos").manifest.labels == ["dog", "index"]


def test_codec_auto_compresses_bitmaps_and_leaves_jpegs(photos, tmp_path):
    bitmaps = tmp_path / "bitmaps"
    bitmaps.mkdir()
    for path in sorted(photos.rglob("*.jpg"))[:20]:
        # Few colours, as in drawings and masks: noise in photographs is what no codec can shrink.
        Image.open(path).resize((600, 500), 0).quantize(8).convert("RGB").save(bitmaps / f"{path.stem}.bmp")
    assert tiering.convert(photos, tmp_path / "a.zarr", "zarr").settings.codec == "none"
    assert tiering.convert(bitmaps, tmp_path / "b.zarr", "zarr").settings.codec != "none"
    assert_holds_exactly(tiering.open_store(tmp_path / "b.zarr"), bitmaps)
