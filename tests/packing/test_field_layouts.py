"""Datasets as their owners lay them out become stores with their fields, and stay up to their sources."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tiering
from tests.images.deep import npy
from tests.sources.test_tar_samples import pack
from tests.sources.trees.test_remote import upload
from tests.trees import picture, put
from tiering.errors import DatasetError, UsageError
from tiering.sources.account import Account

MASK = picture(8, 8, "PNG")


def photo(number: int) -> bytes:
    return picture(16 + number, 12)


def samples(store: Path) -> dict[str, dict[str, Any]]:
    """Return every sample of a store by its key: its image and fields."""
    opened = tiering.open_store(store)
    rows = np.arange(len(opened))
    keys = [os.fsdecode(key) for key in opened.index.keys(rows)]
    found = {"image": [bytes(image) for image in opened.read(rows)]}
    for name in opened.fields:
        values = opened.read_field(name, rows)
        plain = values.tolist() if isinstance(values, np.ndarray) else values
        found[name] = [bytes(value) if isinstance(value, memoryview) else value for value in plain]
    return {key: {name: values[at] for name, values in found.items()} for at, key in enumerate(keys)}


def converted(
    source: Path | str, store: Path, to: str = "lmdb", fields: Mapping[str, str] | None = None, **how: Any
) -> dict[str, dict[str, Any]]:
    """Convert a source, check what every verb says of it, and return the samples."""
    manifest = tiering.convert(source, store, to, fields=fields, workers=1, **how)
    found = tiering.verify(store, source=source)
    assert found.ok, found.problems
    assert found.account == manifest.account
    profile = tiering.profile_dataset(source, fields=fields)
    assert profile.account == manifest.account
    assert {each.name: each.kind for each in profile.fields} == {each.name: each.kind for each in manifest.fields}
    got = samples(store)
    counts = {each.name: sum(values[each.name] is not None for values in got.values()) for each in profile.fields}
    assert {each.name: each.count for each in profile.fields} == counts
    assert tiering.append(source, store, workers=1) == manifest
    return got


def laion(numbers: range) -> list[tuple[str, bytes]]:
    """The members of a shard as img2dataset writes them."""
    return [
        (f"{number:09d}.{end}", data)
        for number in numbers
        for end, data in (
            ("jpg", photo(number)),
            ("json", json.dumps({"caption": f"photo {number}", "width": 16 + number, "url": "https://x/y"}).encode()),
            ("txt", f"photo {number}".encode()),
        )
    ]


@pytest.mark.parametrize("to", ["lmdb", "zarr"])
def test_webdataset_shards_as_img2dataset_writes_them(tmp_path, to):
    for shard in range(2):
        pack(tmp_path / "laion" / f"0000{shard}.tar", laion(range(shard * 3, shard * 3 + 3)))
    got = converted(tmp_path / "laion", tmp_path / "store", to)
    assert len(got) == 6
    assert got["00001/000000004.jpg"] == {
        "image": photo(4), "label": -1, "txt": "photo 4",
        "json": {"caption": "photo 4", "width": 20, "url": "https://x/y"},
    }  # fmt: skip


def test_a_webdataset_of_every_kind_with_labels(tmp_path, s3):
    members = []
    for number in range(4):
        fields = {"jpg": photo(number), "cls": b"%d" % (number % 2), "cls2": b"%d" % number, "mask.png": MASK,
                  "seg.png": MASK, "npy": npy(np.arange(number)), "pth": b"PK", "index": b" 7\n"}  # fmt: skip
        members += [(f"{number}.{end}", data) for end, data in fields.items() if number or end != "seg.png"]
    path = pack(tmp_path / "train-0.tar", members)
    got = converted(path, tmp_path / "store")
    assert [got[f"{number}.jpg"]["label"] for number in range(4)] == [0, 1, 0, 1]
    assert got["3.jpg"]["npy"].tolist() == [0, 1, 2]
    assert (got["3.jpg"]["cls2"], got["3.jpg"]["index"], got["3.jpg"]["pth"]) == (3, 7, b"PK")
    assert (got["0.jpg"]["seg"], got["1.jpg"]["seg"], got["1.jpg"]["mask"]) == (None, MASK, MASK)
    put(tmp_path / "up", "train-0.tar", path.read_bytes())
    upload(tmp_path / "up", s3)
    there = converted(s3, tmp_path / "from-bucket")
    assert {key: values["mask"] for key, values in there.items()} == dict.fromkeys(got, MASK)


@pytest.mark.parametrize("place", ["local", "bucket"])
def test_a_folder_of_images_with_captions_and_masks(tmp_path, s3, place):
    root = tmp_path / "photos"
    for number in range(5):
        put(root, f"cat/{number}.jpg", photo(number))
        put(root, f"cat/{number}.txt", f"cat {number}\n".encode())
        put(root, f"cat/{number}.mask.png", MASK)
    put(root, "dog/0.png", picture(9, 9, "PNG"))
    source: Path | str = root
    if place == "bucket":
        upload(root, s3)
        source = s3
    got = converted(source, tmp_path / "store")
    assert got["cat/3.jpg"] == {"image": photo(3), "label": 0, "txt": "cat 3\n", "mask": MASK}
    assert got["dog/0.png"]["txt"] is None
    assert (len(got), got["dog/0.png"]["label"]) == (6, 1)


def imagefolder(root: Path, extension: str) -> None:
    """A dataset as Hugging Face's ImageFolder reads it."""
    for split in ("train", "test"):
        rows = []
        for number in range(4):
            put(root, f"{split}/{number}.png", picture(8 + number, 8, "PNG"))
            objects = {"bbox": [[1.0, 2.0, 3.0, 4.0]] * number, "categories": [0] * number}
            rows.append({"file_name": f"{number}.png", "text": f"{split}, {number}", "score": number / 4,
                         "objects": objects})  # fmt: skip
        if extension == "jsonl":
            put(root, f"{split}/metadata.jsonl", "\n".join(map(json.dumps, rows)).encode())
        else:
            frame = pl.DataFrame(rows)
            if extension == "parquet":
                frame.write_parquet(root / split / "metadata.parquet")
            else:
                frame.drop("objects").write_csv(root / split / "metadata.csv")


