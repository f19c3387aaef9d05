"""Export to WebDataset's tar files: what other programs read, what comes back, and how large files become."""

from __future__ import annotations

import importlib
import io
import json
import os
import tarfile
import warnings

import pytest

import tiering
from tests.trees import picture, put
from tiering.errors import StoreError
from tiering.packing.exports import shards


def packed(path, members):
    """Write a tar file as WebDataset's own writer does."""
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def members_of(*paths):
    found = {}
    for path in paths:
        with tarfile.open(path) as archive:
            for member in archive:
                assert member.name not in found
                assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
                found[member.name] = archive.extractfile(member).read()
    return found


def samples_of(path):
    """Group members as WebDataset does: neighbours with one name up to the first dot of the last part."""
    found = []
    for name, data in members_of(path).items():
        folder, _, last = name.rpartition("/")
        stem, _, suffix = last.partition(".")
        if not found or found[-1]["__key__"] != f"{folder}/{stem}":
            found.append({"__key__": f"{folder}/{stem}"})
        assert suffix not in found[-1]
        found[-1][suffix] = data
    return found


@pytest.fixture
def laion():
    """Members as img2dataset writes them."""
    members = {}
    for number in range(20):
        key = f"{number:09d}"
        members[f"{key}.jpg"] = picture(10 + number, format="JPEG")
        members[f"{key}.txt"] = f"A photograph, no. {number}".encode()
        if number % 4:
            members[f"{key}.mask.png"] = picture(9, format="PNG")
        members[f"{key}.json"] = json.dumps({"key": key, "similarity": number / 7, "exif": "{}"}).encode()
        members[f"{key}.cls"] = str(number % 3).encode()
    return members


@pytest.mark.parametrize("to", ["lmdb", "zarr"])
def test_tar_files_come_back_with_the_same_members_and_bytes(laion, tmp_path, to):
    packed(tmp_path / "train.tar", laion)
    tiering.convert(tmp_path / "train.tar", tmp_path / "store", to, workers=1, shards=tiering.Shards(9000))
    tiering.export(tmp_path / "store", tmp_path / "out", "webdataset")
    assert os.listdir(tmp_path / "out") == ["train-000000.tar"]
    assert members_of(tmp_path / "out/train-000000.tar") == laion
    # The same samples give the same bytes.
    tiering.export(tmp_path / "store", tmp_path / "again", "webdataset")
    first, second = ((tmp_path / at / "train-000000.tar").read_bytes() for at in ("out", "again"))
    assert first == second
    assert (tmp_path / "out/train-000000.tar").stat().st_size % 10240 == 0


def test_samples_are_divided_into_files_of_bounded_size(laion, tmp_path, monkeypatch):
    packed(tmp_path / "train.tar", laion)
    tiering.convert(tmp_path / "train.tar", tmp_path / "store", "lmdb", workers=1)
    monkeypatch.setattr(shards, "SHARD_BYTES", 20_000)
    tiering.export(tmp_path / "store", tmp_path / "out", "webdataset")
    paths = sorted((tmp_path / "out").iterdir())
    assert len(paths) > 2
    assert [path.name for path in paths] == [f"train-{number:06d}.tar" for number in range(len(paths))]
    assert all(path.stat().st_size < 20_000 + 12_000 for path in paths)
    assert members_of(*paths) == laion
    assert sum(len(samples_of(path)) for path in paths) == 20


def test_splits_have_files_of_their_own_and_classes_have_names(tmp_path):
    for split in ("train", "val"):
        for number in range(4):
            put(tmp_path, f"photos/{split}/{['cat', 'dog'][number % 2]}/{number}.x.jpg", picture(8 + number))
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    tiering.export(tmp_path / "store", tmp_path / "out", "webdataset")
    assert sorted(os.listdir(tmp_path / "out")) == ["classes.json", "train-000000.tar", "val-000000.tar"]
    assert json.loads((tmp_path / "out/classes.json").read_text()) == {"0": "cat", "1": "dog"}
    samples = samples_of(tmp_path / "out/val-000000.tar")
    assert {sample["__key__"] for sample in samples} == {
        f"val/{name}/{number}_x" for number, name in enumerate(["cat", "dog"] * 2)
    }
    assert all(sample["cls"] == (b"0" if "/cat/" in sample["__key__"] else b"1") for sample in samples)
    # With the names, it is the same dataset again.
    tiering.convert(tmp_path / "out", tmp_path / "again", "lmdb", workers=1, classes=tmp_path / "out/classes.json")
    with tiering.open_store(tmp_path / "again") as again:
        assert again.manifest.labels == ["cat", "dog"]
        assert sorted(again.manifest.splits) == ["train", "val"]


def test_images_that_differ_in_their_extension_are_samples_of_their_own(tmp_path):
    for name in ("a.jpg", "a.png", "a_png.png"):
        put(tmp_path, name, picture())
    put(tmp_path, "list.csv", b"path\na.jpg\na.png\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tiering.convert(tmp_path / "list.csv", tmp_path / "store", "lmdb", workers=1)
        tiering.export(tmp_path / "store", tmp_path / "out", "webdataset")
        assert set(members_of(tmp_path / "out/samples-000000.tar")) == {"a_jpg.jpg", "a_png.png"}
        put(tmp_path, "more.csv", b"path\na.jpg\na.png\na_png.png\na_png_png.png\na.png.png\n")
        for name in ("a_png_png.png", "a.png.png"):
            put(tmp_path, name, picture())
        tiering.convert(tmp_path / "more.csv", tmp_path / "more", "lmdb", workers=1)
    with pytest.raises(StoreError, match="dots"):
        tiering.export(tmp_path / "more", tmp_path / "no", "webdataset")
    assert not (tmp_path / "no").exists()


def test_webdataset_itself_reads_them(laion, tmp_path):
    webdataset = importlib.import_module("webdataset")
    packed(tmp_path / "train.tar", laion)
    tiering.convert(tmp_path / "train.tar", tmp_path / "store", "lmdb", workers=1)
    tiering.export(tmp_path / "store", tmp_path / "out", "webdataset")
    dataset = webdataset.WebDataset(str(tmp_path / "out/train-000000.tar"), shardshuffle=False).decode("pil")
    rows = {row["__key__"]: row for row in dataset}
    assert len(rows) == 20
    row = rows["000000005"]
    assert (row["cls"], row["txt"], row["json"]["similarity"]) == (2, "A photograph, no. 5", 5 / 7)
    assert row["jpg"].size[0] == 15
    assert row["mask.png"].size[0] == 9
