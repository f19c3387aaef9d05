"""A plain folder offers the files beside its images as fields, and reads them when they are asked for."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tiering
from tests.sources.trees.test_remote import upload
from tests.trees import picture, put
from tiering.errors import StoreError, UsageError

#: What a profile says of the files and their place, not of the images.
OF_FILES = {"root", "layout", "arrangement", "notes", "shapes"}

MASK = picture(8, 8, "PNG")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(8):
        put(tmp_path / "photos", f"{number}.jpg", picture(16 + number, 12))
        put(tmp_path / "photos", f"{number}.mask.png", MASK)
        put(tmp_path / "photos", f"{number}.id", b"%d\n" % (number * 10))
        if number % 2:
            put(tmp_path / "photos", f"{number}.txt", b"cat %d" % number)
            put(tmp_path / "photos", f"{number}.cls2", b"%d" % number)
    return tmp_path / "photos"


def plain(store, name):
    values = store.read_field(name, np.arange(len(store)))
    if isinstance(values, np.ndarray):
        return values.tolist()
    return [bytes(value) if isinstance(value, memoryview) else value for value in values]


def by_key(store):
    keys = store.index.keys(np.arange(len(store)))
    return {name: dict(zip(keys, plain(store, name), strict=True)) for name in store.fields if name != "label"}


@pytest.mark.parametrize("place", ["local", "bucket"])
def test_a_folder_serves_the_fields_of_the_store_that_is_packed_from_it(photos, tmp_path, s3, place):
    source: Path | str = photos
    if place == "bucket":
        upload(photos, s3)
        source = s3
    tiering.convert(source, tmp_path / "store", "zarr", workers=1)
    folder, packed = tiering.open_store(source), tiering.open_store(tmp_path / "store")
    assert by_key(folder) == by_key(packed)
    assert {each.name: (each.kind, each.nullable, each.suffix) for each in folder.fields.values()} == {
        each.name: (each.kind, each.nullable, each.suffix) for each in packed.fields.values()
    }
    assert folder.manifest.account == packed.manifest.account
    assert (folder[3]["txt"], folder[2]["txt"], folder[3]["id"], bytes(folder[3]["mask"])) == ("cat 3", None, 30, MASK)
    assert by_key(pickle.loads(pickle.dumps(folder))) == by_key(packed)
    if place == "local":
        assert [path.name for path in folder.runs["txt"].files()] == ["1.txt", "3.txt", "5.txt", "7.txt"]
    chosen = folder.select("id >= 50")
    assert plain(chosen, "txt") == ["cat 5", None, "cat 7"]


def schemas(store):
    """The fields of a store, without the files of a packed one."""
    return {name: field.model_copy(update={"files": []}) for name, field in store.fields.items()}


def columns(store):
    """The columns of numbers, by key of the sample."""
    order = np.argsort(np.array(store.index.keys(np.arange(len(store))), object))
    return {name: np.asarray(store.index.fields[name])[order] for each in store.fields.values() if each.numeric
            for name in (each.name, each.name + ".valid") if name in store.index.fields}  # fmt: skip


def equal(folder, packed):
    """Assert that a folder has the fields of the store that is packed from it, with the same values."""
    assert list(schemas(folder)) == list(schemas(packed))
    assert schemas(folder) == schemas(packed)
    assert by_key(folder) == by_key(packed)
    there, here = columns(packed), columns(folder)
    assert list(here) == list(there)
    for name, values in here.items():
        assert values.dtype == there[name].dtype
        np.testing.assert_array_equal(values, there[name])


ROWS = [
    {"stars": 3, "score": 0.5, "text": "a cat\n", "code": "007", "box": [1, 2], "meta": {"a": [1, None]}, "late": 1.5},
    {"stars": -1, "score": 1e-300, "text": "", "code": "12", "box": [3, 4], "meta": {"b": "ä"}},
    {"stars": None, "score": float("inf"), "text": None, "code": None, "box": None, "meta": None},
    {"stars": 2**53, "score": 7, "text": "ä" * 99, "code": "x", "box": [0, -1], "meta": {}},
]


def metadata(folder, form):
    """Write images and a table of metadata about all but the last of them."""
    for number in range(5):
        put(folder, f"{number}.jpg", picture(16 + number, 12))
    rows = [{"file_name": f"{number}.jpg"} | row for number, row in enumerate(ROWS)]
    path = folder / f"metadata.{form}"
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "parquet":
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    else:
        cells = [{name: value for name, value in row.items() if name not in ("box", "meta")} for row in rows]
        pl.DataFrame(cells, infer_schema_length=None).write_csv(path)


@pytest.mark.parametrize(
    ("form", "place"),
    [
        *((form, "local") for form in ("csv", "jsonl", "parquet")),
        ("jsonl", "bucket"),
        *(pytest.param(form, "bucket", marks=pytest.mark.slow) for form in ("csv", "parquet")),
    ],
)
def test_columns_of_metadata_are_fields_as_in_the_packed_store(tmp_path, s3, form, place):
    metadata(tmp_path / "photos", form)
    put(tmp_path / "photos", "2.mask.png", MASK)
    source: Path | str = tmp_path / "photos"
    if place == "bucket":
        upload(source, s3)
        source = s3
    tiering.convert(source, tmp_path / "store", "lmdb", workers=1)
    folder, packed = tiering.open_store(source), tiering.open_store(tmp_path / "store")
    equal(folder, packed)
    assert {"stars", "score", "text", "code", "mask"} < set(folder.fields)
    equal(pickle.loads(pickle.dumps(folder)), packed)
    with tiering.cached(folder, "16MiB", tmp_path / "cache") as cached:
        assert by_key(cached) == by_key(packed)
        for batch in tiering.Loader(cached, 2, fields=("text", "stars"), drop_last=False):
            assert len(batch["text"]) == len(batch["stars"])
        # They are in memory already.
        assert not isinstance(cached.runs["text"], tiering.CachedStore)
    chosen = folder.select("text is null or stars < 0")
    assert sorted(chosen.index.keys(np.arange(len(chosen)))) == [b"1.jpg", b"2.jpg", b"4.jpg"]
    profiles = [tiering.profile_store(each).model_dump(exclude=OF_FILES) for each in (folder, packed)]
    assert profiles[0] == profiles[1]


def test_labels_and_splits_of_metadata_stay_beside_its_fields(tmp_path):
    for number in range(4):
        put(tmp_path / "photos", f"{number}.jpg", picture(16 + number, 12))
    rows = [f"{number}.jpg,c{number % 2},{'train' if number else 'val'},{number}" for number in range(4)]
    (tmp_path / "photos" / "metadata.csv").write_text("\n".join(["file_name,label,split,stars", *rows]))
    tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", workers=1)
    folder, packed = tiering.open_store(tmp_path / "photos"), tiering.open_store(tmp_path / "store")
    equal(folder, packed)
    assert folder.manifest.labels == packed.manifest.labels == ["c0", "c1"]
    assert len(folder.select("stars > 1 and label = 'c1'", split="train")) == 1


def test_fields_in_trees_of_their_own_are_offered_by_patterns(tmp_path):
    for number in range(4):
        put(tmp_path / "photos", f"images/{number}.jpg", picture(16 + number, 12))
        put(tmp_path / "photos", f"masks/{number}.png", MASK)
    fields = {"mask": "masks/{stem}.png"}
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", fields=fields, workers=1)
    folder = tiering.open_store(tmp_path / "photos", fields=fields)
    packed = tiering.open_store(tmp_path / "store")
    assert len(tiering.open_store(tmp_path / "photos")) == 8
    equal(folder, packed)
    assert folder.manifest.account == packed.manifest.account
    assert folder.manifest.source.fields == packed.manifest.source.fields == fields
    with pytest.raises(UsageError, match="has its fields already"):
        tiering.open_store(tmp_path / "store", fields=fields)
    with pytest.raises(UsageError, match="fields: needs files like"):
        tiering.open_store(tmp_path / "photos", fields={"mask": "nowhere/{stem}.png"})


def test_loaders_and_caches_serve_them(photos, tmp_path):
    folder = tiering.open_store(photos)
    with tiering.cached(folder, "16MiB", tmp_path / "cache") as cached:
        for store in (folder, cached, cached):
            seen = {}
            for batch in tiering.Loader(store, 3, fields=("txt", "mask", "cls2"), drop_last=False):
                seen |= dict(zip(batch.indices.tolist(), batch["txt"], strict=True))
                assert all(bytes(mask) == MASK for mask in batch["mask"])
            assert seen == {number: f"cat {number}" if number % 2 else None for number in range(8)}


def test_files_are_read_when_they_are_asked_for_and_what_is_no_number_is_refused_then(photos):
    put(photos, "5.id", b"five")
    folder = tiering.open_store(photos)
    assert plain(folder, "txt")[5] == "cat 5"
    with pytest.raises(StoreError, match=r"values of kind integer in the field id.*five"):
        plain(folder, "id")
    (photos / "3.txt").unlink()
    with pytest.raises(StoreError, match="no such file"):
        plain(folder, "txt")


def test_a_folder_without_files_beside_its_images_has_no_fields(tmp_path):
    put(tmp_path, "1.jpg")
    folder = tiering.open_store(tmp_path)
    assert (list(folder.fields), dict(folder.runs), folder.index.fields) == (["label"], {}, {})


def test_the_folder_that_an_export_writes_has_the_fields_of_the_store(tmp_path):
    metadata(tmp_path / "photos", "parquet")
    put(tmp_path / "photos", "2.mask.png", MASK)
    tiering.convert(tmp_path / "photos", tmp_path / "store", "zarr", workers=1)
    tiering.export(tmp_path / "store", tmp_path / "back")
    folder, packed = tiering.open_store(tmp_path / "back"), tiering.open_store(tmp_path / "store")
    assert by_key(folder) == by_key(packed)
    tiering.convert(tmp_path / "back", tmp_path / "again", "lmdb", workers=1)
    equal(folder, tiering.open_store(tmp_path / "again"))


def test_paths_in_metadata_are_fields_of_images(tmp_path):
    metadata(tmp_path / "photos", "csv")
    for number in range(5):
        put(tmp_path / "photos", f"depth/{number}.png", MASK)
    rows = ["file_name,depth,stars", *(f"{n}.jpg,depth/{n}.png,{n}" for n in range(4))]
    (tmp_path / "photos" / "metadata.csv").write_text("\n".join(rows) + "\n")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    folder = tiering.open_store(tmp_path / "photos")
    assert (folder.fields["depth"].kind, folder.fields["depth"].nullable) == ("image", True)
    equal(folder, tiering.open_store(tmp_path / "store"))