@pytest.mark.parametrize(
    "extension", ["jsonl", pytest.param("csv", marks=pytest.mark.slow), pytest.param("parquet", marks=pytest.mark.slow)]
)
def test_an_imagefolder_of_hugging_face(tmp_path, s3, extension):
    imagefolder(tmp_path / "hf", extension)
    got = converted(tmp_path / "hf", tmp_path / "store")
    assert (got["test/3.png"]["text"], got["test/3.png"]["score"]) == ("test, 3", 0.75)
    if extension != "csv":
        assert got["train/1.png"]["objects"] == {"bbox": [[1.0, 2.0, 3.0, 4.0]], "categories": [0]}
    manifest = tiering.open_store(tmp_path / "store").manifest
    assert (manifest.splits, manifest.labels, manifest.account.field_files) == (["test", "train"], [], 2)
    upload(tmp_path / "hf", s3)
    assert converted(s3, tmp_path / "from-bucket") == got


def test_metadata_give_labels_and_the_folders_keep_the_splits(tmp_path):
    for split in ("train", "val"):
        rows = "".join(f"{number}.jpg,{'cat' if number % 2 else 'dog'},{number}\n" for number in range(3))
        put(tmp_path / "photos", f"{split}/metadata.csv", f"file_name,label,age\n{rows}".encode())
        for number in range(3):
            put(tmp_path / "photos", f"{split}/{number}.jpg", photo(number))
    got = converted(tmp_path / "photos", tmp_path / "store")
    manifest = tiering.open_store(tmp_path / "store").manifest
    assert (manifest.layout, manifest.labels, manifest.splits) == (
        "folder with metadata",
        ["cat", "dog"],
        ["train", "val"],
    )
    assert (got["train/1.jpg"]["label"], got["val/2.jpg"]["label"], got["val/2.jpg"]["age"]) == (0, 1, 2)
    folder = tiering.open_store(tmp_path / "photos")
    assert (folder.manifest.layout, folder.manifest.labels, folder.manifest.splits, folder.manifest.account) == (
        manifest.layout, manifest.labels, manifest.splits, manifest.account,
    )  # fmt: skip
    labels = dict(zip(folder.index.keys(np.arange(6)), folder.index.label.tolist(), strict=True))
    assert labels == {key.encode(): values["label"] for key, values in got.items()}


