"""Relabel takes values from files that a table names: masks, arrays and other files. Nothing else is written again."""

from __future__ import annotations

import io
import os
import pickle
import shutil

import fsspec
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import tiering
from tests.packing.changed import WAYS, everything, first_classes, keys, pack
from tests.trees import picture, put
from tiering.cli.app import app
from tiering.errors import DatasetError
from tiering.testing import tree


def mask(number):
    return picture(8 + number, 8, "PNG")


def array(number):
    data = io.BytesIO()
    np.save(data, np.full((2, number + 1), number))
    return data.getvalue()


@pytest.fixture(params=WAYS)
def store(request, photos, tmp_path):
    kind, how = WAYS[request.param]
    return pack(first_classes(photos, tmp_path, 2), kind, **how)


@pytest.fixture
def lmdb(photos, tmp_path):
    return pack(first_classes(photos, tmp_path, 2), "lmdb")


def some(store, count):
    """Keys of samples that are spread over the shards."""
    rows = np.linspace(0, len(store) - 1, count).astype(np.int64)
    return [key.decode() for key in store.index.keys(rows)]


def table(place, columns):
    place.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_csv(place)
    return place


def values(store, name):
    found = store.read_field(name, np.arange(len(store)))
    plain = [bytes(each) if isinstance(each, bytes | memoryview) else each for each in found]
    return {key.decode(): each for key, each in zip(keys(store), plain, strict=True) if each is not None}


def test_a_cache_keeps_images_and_takes_the_new_values_of_a_field(lmdb, tmp_path):
    chosen = some(tiering.open_store(lmdb), 9)
    for turn in range(2):
        for number in range(9):
            put(tmp_path / f"new-{turn}", f"{number}.png", mask(number + turn))
        columns = {"path": chosen, "m": [f"{number}.png" for number in range(9)]}
        tiering.relabel(lmdb, table(tmp_path / f"new-{turn}/list.csv", columns), columns="path=path,mask:image=m")
        with tiering.cached(lmdb, "50MB", tmp_path / "cache") as cache:
            assert everything(cache) == everything(tiering.open_store(lmdb))
            assert (cache.stats().misses == 0) == (turn == 1)
            assert values(cache, "mask") == {key: mask(number + turn) for number, key in enumerate(chosen)}


def test_masks_arrays_and_files_become_fields_and_no_image_is_written_again(store, tmp_path):
    before = tiering.open_store(store)
    files, chosen = tree(store), some(before, 9)
    for number in range(9):
        put(tmp_path / "new", f"masks/{number}.png", mask(number))
        put(tmp_path / "new", f"depth/{number}.npy", array(number))
        put(tmp_path / "new", f"meshes/{number}.obj", b"mesh %d" % number)
    columns = {
        "path": chosen, "m": [f"masks/{n}.png" for n in range(9)], "d": [f"depth/{n}.npy" for n in range(9)],
        "o": [f"meshes/{n}.obj" if n % 2 else None for n in range(9)],
    }  # fmt: skip
    named = "path=path,mask:image=m,depth:array=d,mesh:bytes=o"
    found = tiering.relabel(store, table(tmp_path / "new/list.csv", columns), columns=named)
    assert found.fields == {"mask": 9, "depth": 9, "mesh": 4}
    now = tiering.open_store(store)
    assert {name: now.fields[name].kind for name in found.fields} == {
        "mask": "image",
        "depth": "array",
        "mesh": "bytes",
    }
    assert values(now, "mask") == {key: mask(number) for number, key in enumerate(chosen)}
    assert values(now, "mesh") == {key: b"mesh %d" % number for number, key in enumerate(chosen) if number % 2}
    depths = values(now, "depth")
    assert all(np.array_equal(depths[key], np.full((2, n + 1), n)) for n, key in enumerate(chosen))
    changed = {name for name, data in files.items() if tree(store).get(name) != data}
    assert changed == {b"manifest.json"}
    assert everything(now) == everything(before)
    assert tiering.verify(store).problems == []

    # New values for some: only the runs of their shards are written, as files of the next generation.
    files = tree(store)
    put(tmp_path / "new", "masks/new.png", mask(20))
    tiering.relabel(store, table(tmp_path / "new/some.csv", {"path": chosen[:1], "mask": ["masks/new.png"]}))
    last = tiering.open_store(store)
    assert values(last, "mask") == values(now, "mask") | {chosen[0]: mask(20)}
    written = [name for name in tree(store) if name not in files and name.startswith(b"fields/")]
    assert len([name for name in written if not name.endswith(b"zarr.json")]) == 1
    assert {name for name, data in files.items() if tree(store).get(name) != data} == {b"manifest.json"}
    for reader in (now, tiering.open_store(store, generation=2), pickle.loads(pickle.dumps(now))):
        assert values(reader, "mask")[chosen[0]] == mask(0)
    tiering.remove(store, chosen[:1], purge=True)
    assert not any(mask(0) in data or mask(20) in data for data in tree(store).values())
    assert tiering.verify(store).problems == []


