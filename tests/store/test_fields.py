"""Fields of samples: packed from a table, and read again from every kind of store, and from caches and buckets."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import s3fs
import zarr
from PIL import Image

import tiering
from tests.s3 import s3_environment
from tiering.errors import DatasetError, StoreError, UsageError

WAYS: dict[str, dict[str, Any]] = {
    "lmdb": {"to": "lmdb"},
    "zarr": {"to": "zarr", "codec": "none"},
    "zarr-zstd": {"to": "zarr", "codec": "zstd"},
    "pixels": {"to": "zarr", "pixels": tiering.Pixels(8, 8)},
}
SAMPLES = 60
COLUMNS = "image=path,label=label,caption:string=caption,score=score,id=id,box=box,meta:json=meta,mask:image=mask"


def png(side: int, colour: int, mode: str = "L") -> bytes:
    data = io.BytesIO()
    Image.new(mode, (side, side), colour if mode == "L" else (colour, 0, 0)).save(data, "PNG")
    return data.getvalue()


def drawn(root: Path, numbers: range) -> pl.DataFrame:
    """Write images and masks, and a table of them; return its rows."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "masks").mkdir(exist_ok=True)
    rows = []
    for number in numbers:
        (root / f"images/{number}.png").write_bytes(png(8 + number % 5, number, "RGB"))
        (root / f"masks/{number}.png").write_bytes(png(8, number))
        rows.append({
            "path": f"images/{number}.png",
            "label": f"class {number % 3}",
            "caption": None if number % 4 == 0 else f"é {number}\nsecond line" * (number % 3),
            "score": number / 7,
            "id": number,
            "box": [float(number), 1.0, 2.0, 3.0],
            "meta": json.dumps({"number": number, "tags": ["a"] * (number % 3)}),
            "mask": None if number % 5 == 0 else f"masks/{number}.png",
        })  # fmt: skip
    schema = {"box": pl.Array(pl.Float64, 4)}
    return pl.DataFrame(rows, schema_overrides=schema)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fields")
    drawn(root, range(SAMPLES)).write_parquet(root / "list.parquet")
    return root / "list.parquet"


