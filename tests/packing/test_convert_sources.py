"""Tables and tar files as sources: labels, splits and keys survive the round trip."""

from __future__ import annotations

import csv
import io
import os
import tarfile

import numpy as np
import polars as pl
import pytest

import tiering
from tiering.testing import tree


def told(store):
    """Every key of a store with its label, split and image."""
    opened = tiering.open_store(store)
    rows = np.arange(len(opened))
    names = [*opened.manifest.labels, None], [*opened.manifest.splits, None]
    return {
        os.fsdecode(key): (names[0][opened.index.label[row]], names[1][opened.index.split[row]], bytes(image))
        for row, key, image in zip(rows, opened.index.keys(rows), opened.read(rows), strict=True)
    }


@pytest.fixture
def listed(some_photos):
    """What a table says of some photographs, with labels that are numbers and a split for most."""
    names = sorted(str(path.relative_to(some_photos)) for path in some_photos.rglob("*.*"))
    return {name: (str(number % 12), ("train", "val", None)[number % 3]) for number, name in enumerate(names)}


@pytest.mark.parametrize("extension", ["csv", "tsv", "parquet"])
@pytest.mark.parametrize("kind", ["lmdb", "zarr"])
def test_a_table_gives_labels_and_splits(some_photos, listed, tmp_path, kind, extension):
    table = some_photos / f"list.{extension}"
    columns = zip(*((name, *about) for name, about in listed.items()), strict=True)
    frame = pl.DataFrame(dict(zip(("file_name", "Label", "split"), columns, strict=True)))
    if extension == "parquet":
        frame.write_parquet(table)
    else:
        frame.write_csv(table, separator="," if extension == "csv" else "\t")
    manifest = tiering.convert(table, tmp_path / "store", kind)
    # Labels that are numbers are numbered in their order, not in the order of their digits.
    assert manifest.labels == [str(number) for number in range(12)]
    found = told(tmp_path / "store")
    assert {name: about[:2] for name, about in found.items()} == listed
    assert all(about[2] == (some_photos / name).read_bytes() for name, about in found.items())
    assert tiering.verify(tmp_path / "store", source=table).ok
    # And back: the export carries a table that makes the same store.
    tiering.export(tmp_path / "store", tmp_path / "again")
    tiering.convert(tmp_path / "again" / "labels.csv", tmp_path / "second", kind)
    assert told(tmp_path / "second") == found


def test_a_table_without_labels_has_none(some_photos, listed, tmp_path):
    with (some_photos / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path"], *([name] for name in listed)])
    manifest = tiering.convert(some_photos / "list.csv", tmp_path / "store", "lmdb")
    assert (manifest.labels, manifest.splits, manifest.layout) == ([], [], "table")


def test_a_file_that_a_table_names_and_that_is_not_there_is_a_bad_file(some_photos, listed, tmp_path):
    names = [*listed, "gone.jpg"]
    (some_photos / "list.csv").write_text("path\n" + "\n".join(names) + "\n")
    with pytest.raises(tiering.errors.DatasetError, match=r"gone\.jpg: no such file"):
        tiering.convert(some_photos / "list.csv", tmp_path / "store", "lmdb")
    manifest = tiering.convert(some_photos / "list.csv", tmp_path / "store", "lmdb", on_error="skip")
    assert (manifest.samples, manifest.left_out) == (len(listed), 1)
    assert tiering.verify(tmp_path / "store", source=some_photos / "list.csv").ok


def webdataset(photos, place, per_tar=20):
    """Write photographs as WebDataset shards; return what they say."""
    said = {}
    place.mkdir()
    files = sorted(photos.rglob("*.*"))
    for begin in range(0, len(files), per_tar):
        name = f"train-{begin // per_tar:04d}"
        with tarfile.open(place / f"{name}.tar", "w") as archive:
            for number, path in enumerate(files[begin : begin + per_tar], start=begin):
                key = f"{number:06d}{path.suffix}"
                for member, data in ((key, path.read_bytes()), (f"{number:06d}.cls", str(number % 11).encode())):
                    about = tarfile.TarInfo(member)
                    about.size = len(data)
                    archive.addfile(about, io.BytesIO(data))
                said[f"{name}/{key}"] = (str(number % 11), "train", path.read_bytes())
    return said


@pytest.mark.parametrize("kind", ["lmdb", "zarr"])
def test_webdataset_shards_give_keys_classes_and_splits(some_photos, tmp_path, kind):
    said = webdataset(some_photos, tmp_path / "tars")
    manifest = tiering.convert(tmp_path / "tars", tmp_path / "store", kind)
    assert manifest.layout == "tar"
    assert told(tmp_path / "store") == said
    assert tiering.verify(tmp_path / "store", source=tmp_path / "tars").ok
    tiering.export(tmp_path / "store", tmp_path / "again")
    tiering.convert(tmp_path / "again" / "labels.csv", tmp_path / "second", kind)
    assert told(tmp_path / "second") == said


def test_a_tar_of_class_folders_is_as_good_as_the_folders(some_photos, tmp_path):
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(some_photos, ".")
    tiering.convert(tmp_path / "photos.tar", tmp_path / "store", "lmdb")
    tiering.convert(some_photos, tmp_path / "other", "lmdb")
    assert told(tmp_path / "store") == told(tmp_path / "other")
    tiering.export(tmp_path / "store", tmp_path / "again")
    assert {name: data for name, data in tree(tmp_path / "again").items() if name != b"labels.csv"} == tree(some_photos)
