"""How a dataset is laid out is recognised and said; what is packed already is not taken for a directory without images."""

from __future__ import annotations

import tarfile
from pathlib import Path

import lmdb
import polars as pl
import pytest
import zarr

import tiering
from tests.trees import picture, put
from tiering.dataset.profile import profile_dataset
from tiering.errors import DatasetError
from tiering.store.lmdb_library import _ENGINE

FOLDERS = {
    ("cat/1.jpg", "dog/2.jpg"): ("class folders", "Class folders: one for each of 2 labels."),
    ("a/deep/1.jpg",): ("class folders", "Class folders: one for each of 1 label."),
    ("1.jpg", "2.jpg"): ("flat", "Flat: all images in one folder."),
    ("train/cat/1.jpg", "val/cat/2.jpg", "val/dog/2.jpg"): (
        "split and class folders",
        "Splits (train, val), each with a folder for each label: 2 labels.",
    ),
    ("train/1.jpg", "test/2.jpg"): ("splits", "Splits (test, train) without class folders."),
}


@pytest.mark.parametrize("keys", FOLDERS)
@pytest.mark.parametrize("sample", ["auto", "all", 50])
def test_folders(tmp_path: Path, keys: tuple[str, ...], sample):
    for key in keys:
        put(tmp_path, key)
    profile = profile_dataset(tmp_path, sample=sample)
    assert (profile.layout, profile.arrangement) == FOLDERS[keys]


@pytest.mark.parametrize("extension", ["csv", "parquet", "jsonl"])
def test_a_manifest(tmp_path: Path, extension: str):
    for name in ("x/1.jpg", "x/2.jpg", "y.jpg"):
        put(tmp_path, name)
    table = pl.DataFrame({"path": ["x/1.jpg", "y.jpg", "gone.jpg"], "label": ["a", "b", "b"]})
    where = tmp_path / f"list.{extension}"
    {"csv": table.write_csv, "parquet": table.write_parquet, "jsonl": table.write_ndjson}[extension](where)
    profile = profile_dataset(where)
    assert profile.layout == "table"
    assert profile.arrangement == f"A manifest: list.{extension} lists the files, with 2 labels."
    assert (profile.files, profile.probed, profile.labels) == (2, 2, {"a": 1, "b": 1})
    assert profile.formats == {"JPEG": 2}
    assert profile.skipped == {"missing file": 1}


@pytest.mark.parametrize("labelled", [True, False])
def test_tar_shards(tmp_path: Path, labelled: bool):
    source = tmp_path / "source"
    for number in range(6):
        put(source, f"{number}.jpg", picture(16 + number, 12))
        if labelled:
            put(source, f"{number}.cls", b"%d" % (number % 2))
    put(source, "6.jpg", b"broken")
    if labelled:
        put(source, "6.cls", b"1")
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / "shards" / f"train-{shard}.tar", "w") as tar:
            for path in sorted(source.iterdir()):
                if int(path.stem) % 2 == shard:
                    tar.add(path, path.name)
    profile = profile_dataset(tmp_path / "shards")
    assert (profile.files, profile.probed, profile.damaged_count) == (7, 7, 1)
    if labelled:
        assert profile.layout == "WebDataset"
        assert profile.labels == {"0": 3, "1": 4}
        assert profile.arrangement == "WebDataset shards: 2 tar files, samples with 2 labels."
    else:
        assert profile.layout == "tar shards"
        assert profile.arrangement == "Tar shards: 2 tar files of images without labels."


def make_lmdb(root: Path) -> None:
    with lmdb.open(str(root), **_ENGINE) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"1", picture())


def make_zarr(root: Path) -> None:
    zarr.save_array(str(root), __import__("numpy").zeros((4, 4)))


def make_ffcv(root: Path) -> None:
    put(root, "train.beton", b"anything")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_zarr, "a Zarr store (zarr.json). Use the images from which it was packed."),
        (make_ffcv, "an FFCV file (train.beton). FFCV resizes and re-encodes images"),
    ],
)
def test_a_packed_dataset_that_is_not_read_is_refused_with_what_to_do(tmp_path: Path, make, said: str):
    make(tmp_path / "packed")
    with pytest.raises(DatasetError) as caught:
        profile_dataset(tmp_path / "packed")
    assert f"found a dataset that is packed already: {said}" in str(caught.value)
    with pytest.raises(DatasetError, match="packed already"):
        tiering.convert(tmp_path / "packed", tmp_path / "store", "lmdb")


def test_images_beside_a_database_are_images(tmp_path: Path):
    make_lmdb(tmp_path / "x")
    put(tmp_path, "x/1.jpg")
    assert profile_dataset(tmp_path / "x").layout == "flat"


def test_a_store_that_tiering_packed_is_recognised(packed: Path):
    with pytest.raises(DatasetError, match="packed already"):
        profile_dataset(packed)