@pytest.fixture(scope="module", params=list(WAYS))
def store(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in several shards; never written to."""
    path = tmp_path_factory.mktemp("stores") / request.param
    tiering.convert(
        tiering.TableSource(source, COLUMNS), path, shards=tiering.Shards(1500), workers=1, **WAYS[request.param]
    )
    return path


def check(store: tiering.Store, expected: pl.DataFrame) -> None:
    """Compare every field of every sample with the rows of the table."""
    ids = store.read_field("id", range(len(store)))
    rows = {row["id"]: row for row in expected.iter_rows(named=True)}
    assert sorted(ids.tolist()) == sorted(rows)
    wanted = [rows[number] for number in ids.tolist()]
    every = {name: store.read_field(name, range(len(store))) for name in store.fields}
    assert every["caption"] == [row["caption"] for row in wanted]
    assert every["score"].tolist() == [row["score"] for row in wanted]
    assert every["box"].tolist() == [list(row["box"]) for row in wanted]
    assert every["meta"] == [json.loads(row["meta"]) for row in wanted]
    masks = [None if mask is None else bytes(mask) for mask in every["mask"]]
    assert masks == [None if row["mask"] is None else png(8, row["id"]) for row in wanted]
    names = store.manifest.classes
    assert [names[label] for label in every["label"].tolist()] == [row["label"] for row in wanted]
    keys = [os.fsdecode(key) for key in store.index.keys(np.arange(len(store)))]
    assert keys == [row["path"] for row in wanted]


def test_every_field_is_read_as_it_was_written(store, source):
    with tiering.open_store(store) as opened:
        assert list(opened.fields) == ["label", "caption", "score", "id", "box", "meta", "mask"]
        kinds = {name: (field.kind, field.nullable) for name, field in opened.fields.items()}
        assert kinds == {
            "label": ("integer", False),
            "caption": ("string", True),
            "score": ("float", False),
            "id": ("integer", False),
            "box": ("vector", False),
            "meta": ("json", False),
            "mask": ("image", True),
        }
        assert len(opened.manifest.shards) > 3
        check(opened, pl.read_parquet(source))
        check(pickle.loads(pickle.dumps(opened)), pl.read_parquet(source))
    assert tiering.verify(store).ok


def test_a_sample_gives_its_fields_by_name(store):
    with tiering.open_store(store) as opened:
        sample = opened[7]
        number = sample["id"]
        assert isinstance(number, int)
        assert sample["key"] == f"images/{number}.png"
        assert sample["score"] == number / 7
        assert sample["meta"]["number"] == number
        assert (sample["mask"] is None) == (number % 5 == 0)
        assert sample["label"] == sample.label == int(opened.read_field("label", [7])[0])
        assert sample["box"].tolist() == [number, 1, 2, 3]
        with pytest.raises(KeyError):
            sample["nothing"]
        with pytest.raises(UsageError, match=r"must be one of .*, not void"):
            opened.read_field("void", [0])


@pytest.mark.parametrize("images", ["encoded", "bytes", "pixels"])
@pytest.mark.parametrize("shuffle", ["global", "block"])
def test_a_loader_serves_the_fields_of_its_samples(store, images, shuffle):
    fields = ("caption", "score", "mask", "meta", "id")
    with tiering.Loader(store, 16, images=images, shuffle=shuffle, fields=fields, threads=2) as loader:
        served = []
        for batch in loader:
            assert list(batch.fields) == list(fields)
            ids = batch["id"].tolist()
            served += ids
            assert batch["caption"] == [None if n % 4 == 0 else f"é {n}\nsecond line" * (n % 3) for n in ids]
            assert batch["score"].tolist() == [n / 7 for n in ids]
            assert batch["key"] == [f"images/{n}.png" for n in ids]
            assert len(batch["image"]) == len(ids)
            assert batch["label"].tolist() == batch.labels.tolist()
            # Not asked for, so read now.
            assert batch["box"][:, 0].tolist() == ids
            for number, mask in zip(ids, batch["mask"], strict=True):
                assert (mask is None) == (number % 5 == 0)
                if mask is None:
                    continue
                if images == "pixels":
                    assert mask.tolist() == [[number] * 8] * 8
                    assert mask.flags.writeable
                else:
                    assert bytes(mask) == png(8, number)
        assert sorted(served) == list(range(SAMPLES))


def test_a_transform_gets_the_fields_and_a_skipped_sample_takes_those_of_its_replacement(store):
    def transform(sample):
        if sample["id"] % 9 == 2:
            raise ValueError("a bad sample")
        return sample["id"], sample["caption"]

    with tiering.Loader(store, 16, transform=transform, fields=("id", "caption"), on_error="skip") as loader:
        for batch in loader:
            assert [made[0] for made in batch.images] == batch["id"].tolist()
            assert [made[1] for made in batch.images] == batch["caption"]


def test_a_cache_keeps_the_fields_that_are_read(store, source, tmp_path):
    with tiering.cached(store, "100MB", tmp_path / "cache") as cached:
        for _ in range(2):
            check(cached, pl.read_parquet(source))
        assert cached.runs["mask"].stats().hits == SAMPLES
        assert cached.stats().misses == cached.stats().hits == 0
        for batch in tiering.Loader(cached, 16, fields=("mask",)):
            assert batch["mask"] == cached.read_field("mask", batch.indices)


@pytest.mark.parametrize("store", ["lmdb", pytest.param("zarr-zstd", marks=pytest.mark.slow)], indirect=True)
def test_a_bucket_serves_fields(store, source, s3, s3_endpoint):
    s3fs.S3FileSystem(use_listings_cache=False).put(str(store), f"{s3}/store", recursive=True)
    with s3_environment(s3_endpoint), tiering.open_store(f"{s3}/store") as opened:
        check(opened, pl.read_parquet(source))
        for batch in tiering.Loader(opened, 16, shuffle="block", fields=("mask", "caption")):
            assert batch["mask"] == opened.read_field("mask", batch.indices)
        assert tiering.verify(f"{s3}/store").ok


def test_plain_zarr_reads_them(store):
    with tiering.open_store(store) as opened:
        index = zarr.open_group(store / "index", mode="r")["fields"]
        scores, at, size = index["score"][:], index["caption.offset"][:], index["caption.size"][:]
        assert scores.tolist() == opened.read_field("score", range(SAMPLES)).tolist()
        first = opened.manifest.shards[0].samples
        run = zarr.open_array(store / "fields/caption/0", mode="r")
        texts = [
            bytes(run[begin : begin + n]).decode() if begin >= 0 else None for begin, n in zip(at, size, strict=True)
        ][:first]
        assert texts == opened.read_field("caption", range(first))


@pytest.mark.parametrize("store", ["lmdb", "zarr-zstd"], indirect=True)
@pytest.mark.parametrize("flips", [12, pytest.param(1000, marks=pytest.mark.slow)])
def test_verify_finds_every_flip_of_a_field(store, flips, tmp_path):
    """The bits of values, of columns, and of the documents that describe them."""
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    places = [copy / "fields", copy / "index/fields"]
    files = sorted(path for place in places for path in place.rglob("*") if path.is_file())
    random = np.random.default_rng(5)
    for path in (files * (1 + flips // len(files)))[:flips]:
        data = path.read_bytes()
        at = int(random.integers(len(data)))
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << int(random.integers(8)))]) + data[at + 1 :])
        assert not tiering.verify(copy).ok, (path, at)
        path.write_bytes(data)
    assert tiering.verify(copy).ok


def test_a_value_that_is_damaged_is_an_error_that_names_it(store, tmp_path):
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    file = copy / "fields/meta/0/c/0"
    data = bytearray(file.read_bytes())
    data[0:1] = b"\xff"
    file.write_bytes(data)
    with tiering.open_store(copy) as opened:
        # The sample whose value begins the damaged file.
        at = int(np.flatnonzero(opened.index.fields["meta.offset"][: opened.manifest.shards[0].samples] == 0)[0])
        with pytest.raises(StoreError):
            opened.read_field("meta", [at])


def test_a_damaged_field_is_repaired(store, source, tmp_path):
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    whole = (copy / "fields/mask/1/c/0").read_bytes()
    (copy / "fields/mask/1/c/0").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (copy / "fields/caption/2/c/0").unlink()
    found = tiering.verify(copy)
    assert not found.ok
    assert any("fields/mask/1/c/0" in problem for problem in found.problems)
    again = tiering.TableSource(source, COLUMNS)
    assert tiering.repair(copy, source=again, workers=1) == ["fields/mask/1/c/0", "fields/caption/2/c/0"]
    assert (copy / "fields/mask/1/c/0").read_bytes() == whole
    assert tiering.verify(copy).ok


@pytest.mark.parametrize("kind", list(WAYS))
def test_an_append_may_bring_new_fields_and_lack_old_ones(kind, tmp_path):
    first, more = drawn(tmp_path, range(20)), drawn(tmp_path, range(20, 40))
    first.drop("score").write_parquet(tmp_path / "list.parquet")
    path = tmp_path / "store"
    tiering.convert(tmp_path / "list.parquet", path, shards=tiering.Shards(1500), workers=1, **WAYS[kind])
    more.drop("caption", "mask").write_parquet(tmp_path / "more.parquet")
    tiering.append(tmp_path / "more.parquet", path, workers=1)
    assert tiering.verify(path).ok
    with tiering.open_store(path) as opened:
        ids = opened.read_field("id", range(40)).tolist()
        scores, captions = opened.read_field("score", range(40)), opened.read_field("caption", range(40))
        masks = opened.read_field("mask", range(40))
        for number, score, caption, mask in zip(ids, scores, captions, masks, strict=True):
            assert np.ma.is_masked(score) if number < 20 else score == number / 7
            assert caption == (None if number >= 20 or number % 4 == 0 else f"é {number}\nsecond line" * (number % 3))
            assert (mask is None) == (number >= 20 or number % 5 == 0)
        assert sorted(ids) == list(range(40))


def test_a_field_that_cannot_be_read_leaves_its_sample_out_by_name(tmp_path):
    table = drawn(tmp_path, range(9))
    (tmp_path / "masks/4.png").write_bytes(b"no image")
    table.write_parquet(tmp_path / "list.parquet")
    with pytest.raises(DatasetError):
        tiering.convert(tmp_path / "list.parquet", tmp_path / "store", "lmdb", workers=1)
    manifest = tiering.convert(tmp_path / "list.parquet", tmp_path / "store", "lmdb", workers=1, on_error="skip")
    assert manifest.samples == 8
    listed = (tmp_path / "store/left-out.tsv").read_text()
    assert "images/4.png" in listed
    assert "mask: " in listed
    assert tiering.verify(tmp_path / "store").ok


@pytest.mark.parametrize("kind", ["lmdb", "zarr"])
def test_verify_and_sync_notice_a_field_that_changed_in_the_source(kind, tmp_path):
    table = drawn(tmp_path, range(12))
    source, path = tmp_path / "list.parquet", tmp_path / "store"
    table.write_parquet(source)
    tiering.convert(source, path, kind, workers=1)
    assert tiering.verify(path, source=source).ok
    changed = pl.col("id") == 3
    table.with_columns(
        pl.when(changed).then(pl.lit("another")).otherwise("caption").alias("caption"),
        pl.when(pl.col("id") == 4).then(0.5).otherwise("score").alias("score"),
        pl.when(pl.col("id") == 6).then(None).otherwise("mask").alias("mask"),
    ).write_parquet(source)
    (tmp_path / "masks/7.png").write_bytes(png(8, 99))
    found = tiering.verify(path, source=source)
    assert sorted(problem.split(": ")[-1] for problem in found.problems) == [
        "another caption than in the source",
        *["another mask than in the source"] * 2,
        "another score than in the source",
    ]
    synced = tiering.sync(source, path, workers=1)
    assert (synced.new, synced.changed, synced.vanished) == (0, 4, 0)
    assert tiering.verify(path, source=source).ok
    with tiering.open_store(path) as opened:
        ids = opened.read_field("id", range(12)).tolist()
        captions = dict(zip(ids, opened.read_field("caption", range(12)), strict=True))
        assert captions[3] == "another"


def test_a_sync_packs_fields_that_the_store_lacks(tmp_path):
    table = drawn(tmp_path, range(12))
    source, path = tmp_path / "list.parquet", tmp_path / "store"
    table.select("path", "label").write_parquet(source)
    tiering.convert(source, path, "lmdb", workers=1)
    table.select("path", "label", "caption").write_parquet(source)
    assert tiering.verify(path, source=source).further_fields == ["caption"]
    assert tiering.sync(source, path, workers=1).changed == table["caption"].count()
    assert tiering.verify(path, source=source).further_fields == []


def test_info_shows_the_fields_and_a_few_samples(store, program):
    done = program("info", store)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("field "))
    assert [line.split()[:2] for line in lines[at + 1 :]] == [
        ["label", "integer"],
        ["caption", "string,"],
        ["score", "float"],
        ["id", "integer"],
        ["box", "vector"],
        ["meta", "json"],
        ["mask", "image,"],
    ]


@pytest.mark.parametrize("kind", ["lmdb", "zarr-zstd"])
def test_texts_are_the_same_one_by_one_and_many_at_once(kind, tmp_path):
    """Alike and not, short and long, ASCII and not, with and without a value: each takes another way in a batch."""
    numbers = range(40)
    texts: dict[str, list[str | None]] = {
        "alike": [f"number {number:04}" for number in numbers],
        "ascii": [None if n % 7 == 3 else "a\0b" * (n % 5) for n in numbers],
        "accents": ["é" * (n % 6) + "ß" for n in numbers],
        "lengths": ["x" * (5000 if n == 11 else n) for n in numbers],
        "late": [None if n < 20 else f"late {n}" for n in numbers],
        "none": [None if n else "one" for n in numbers],
    }
    drawn(tmp_path, numbers).select("path", "id").with_columns(
        *(pl.Series(name, values, dtype=pl.String) for name, values in texts.items())
    ).write_parquet(tmp_path / "list.parquet")
    columns = "image=path,id=id," + ",".join(f"{name}:string={name}" for name in texts)
    source = tiering.TableSource(tmp_path / "list.parquet", columns)
    tiering.convert(source, tmp_path / "store", shards=tiering.Shards(1500), workers=1, **WAYS[kind])
    with tiering.open_store(tmp_path / "store") as opened:
        assert len(opened.manifest.shards) > 2
        ids = opened.read_field("id", numbers)
        for name, expected in texts.items():
            assert opened.read_field(name, numbers) == [expected[number] for number in ids]
            assert [opened.read_field(name, [at])[0] for at in numbers] == [expected[number] for number in ids]
            shuffled = np.random.default_rng(3).permutation(len(ids)).repeat(2)
            assert opened.read_field(name, shuffled) == [expected[number] for number in ids[shuffled]]
        with pytest.raises(IndexError):
            opened.read_field("alike", np.arange(31, 41))
    offsets = tmp_path / "store/index/fields/alike.offset/c/0"
    places = np.frombuffer(offsets.read_bytes(), "<i8").copy()
    places[5] = 1 << 40
    offsets.write_bytes(places.tobytes())
    with tiering.open_store(tmp_path / "store") as opened, pytest.raises(StoreError, match="damaged"):
        opened.read_field("alike", numbers)


def test_one_name_in_place_of_several_is_refused(store):
    with (
        tiering.open_store(store) as opened,
        pytest.raises(UsageError, match=r"names in a list or tuple, not 'mask'"),
    ):
        tiering.Loader(opened, 16, fields="mask")


@pytest.mark.parametrize("store", ["lmdb"], indirect=True)
def test_labels_in_pytorch_have_one_type_also_if_they_are_asked_for_as_a_field(store):
    from tiering.serve.torch import EpochDataset  # noqa: PLC0415 - slow to import

    batch = next(iter(EpochDataset(store, 16, fields=("label", "id"))))
    assert list(batch) == ["image", "label", "id"]
    assert batch["label"].dtype == np.int64


@pytest.mark.parametrize("text", ["", "{", "[" * 40 + "]" * 40, "{'a': 1}", "[1,]"])
def test_json_that_no_parser_takes_is_named(tmp_path, text):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/1.jpg").write_bytes(png(8, 1, "RGB"))
    (tmp_path / "data/1.json").write_text(text)
    with pytest.raises(DatasetError, match=r"1\.jpg.*json: "):
        tiering.convert(tmp_path / "data", tmp_path / "store", "lmdb", workers=1)


def test_json_as_other_programs_write_it_is_served(tmp_path):
    """Python writes NaN and Infinity, some editors a byte order mark, and the last of two equal names counts."""
    texts = ['{"a": NaN, "b": -Infinity}', '\ufeff{"a": 1}', '{"a": 1, "a": 2}\n', "1e999"]
    (tmp_path / "data").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / f"data/{number}.png").write_bytes(png(8, number, "RGB"))
        (tmp_path / f"data/{number}.json").write_text(text)
    tiering.convert(tmp_path / "data", tmp_path / "store", "lmdb", workers=1)
    with tiering.open_store(tmp_path / "store") as opened:
        found = {sample["key"][0]: sample["json"] for sample in map(opened.__getitem__, range(len(texts)))}
        kept = sorted(bytes(value).decode() for value in opened.runs["json"].read(range(len(texts))))
    assert repr(found["0"]) == "{'a': nan, 'b': -inf}"
    assert [found["1"], found["2"], found["3"]] == [{"a": 1}, {"a": 2}, float("inf")]
    assert tiering.verify(tmp_path / "store", source=tmp_path / "data").ok
    assert kept == sorted(texts)