def test_the_deepest_table_counts_rows_of_no_file_are_errors_and_other_tables_are_none(tmp_path):
    put(tmp_path / "a", "1.jpg", photo(1))
    put(tmp_path / "a", "deep/2.jpg", photo(2))
    put(tmp_path / "a", "metadata.csv", b"file_name,text\n1.jpg,one\ndeep/2.jpg,from above\n")
    pl.DataFrame({"file_name": ["2.jpg"], "text": [b"two"]}).write_parquet(tmp_path / "a/deep/metadata.parquet")
    with pytest.raises(DatasetError, match=r"deep/metadata\.parquet, column of text: expected values of kind cell"):
        tiering.convert(tmp_path / "a", tmp_path / "store", "lmdb", workers=1)
    (tmp_path / "a" / "deep" / "metadata.parquet").unlink()
    put(tmp_path / "a", "deep/metadata.jsonl", b'{"file_name": "2.jpg", "text": "two"}\n')
    got = converted(tmp_path / "a", tmp_path / "store")
    assert (got["1.jpg"]["text"], got["deep/2.jpg"]["text"]) == ("one", "two")
    put(tmp_path / "b", "1.jpg", photo(1))
    put(tmp_path / "b", "metadata.csv", b"file_name,text\n1.jpg,one\n2.jpg,two\n")
    with pytest.raises(DatasetError, match=r"2\.jpg: label without an image, metadata\.csv names it"):
        tiering.convert(tmp_path / "b", tmp_path / "other", "lmdb", workers=1)
    put(tmp_path / "b", "metadata.csv", b"file_name,text\n1.jpg,one\n1.jpg,two\n")
    with pytest.raises(DatasetError, match=r"metadata\.csv: expected each file once, found 1\.jpg twice"):
        tiering.convert(tmp_path / "b", tmp_path / "third", "lmdb", workers=1)
    put(tmp_path / "b", "metadata.csv", b"image_id,text\n1,one\n")
    account = tiering.convert(tmp_path / "b", tmp_path / "third", "lmdb", workers=1).account
    assert account.left_out["not an image"].examples == ["metadata.csv"]


def ade20k(root: Path) -> dict[str, str]:
    for split, letter in (("training", "train"), ("validation", "val")):
        for number in range(3):
            put(root, f"images/{split}/ADE_{letter}_{number:08d}.jpg", photo(number))
            put(root, f"annotations/{split}/ADE_{letter}_{number:08d}.png", MASK)
    put(root, "objectInfo150.txt", b"1 wall")
    return {"mask": "annotations/{stem}.png"}


def cityscapes(root: Path) -> dict[str, str]:
    for split in ("train", "val"):
        for number in range(2):
            name = f"{split}/aachen/aachen_00000{number}_000019"
            put(root, f"leftImg8bit/{name}_leftImg8bit.png", picture(10, 10, "PNG"))
            for end in ("gtFine_labelIds.png", "gtFine_color.png"):
                put(root, f"gtFine/{name}_{end}", MASK)
            put(root, f"gtFine/{name}_gtFine_polygons.json", b'{"objects": []}')
    return {
        "mask": "gtFine/{stem%_leftImg8bit}_gtFine_labelIds.png",
        "polygons": "gtFine/{stem%_leftImg8bit}_gtFine_polygons.json",
    }


def voc(root: Path) -> dict[str, str]:
    for number in range(4):
        put(root, f"JPEGImages/2007_{number:06d}.jpg", photo(number))
        put(root, f"Annotations/2007_{number:06d}.xml", b"<annotation/>")
        if number % 2:
            put(root, f"SegmentationClass/2007_{number:06d}.png", MASK)
            put(root, f"SegmentationObject/2007_{number:06d}.png", MASK)
    put(root, "ImageSets/Main/train.txt", b"2007_000000\n")
    return {"mask": "SegmentationClass/{name}.png"}


def carvana(root: Path) -> dict[str, str]:
    for number in range(3):
        put(root, f"train/{number}.jpg", photo(number))
        put(root, f"train/{number}_mask.gif", picture(8, 8, "GIF"))
    return {"mask": "{stem}_mask.gif"}


def kaggle(root: Path) -> dict[str, str]:
    for split in ("train", "val"):
        for number in range(2):
            put(root, f"{split}/images/{number}.jpg", photo(number))
            put(root, f"{split}/masks/{number}.png", MASK)
    return {"mask": "*/masks/{stem}.png"}