def test_a_field_of_images_takes_paths_and_a_new_column_of_images_is_one(lmdb, tmp_path):
    (key,) = some(tiering.open_store(lmdb), 1)
    for number in range(3):
        put(tmp_path / "list", f"{number}.png", mask(number))
    for name, number in (("0.png", 0), ("1.png", 1)):
        found = tiering.relabel(lmdb, table(tmp_path / "list/t.csv", {"path": [key], "mask": [name]}))
        assert found.fields == {"mask": 1}
        assert values(tiering.open_store(lmdb), "mask") == {key: mask(number)}
    # A text that names an image stays a text where the store has texts.
    tiering.relabel(lmdb, table(tmp_path / "list/t.csv", {"path": [key], "note": ["a word"]}))
    tiering.relabel(lmdb, table(tmp_path / "list/t.csv", {"path": [key], "note": ["2.png"]}))
    assert values(tiering.open_store(lmdb), "note") == {key: "2.png"}


def test_paths_start_from_the_root(lmdb, tmp_path):
    one, two = some(tiering.open_store(lmdb), 2)
    put(tmp_path / "elsewhere", "a/1.png", mask(1))
    rows = {"path": [one, two], "mask": ["a/1.png", str(tmp_path / "elsewhere/a/1.png")]}
    listed = table(tmp_path / "t.csv", rows)
    words = ["relabel", lmdb, listed, "--columns", "path=path,mask:image=mask"]
    failed = CliRunner().invoke(app, list(map(str, words)))
    assert failed.exit_code == 3
    assert "--root DIRECTORY" in failed.output
    done = CliRunner().invoke(app, [*map(str, words), "--root", str(tmp_path / "elsewhere")])
    assert done.exit_code == 0, done.output
    assert values(tiering.open_store(lmdb), "mask") == {one: mask(1), two: mask(1)}


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("none.png", "image", r"column of x: expected files below .*, found 1 file missing \(none\.png\)"),
        ("broken.png", "image", "a value of kind image, found x: "),
        ("text.npy", "array", "a value of kind array, found x: "),
        ("../mask.png", "image", "a path below"),
        ("/etc/hostname", "bytes", "a path below"),
    ],
)
def test_a_file_that_is_no_value_is_one_error_and_nothing_is_written(lmdb, tmp_path, name, kind, message):
    (key,) = some(tiering.open_store(lmdb), 1)
    put(tmp_path / "list", "broken.png", mask(1)[:-20])
    put(tmp_path / "list", "text.npy", b"not an array")
    put(tmp_path, "mask.png", mask(1))
    files = tree(lmdb)
    listed = table(tmp_path / "list/t.csv", {"path": [key], "x": [name]})
    with pytest.raises(DatasetError, match=message):
        tiering.relabel(lmdb, listed, columns=f"path=path,x:{kind}=x")
    assert tree(lmdb) == files
    assert sorted(os.listdir(lmdb.parent)) == ["list", "mask.png", "photos", "store"]


def test_rows_that_the_store_lacks_need_no_file(lmdb, tmp_path):
    (key,) = some(tiering.open_store(lmdb), 1)
    put(tmp_path / "list", "1.png", mask(1))
    listed = table(tmp_path / "list/t.csv", {"path": [key, "none.jpg"], "mask": ["1.png", "none.png"]})
    found = tiering.relabel(lmdb, listed, columns="path=path,mask:image=mask")
    assert (found.fields, found.unknown) == ({"mask": 1}, 1)


