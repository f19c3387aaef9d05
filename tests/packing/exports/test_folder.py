"""Export to files: fields become files beside the image, and a table holds what files cannot."""

from __future__ import annotations

import json
import os
import warnings

import numpy as np
import polars as pl
import pytest

import tiering
from tests.images.deep import npy
from tests.trees import picture, put
from tiering.errors import StoreError, UsageError
from tiering.testing import tree


@pytest.fixture
def photos(tmp_path):
    """Images with files beside them, as people have them."""
    for number in range(12):
        at = f"photos/class {number % 2}/{number:04d}"
        put(tmp_path, f"{at}.jpg", picture(12 + number, format="JPEG"))
        put(tmp_path, f"{at}.txt", f"Caption {number}\nof two lines\n".encode())
        put(tmp_path, f"{at}.mask.png", picture(8, format="PNG"))
        put(tmp_path, f"{at}.depth.npy", npy(np.full((2, number), number, np.float16)))
        if number % 3:
            put(tmp_path, f"{at}.json", json.dumps({"number": number, "text": '"\n'}, indent=2).encode())
            put(tmp_path, f"{at}.data.bin", bytes(range(number)))
        put(tmp_path, f"{at}.cls", str(number).encode())
    return tmp_path / "photos"


@pytest.mark.parametrize("how", [{"to": "lmdb"}, {"to": "zarr", "codec": "none"}, {"to": "zarr", "codec": "zstd"}])
def test_a_folder_with_files_beside_its_images_comes_back_byte_for_byte(photos, tmp_path, how):
    tiering.convert(photos, tmp_path / "store", workers=1, shards=tiering.Shards(2500), **how)
    with tiering.open_store(tmp_path / "store") as store:
        assert len(store.fields) == 7
    assert tiering.export(tmp_path / "store", tmp_path / "out") == 12
    assert tree(tmp_path / "out") == tree(photos)


def test_a_selection_brings_its_files(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "lmdb", workers=1)
    with tiering.open_store(tmp_path / "store") as store:
        tiering.export(store.select("txt LIKE 'Caption 7%'"), tmp_path / "out")
    assert tree(tmp_path / "out") == {name: data for name, data in tree(photos).items() if b"/0007." in name}


def test_pixels_keep_their_files(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "zarr", workers=1, pixels=tiering.Pixels(8, 8))
    tiering.export(tmp_path / "store", tmp_path / "out")
    tiering.convert(tmp_path / "out", tmp_path / "again", "zarr", workers=1, pixels=tiering.Pixels())
    with tiering.open_store(tmp_path / "store") as first, tiering.open_store(tmp_path / "again") as second:
        assert list(second.fields) == list(first.fields)
        order = np.argsort(first.index.keys(np.arange(12)))
        again = np.argsort(second.index.keys(np.arange(12)))
        for name in ("mask", "txt", "json", "data"):
            assert list(map(bytes_of, first.read_field(name, order))) == list(
                map(bytes_of, second.read_field(name, again))
            )
        assert (first.read(order) == second.read(again)).all()


def bytes_of(value):
    return bytes(value) if isinstance(value, memoryview) else value


def made(root, keys, **columns):
    """Pack images with fields from a table."""
    for key in keys:
        put(root, f"photos/{key}", picture(format="PNG"))
    frame = pl.DataFrame({"path": [f"photos/{key}" for key in keys], **columns})
    frame.write_parquet(root / "list.parquet")
    spec = ",".join(f"{name.replace('__', ':')}={name}" for name in columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiering.convert(
            tiering.TableSource(root / "list.parquet", f"image=path,{spec}"), root / "store", "lmdb", workers=1
        )
    return root / "store"


def test_images_that_differ_in_their_extension_keep_their_files_apart(tmp_path):
    put(tmp_path, "m.png", picture(format="PNG"))
    store = made(tmp_path, ["a.jpg", "a.png"], mask__image=["m.png", "m.png"])
    tiering.export(store, tmp_path / "out")
    names = sorted(os.listdir(tmp_path / "out/photos"))
    assert names == ["a.jpg", "a.jpg.mask.png", "a.png", "a.png.mask.png"]
    tiering.convert(tmp_path / "out/metadata.parquet", tmp_path / "again", "lmdb", workers=1)
    with tiering.open_store(tmp_path / "again") as again:
        assert len(again) == 2
        assert again.fields["mask"].kind == "image"


def test_a_file_of_a_field_that_another_image_has_the_name_of_is_named(tmp_path):
    put(tmp_path, "m.png", picture(format="PNG"))
    store = made(tmp_path, ["a.jpg", "a.mask.png"], mask__image=["m.png", None])
    with pytest.raises(StoreError, match=r"a\.mask\.png"):
        tiering.export(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.exporting.files").exists()


def test_a_name_that_no_table_holds_is_named(tmp_path):
    put(tmp_path / "photos", b"caf\xe9.png", picture(format="PNG"))
    put(tmp_path / "photos", b"caf\xe9.txt", b"x")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    tiering.export(tmp_path / "store", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "photos")
    with pytest.raises(StoreError, match="UTF-8"):
        tiering.export(tmp_path / "store", tmp_path / "parquet", "parquet")


@pytest.mark.parametrize("to", ["folder", "webdataset", "parquet"])
def test_a_damaged_value_leaves_nothing(photos, tmp_path, to):
    tiering.convert(photos, tmp_path / "store", "lmdb", workers=1)
    file = tmp_path / "store/fields/txt/0/c/0"
    data = bytearray(file.read_bytes())
    data[data.find(b"Caption 5")] ^= 1
    file.write_bytes(data)
    with pytest.raises(StoreError, match=r"the field txt of 'class 1/0005\.jpg'"):
        tiering.export(tmp_path / "store", tmp_path / "out", to)
    assert sorted(os.listdir(tmp_path)) == ["photos", "store"]


def test_an_unknown_form_is_refused(photos, tmp_path):
    with pytest.raises(UsageError, match="webdataset"):
        tiering.export(photos, tmp_path / "out", "tfrecord")


def test_a_folder_is_a_store_that_can_be_exported(photos, tmp_path):
    for to in ("folder", "webdataset", "parquet"):
        assert tiering.export(tiering.open_store(photos), tmp_path / to, to) == 12


def test_labels_that_are_not_those_of_the_folders_go_into_a_table(photos, tmp_path):
    put(tmp_path, "new.csv", b"path,label\nclass 0/0000.jpg,other\n")
    for plain, table in ((False, "metadata.parquet"), (True, "labels.csv")):
        store = tmp_path / f"store-{plain}"
        tiering.convert(photos, store, "lmdb", workers=1, images_only=plain)
        tiering.relabel(store, tmp_path / "new.csv")
        tiering.export(store, tmp_path / f"out-{plain}")
        tiering.convert(tmp_path / f"out-{plain}" / table, tmp_path / f"again-{plain}", "lmdb", workers=1)
        with tiering.open_store(tmp_path / f"again-{plain}") as again:
            keys = [os.fsdecode(key) for key in again.index.keys(np.arange(12))]
            label = again.index.label[keys.index("class 0/0000.jpg")]
            assert again.manifest.classes[int(label)] == "other"
            assert len(again.fields) == (1 if plain else 7)
