"""Parquet files that hold images, as Hugging Face writes them."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.fields import CLASSES, LABELS, PACKED, PHOTOS, Listed
from tests.trees import picture, put
from tiering.dataset.profile import profile_dataset
from tiering.errors import DatasetError

HUB = PACKED / "huggingface"


def test_a_dataset_from_the_hub_is_read_with_its_classes_and_all_its_columns(tmp_path):
    listed = Listed(HUB, tmp_path)
    assert listed.source.kind == "parquet"
    assert listed.keys[0] == b"data/train-00000-of-00002/00000000.jpg"
    assert listed.labels == [CLASSES[label] for label in LABELS]
    assert listed.ledger.classes == CLASSES
    assert set(listed.rows["split"]) == {"train"}
    assert listed.kinds == {
        "mask": "image", "caption": "string", "score": "float", "box": "vector", "objects": "json", "path": "string"
    }  # fmt: skip
    assert listed.images() == [path.read_bytes() for path in PHOTOS]
    assert listed.files("mask")[1] == PHOTOS[0].read_bytes()
    assert listed.files("mask")[3] is None
    assert listed.values("path") == [path.name.encode() for path in PHOTOS]
    assert listed.values("caption")[0] == "ein Bild für flower-0, Nummer 0".encode()
    assert listed.values("score")[1] == b"0.25"
    assert np.load(io.BytesIO(listed.values("box")[1] or b"")).tolist() == [1, 2, 31, 40]
    assert json.loads(listed.values("objects")[2] or b"") == {"category": [0, 1], "area": [0.5, 0.5]}


def test_samples_are_read_in_any_order_whether_they_were_unpacked_or_not(tmp_path):
    order = [11, 0, 5, 3, 8]
    wanted = [PHOTOS[at].read_bytes() for at in order]
    assert Listed(HUB, tmp_path).images(order) == wanted
    assert Listed(HUB).images(order) == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000", "00000.version", "00001", "00001.version"]


def test_what_was_unpacked_is_not_unpacked_again_unless_the_file_changed(tmp_path):
    hub = tmp_path / "hub"
    shutil.copytree(HUB, hub)
    unpacked = tmp_path / "unpacked"
    Listed(hub, unpacked)
    before = {path.name: path.stat().st_ino for path in unpacked.iterdir()}
    Listed(hub, unpacked)
    assert {path.name: path.stat().st_ino for path in unpacked.iterdir()} == before
    changed = hub / "data/train-00001-of-00002.parquet"
    pl.read_parquet(changed).reverse().write_parquet(changed)
    assert Listed(hub, unpacked).images([6]) == [PHOTOS[11].read_bytes()]
    after = {path.name: path.stat().st_ino for path in unpacked.iterdir()}
    assert after["00000"] == before["00000"]
    assert after["00001"] != before["00001"]


@pytest.mark.parametrize("place", [HUB, HUB / "data"])
def test_convert_and_profile_take_it_and_number_the_classes_as_the_hub_does(tmp_path, place):
    manifest = tiering.convert(place, tmp_path / "store", "lmdb", workers=1)
    assert manifest.labels == list(CLASSES)
    store = tiering.open_store(tmp_path / "store")
    assert sorted(bytes(sample.image) for sample in store) == sorted(path.read_bytes() for path in PHOTOS)
    assert not (tmp_path / "store/.tiering").exists()
    assert tiering.verify(tmp_path / "store", source=place).ok
    profile = profile_dataset(place, sample="all")
    assert profile.files == 12
    assert profile.labels == dict.fromkeys(CLASSES, 6)
    assert profile.account == manifest.account
    assert "Parquet files that hold the images themselves: 2 files, with 2 labels." in profile.arrangement


def test_other_files_beside_it_are_accounted_for(tmp_path):
    shutil.copytree(HUB, tmp_path / "hub")
    put(tmp_path, "hub/README.md", b"# About")
    put(tmp_path, "hub/data/notes.txt", b"more")
    account = tiering.convert(tmp_path / "hub", tmp_path / "store", "zarr", workers=1).account
    assert account is not None
    assert account.left_out["not an image"].examples == ["README.md", "data/notes.txt"]


def test_plain_bytes_are_images_too_and_rows_without_one_are_counted(tmp_path):
    pl.DataFrame({"jpg": [picture(), None], "cls": [3, 4], "txt": ["a", "b"], "key": ["x/1", "x/2"]}).write_parquet(
        tmp_path / "a.parquet"
    )
    listed = Listed(tmp_path / "a.parquet", tmp_path / "out")
    assert listed.keys == [b"a/00000000.jpg"]
    assert listed.kinds == {"cls": "integer", "txt": "string", "key_2": "string"}
    assert listed.ledger.left_out.kinds["missing file"].examples == ["a/00000001.bin (the row has no image)"]


def test_an_image_of_which_only_the_path_is_there_is_named(tmp_path):
    rows = [{"bytes": picture(), "path": "0.jpg"}, {"bytes": None, "path": "1.jpg"}]
    pl.DataFrame({"image": rows}).write_parquet(tmp_path / "a.parquet")
    listed = Listed(tmp_path)
    assert listed.ledger.left_out.kinds["missing file"].examples == [
        "a/00000001.bin (the row has only its path, 1.jpg)"
    ]


def test_files_of_different_columns_are_refused(tmp_path):
    pl.DataFrame({"image": [picture()], "n": [1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"image": [picture()], "n": ["x"]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DatasetError, match=r"b\.parquet: expected the columns of .*a\.parquet, found n of type String"):
        Listed(tmp_path)


@settings(max_examples=examples(40))
@given(cut=st.integers(0, 60_000), flips=st.lists(st.tuples(st.integers(0, 55_000), st.integers(1, 255)), max_size=4))
def test_damaged_files_are_an_error_of_the_dataset(tmp_path_factory, cut, flips):
    folder: Path = tmp_path_factory.mktemp("damaged")
    data = bytearray((HUB / "data/train-00000-of-00002.parquet").read_bytes())
    for at, flip in flips:
        data[at] ^= flip
    put(folder, "a.parquet", bytes(data[:cut]))
    with suppress(DatasetError):
        Listed(folder, folder / "out").images()