def test_values_in_the_table_itself_may_be_bytes_of_any_kind(lmdb, tmp_path):
    one, two = some(tiering.open_store(lmdb), 2)
    rows = {"path": [one, two], "d": [array(1), array(2)], "b": [b"\0\xff", b""]}
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DatasetError, match="a value of kind array"):
        tiering.relabel(lmdb, tmp_path / "t.parquet", columns="path=path,depth:array=b")
    tiering.relabel(lmdb, tmp_path / "t.parquet", columns="path=path,depth:array=d,blob:bytes=b")
    now = tiering.open_store(lmdb)
    assert values(now, "blob") == {one: b"\0\xff", two: b""}
    assert values(now, "depth")[two].tolist() == [[2, 2, 2], [2, 2, 2]]


def test_masks_in_the_table_of_an_export_come_back(lmdb, tmp_path):
    (key,) = some(tiering.open_store(lmdb), 1)
    put(tmp_path / "list", "1.png", mask(1))
    tiering.relabel(lmdb, table(tmp_path / "list/t.csv", {"path": [key], "mask": ["1.png"], "score": [0.5]}))
    tiering.export(lmdb, tmp_path / "out")
    (exported,) = (tmp_path / "out").rglob("*.mask.png")
    exported.write_bytes(mask(5))
    found = tiering.relabel(lmdb, tmp_path / "out/metadata.parquet")
    assert found.fields == {"mask": 1, "score": 1}
    assert values(tiering.open_store(lmdb), "mask") == {key: mask(5)}


def test_convert_takes_arrays_and_files_by_path_too(tmp_path):
    for number in range(3):
        put(tmp_path / "data", f"{number}.jpg", picture(8, 8 + number, "JPEG"))
        put(tmp_path / "data", f"{number}.bin", array(number))
    rows = {"path": [f"{n}.jpg" for n in range(3)], "x": [f"{n}.bin" for n in range(3)]}
    listed = table(tmp_path / "data/t.csv", rows)
    for kind in ("array", "bytes"):
        source = tiering.TableSource(listed, columns=f"path=path,x:{kind}=x")
        tiering.convert(source, tmp_path / kind, "lmdb", workers=1)
        found = values(tiering.open_store(tmp_path / kind), "x")
        expected = array(2) if kind == "bytes" else np.full((2, 3), 2)
        assert np.array_equal(found["2.jpg"], expected)
        assert tiering.verify(tmp_path / kind, source=listed).problems == []


def test_convert_names_the_files_of_fields_that_are_missing(tmp_path):
    for name in ("1.jpg", "2.jpg", "3.jpg", "m.png"):
        put(tmp_path / "data", name, mask(1) if name == "m.png" else picture(8, 8, "JPEG"))
    listed = table(tmp_path / "data/t.csv", {"path": ["1.jpg", "2.jpg", "3.jpg"], "m": ["m.png", "none.png", None]})
    source = tiering.TableSource(listed, columns="path=path,mask:image=m")
    with pytest.raises(DatasetError, match=r"2\.jpg: mask: no such file: none\.png"):
        tiering.convert(source, tmp_path / "store", "lmdb", workers=1)
    manifest = tiering.convert(source, tmp_path / "store", "lmdb", workers=1, on_error="skip")
    assert (manifest.samples, manifest.left_out) == (2, 1)
    assert values(tiering.open_store(tmp_path / "store"), "mask") == {"1.jpg": mask(1)}


def test_a_table_and_files_in_a_bucket(lmdb, tmp_path, s3):
    chosen = some(tiering.open_store(lmdb), 5)
    for number in range(5):
        put(tmp_path / "list", f"masks/{number}.png", mask(number))
    table(tmp_path / "list/t.csv", {"path": chosen, "mask": [f"masks/{n}.png" for n in range(5)]})
    fsspec.filesystem("s3").put(f"{tmp_path}/list/", f"{s3}/list/", recursive=True)
    assert tiering.relabel(lmdb, f"{s3}/list/t.csv").fields == {"mask": 5}
    assert values(tiering.open_store(lmdb), "mask") == {key: mask(number) for number, key in enumerate(chosen)}
    shutil.rmtree(tmp_path / "list/masks")
    with pytest.raises(DatasetError, match="5 files missing"):
        tiering.relabel(lmdb, tmp_path / "list/t.csv")