@pytest.mark.parametrize("made", [ade20k, cityscapes, voc, carvana, kaggle])
@pytest.mark.parametrize("place", ["local", pytest.param("bucket", marks=pytest.mark.slow)])
def test_masks_in_a_tree_of_their_own(tmp_path, s3, made, place):
    fields = made(tmp_path / "data")
    source: Path | str = tmp_path / "data"
    if place == "bucket":
        upload(tmp_path / "data", s3)
        source = s3
    got = converted(source, tmp_path / "store", fields=fields)
    manifest = tiering.open_store(tmp_path / "store").manifest
    assert manifest.source.fields == fields
    assert manifest.account.met == sum(len(files) for _, _, files in os.walk(tmp_path / "data"))
    for key, values in got.items():
        wanted = made is not voc or int(key[-5]) % 2
        assert (values["mask"] is not None) == bool(wanted)
    if made is ade20k:
        assert manifest.splits == ["training", "validation"]
        assert manifest.fields[0].suffix == "mask.png"
    if made is cityscapes:
        assert manifest.account.left_out["sidecar"].count == 4
        assert all(values["polygons"] == {"objects": []} for values in got.values())


def test_files_of_a_tree_that_no_image_has_are_named_and_a_pattern_of_nothing_is_refused(tmp_path):
    fields = ade20k(tmp_path / "data")
    put(tmp_path / "data", "annotations/training/ADE_train_9.png", MASK)
    account = tiering.convert(tmp_path / "data", tmp_path / "store", "lmdb", fields=fields, workers=1).account
    assert account.left_out["sidecar"].examples == ["annotations/training/ADE_train_9.png (no image has it as a field)"]
    for pattern in ("annotation/{stem}.png", "annotations/{stem}.jpg", "annotations/{stem%_x}.png"):
        with pytest.raises(UsageError, match=r"fields: (needs|expected) files like"):
            tiering.convert(tmp_path / "data", tmp_path / "other", "lmdb", fields={"mask": pattern}, workers=1)
    assert not (tmp_path / "other").exists()
    path = pack(tmp_path / "x.tar", [("1.jpg", photo(1))])
    with pytest.raises(UsageError, match="expected a folder as the dataset, found a tar"):
        tiering.convert(path, tmp_path / "other", "lmdb", fields=fields, workers=1)


def test_tiny_imagenet_and_class_tars_have_no_fields(tmp_path):
    for number in range(3):
        put(tmp_path / "tiny", f"train/n0144000{number}/images/n0144000{number}_0.JPEG", photo(number))
        put(tmp_path / "tiny", f"train/n0144000{number}/n0144000{number}_boxes.txt", b"n01440001_0.JPEG\t0\t0\t9\t9\n")
        put(tmp_path / "tiny", f"val/images/val_{number}.JPEG", photo(number))
    rows = "".join(f"val_{number}.JPEG\tn0144000{number}\t0\t0\t9\t9\n" for number in range(3))
    put(tmp_path / "tiny", "val/val_annotations.txt", rows.encode())
    got = converted(tmp_path / "tiny", tmp_path / "store")
    assert got["val/images/val_2.JPEG"] == {"image": photo(2), "label": 2}
    for name in ("n01440764", "n01443537"):
        pack(tmp_path / "imagenet" / f"{name}.tar", [(f"{name}_{n}.JPEG", photo(n)) for n in range(3)])
    got = converted(tmp_path / "imagenet", tmp_path / "classes")
    assert got["n01443537/n01443537_2.JPEG"] == {"image": photo(2), "label": 1}


