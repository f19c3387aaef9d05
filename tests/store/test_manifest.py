"""A manifest from elsewhere, with a right CRC-32C: its names and numbers are those of one store, or it is refused."""

from __future__ import annotations

import json
import shutil

import google_crc32c
import pytest

import tiering
from tiering.errors import StoreError


@pytest.fixture(scope="module")
def packed(photos, tmp_path_factory):
    """One store of each kind, copied for each test."""
    made = tmp_path_factory.mktemp("packed")
    tiering.convert(photos, made / "lmdb", "lmdb", shards=tiering.Shards(100_000))
    tiering.convert(photos, made / "zarr", "zarr", shards=tiering.Shards(100_000), codec="none")
    tiering.convert(photos, made / "pixels", "zarr", pixels=tiering.Pixels(16, 24), shards=tiering.Shards(100_000))
    return made


@pytest.fixture(params=["lmdb", "zarr", "pixels"])
def store(request, packed, tmp_path):
    shutil.copytree(packed / request.param, tmp_path / "store")
    return tmp_path / "store"


def sign(content):
    content.pop("crc32c", None)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return json.dumps(content | {"crc32c": google_crc32c.value(canonical.encode())})


def rewrite(store, change):
    path = store / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(sign(content))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../victim", "a/../../victim", "manifest.json", "shard-00001.mdb", "\0"]
)
def test_a_shard_is_called_what_its_number_says_and_nothing_else(store, name):
    rewrite(store, lambda content: content["shards"][0].update(name=name))
    with pytest.raises(StoreError, match=r"shards\.0\.name"):
        tiering.open_store(store)


def test_two_shards_that_changed_places_are_refused(store):
    rewrite(store, lambda content: content["shards"].reverse())
    with pytest.raises(StoreError, match=r"shards\.0\.name"):
        tiering.open_store(store)


@pytest.mark.parametrize("name", ["/etc", "../index", "index-2", "index/../index", ""])
def test_the_index_is_that_of_the_generation(store, name):
    rewrite(store, lambda content: content.update(index=name))
    with pytest.raises(StoreError, match="index"):
        tiering.open_store(store)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../victim", "shard-00000.mdb", "index-2/zarr.json", "index/x/zarr.json"]
)
def test_documents_are_those_that_a_store_has(store, name):
    rewrite(store, lambda content: content["documents"].update({name: 0}))
    with pytest.raises(StoreError, match="documents"):
        tiering.open_store(store)


@pytest.mark.parametrize("number", [-1, 10**15, 1 << 63, 0.5, None])
def test_no_more_samples_are_taken_out_of_a_shard_than_it_holds(store, number):
    rewrite(store, lambda content: content["shards"][0].update(removed=number))
    with pytest.raises(StoreError, match=r"shards\.0"):
        tiering.open_store(store)


@pytest.mark.parametrize("number", [-1, 10**18, 1 << 63, "300", 300.0, True, None, [300]])
@pytest.mark.parametrize("field", ["samples", "image_bytes", "left_out", "generation"])
def test_counts_are_whole_numbers_that_agree(store, field, number):
    rewrite(store, lambda content: content.update({field: number}))
    with pytest.raises(StoreError, match=r"manifest\.json"):
        tiering.open_store(store)


def nested(text):
    return '{"format_version": 2, "labels": ' + "[" * 100_000 + "]" * 100_000 + "}"


@pytest.mark.parametrize(
    "damage",
    [
        nested,
        lambda text: text.replace('"samples"', '"samples": 1, "samples"', 1),
        lambda text: text.replace('"left_out": 0', '"left_out": NaN', 1),
        lambda text: text.replace('"left_out": 0', f'"left_out": {"9" * 5000}', 1),
        lambda text: text.replace('"left_out": 0', '"left_out": 1e999', 1),
        lambda text: text.replace('"labels": [', '"labels": [' + '"",' * 3_000_000, 1),
        lambda text: text.encode("utf-16").decode("latin-1"),
        lambda text: "",
        lambda text: "7",
    ],
)
def test_json_that_is_deep_ambiguous_or_endless_is_one_named_error(store, damage):
    path = store / "manifest.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(StoreError, match=r"manifest\.json"):
        tiering.open_store(store)


def test_a_sparse_manifest_and_a_device_are_not_read(store):
    path = store / "manifest.json"
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(StoreError, match="at most"):
        tiering.open_store(store)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(StoreError, match="not a regular file"):
        tiering.open_store(store)