@pytest.mark.parametrize("kind", ["beside", "tree", "metadata", "tar"])
def test_a_field_that_changed_is_a_changed_sample_and_a_new_field_is_one_of_all(tmp_path, kind):
    root = tmp_path / "photos"
    fields = None
    for number in range(3):
        put(root, f"images/{number}.jpg", photo(number))
    where = {"beside": "images/{}.txt", "tree": "texts/{}.txt", "tar": "images/{}.txt"}.get(kind)
    if kind == "tree":
        fields = {"txt": "texts/{stem}.txt"}

    def write(texts: Mapping[int, str]) -> Path:
        if where is None:
            rows = "".join(f"images/{number}.jpg,{text}\n" for number, text in texts.items())
            put(root, "metadata.csv", f"file_name,txt\n{rows}".encode())
        else:
            for number in range(3):
                (root / where.format(number)).unlink(missing_ok=True)
            for number, text in texts.items():
                put(root, where.format(number), text.encode())
        if kind != "tar":
            return root
        names = sorted(os.listdir(root / "images"))
        return pack(tmp_path / "photos.tar", [(name, (root / "images" / name).read_bytes()) for name in names])

    store = tmp_path / "store"
    tiering.convert(write({0: "a", 1: "b", 2: "c"}), store, "lmdb", fields=fields, workers=1)
    source = write({0: "a", 1: "B", 2: "c"})
    found = tiering.verify(store, source=source)
    assert not found.ok
    assert "another txt than in the source" in found.problems[0]
    assert tiering.sync(source, store, workers=1).changed == 1
    source = write({0: "a", 1: "B"})
    assert tiering.sync(source, store, workers=1).changed == 1
    assert {key.rpartition("/")[2]: values["txt"] for key, values in samples(store).items()} == {
        "0.jpg": "a", "1.jpg": "B", "2.jpg": None,
    }  # fmt: skip
    found = tiering.verify(store, source=source)
    assert found.ok, found.problems
    assert tiering.sync(source, store, workers=1).changed == 0


def test_an_append_adds_samples_with_other_fields(tmp_path):
    root = tmp_path / "photos"
    put(root, "1.jpg", photo(1))
    put(root, "1.txt", b"one")
    tiering.convert(root, tmp_path / "store", "lmdb", workers=1)
    put(root, "2.jpg", photo(2))
    put(root, "2.mask.png", MASK)
    account = tiering.append(root, tmp_path / "store", workers=1).account
    assert (account.met, account.packed, account.field_files) == (4, 2, 2)
    assert samples(tmp_path / "store") == {
        "1.jpg": {"image": photo(1), "label": -1, "txt": "one", "mask": None},
        "2.jpg": {"image": photo(2), "label": -1, "txt": None, "mask": MASK},
    }
    found = tiering.verify(tmp_path / "store", source=root)
    assert found.ok, found.problems


def test_an_image_that_cannot_be_packed_leaves_its_fields_with_it(tmp_path):
    root = tmp_path / "photos"
    put(root, "1.jpg", photo(1))
    put(root, "2.jpg", photo(2)[:-40])
    put(root, "2.txt", b"two")
    manifest = tiering.convert(root, tmp_path / "store", "lmdb", workers=1, on_error="skip")
    assert (manifest.samples, manifest.account.count("damaged")) == (1, 1)
    for account in (tiering.verify(tmp_path / "store", source=root).account, tiering.profile_dataset(root).account):
        assert (account.met, account.packed, account.field_files, account.count("damaged")) == (3, 1, 1, 1)


def test_a_store_of_images_only_stays_one_and_repair_reads_fields_again(tmp_path):
    root = tmp_path / "photos"
    for number in range(3):
        put(root, f"{number}.jpg", photo(number))
        put(root, f"{number}.txt", b"text")
    tiering.convert(root, tmp_path / "images", "lmdb", images_only=True, workers=1)
    put(root, "3.jpg", photo(3))
    assert tiering.append(root, tmp_path / "images", workers=1).fields == []
    tiering.convert(root, tmp_path / "store", "lmdb", workers=1)
    before = samples(tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "fields" / "txt" / "0")
    assert not tiering.verify(tmp_path / "store").ok
    tiering.repair(tmp_path / "store", source=root, workers=1)
    assert samples(tmp_path / "store") == before


def test_the_account_of_an_older_manifest_is_valid():
    old = {"met": 4, "met_bytes": 40, "packed": 3, "packed_bytes": 30, "shared_keys": 2, "shared_examples": ["a and b"],
           "left_out": {"sidecar": {"count": 1, "bytes": 10, "examples": ["a.txt"]}}}  # fmt: skip
    account = Account.model_validate(old)
    assert (account.field_files, account.shared_keys, account.count("sidecar")) == (0, 2, 1)
    with pytest.raises(ValueError, match="4 files of 40 bytes met, 5 of"):
        Account.model_validate(old | {"field_files": 1})
