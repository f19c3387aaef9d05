"""Object storage at either end, against a real S3 server, which may also answer 503."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import zarr

import tiering
from tests import warm
from tests.s3 import FaultyProxy, s3_environment
from tests.sources.trees.test_remote import upload
from tiering.errors import StoreError, UsageError
from tiering.storage.location import Location
from tiering.testing import assert_holds_exactly, tree

SHARD = 50_000
KINDS = ["lmdb", "zarr"]


def downloaded(url, place):
    """The files of a store in a bucket."""
    remote = Location.of(url)
    for name in remote.names():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes((remote / name).read())
    return place


def but_for_the_manifest(files):
    """The manifest names its source, which differs between a path and a URL."""
    return {name: content for name, content in files.items() if name != b"manifest.json"}


@pytest.fixture
def half(few_photos, tmp_path):
    """Every second class."""
    for name in sorted(os.listdir(few_photos))[::2]:
        shutil.copytree(few_photos / name, tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.mark.parametrize("kind", [pytest.param("lmdb", marks=pytest.mark.slow), "zarr"])
def test_a_store_in_a_bucket_is_the_same_and_is_read_where_it_is(few_photos, s3, tmp_path, kind):
    manifest = tiering.convert(few_photos, f"{s3}/store", kind, shards=tiering.Shards(SHARD), workers=2)
    here = tiering.convert(few_photos, tmp_path / "here", kind, shards=tiering.Shards(SHARD))
    assert manifest == here
    assert tree(downloaded(f"{s3}/store", tmp_path / "there")) == tree(tmp_path / "here")
    store = tiering.open_store(f"{s3}/store")
    assert_holds_exactly(store, few_photos)
    assert bytes(store[17].image) == bytes(tiering.open_store(tmp_path / "here")[17].image)
    assert tiering.verify(f"{s3}/store", source=few_photos).ok
    tiering.export(f"{s3}/store", tmp_path / "again")
    assert tree(tmp_path / "again") == tree(few_photos)


def test_plain_zarr_reads_a_store_in_a_bucket(few_photos, s3):
    tiering.convert(
        few_photos, f"{s3}/store", "zarr", pixels=tiering.Pixels(16, 16), codec="zstd", shards=tiering.Shards(50_000)
    )
    group = zarr.open_group(f"{s3}/store", mode="r")
    assert np.array_equal(group["images"][:], tiering.open_store(f"{s3}/store").read(np.arange(40)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_from_bucket_to_bucket_with_every_twentieth_request_refused(photos, s3, s3_endpoint, tmp_path, kind):
    upload(photos, f"{s3}/photos")
    here = tiering.convert(photos, tmp_path / "here", kind, shards=tiering.Shards(SHARD))
    with FaultyProxy(s3_endpoint, 0.05, seed=7) as proxy, s3_environment(proxy.endpoint):
        there = tiering.convert(f"{s3}/photos", f"{s3}/store", kind, shards=tiering.Shards(SHARD))
    assert proxy.failures > 10
    assert (there.shards, there.columns, there.labels) == (here.shards, here.columns, here.labels)
    files = tree(downloaded(f"{s3}/store", tmp_path / "there"))
    assert but_for_the_manifest(files) == but_for_the_manifest(tree(tmp_path / "here"))
    assert tiering.verify(f"{s3}/store", source=f"{s3}/photos").ok


class StopError(Exception):
    pass


@pytest.mark.parametrize("kind", [pytest.param("lmdb", marks=pytest.mark.slow), "zarr"])
def test_a_conversion_into_a_bucket_goes_on_where_it_was(few_photos, s3, tmp_path, kind):
    def stop(samples, of, size):
        if samples:
            raise StopError

    with pytest.raises(StopError):
        tiering.convert(few_photos, f"{s3}/store", kind, shards=tiering.Shards(SHARD), workers=1, progress=stop)
    with pytest.raises(StoreError, match="finished store"):
        tiering.open_store(f"{s3}/store")
    seen = []
    manifest = tiering.convert(
        few_photos, f"{s3}/store", kind, shards=tiering.Shards(SHARD), progress=lambda n, of, size: seen.append(n)
    )
    assert 0 < seen[0] < seen[-1] == 40
    here = tiering.convert(few_photos, tmp_path / "here", kind, shards=tiering.Shards(SHARD))
    assert manifest == here
    assert tree(downloaded(f"{s3}/store", tmp_path / "there")) == tree(tmp_path / "here")


def test_a_source_that_changed_meanwhile_is_refused(some_photos, s3):
    def stop(samples, of, size):
        if samples:
            raise StopError

    upload(some_photos, f"{s3}/photos")
    with pytest.raises(StopError):
        tiering.convert(f"{s3}/photos", f"{s3}/store", "lmdb", shards=tiering.Shards(50_000), workers=1, progress=stop)
    victim = min(some_photos.rglob("*.jpg"))
    shutil.copy(max(some_photos.rglob("*.jpg")), victim)
    upload(some_photos, f"{s3}/photos")
    with pytest.raises(tiering.errors.DatasetError, match=f"{victim.name}: changed"):
        tiering.convert(f"{s3}/photos", f"{s3}/store", "lmdb", shards=tiering.Shards(50_000))


def test_append_and_repair_in_a_bucket(few_photos, half, s3):
    tiering.convert(half, f"{s3}/store", "lmdb", shards=tiering.Shards(SHARD))
    assert tiering.append(few_photos, f"{s3}/store").samples == 40
    store = Location.of(f"{s3}/store")
    shard = tiering.open_store(f"{s3}/store").manifest.shards[1]
    sound = (store / shard.name).read()
    (store / shard.name).write(sound[:-1] + b"?")
    assert tiering.verify(f"{s3}/store").damaged == [shard.name]
    assert tiering.repair(f"{s3}/store", source=few_photos) == [shard.name]
    assert (store / shard.name).read() == sound
    assert tiering.verify(f"{s3}/store", source=few_photos).ok
    assert not any(name.startswith(".tiering") for name in store.names())


def test_what_is_there_is_never_replaced(few_photos, s3):
    tiering.convert(few_photos, f"{s3}/store", "lmdb")
    with pytest.raises(UsageError, match="already exists"):
        tiering.convert(few_photos, f"{s3}/store", "lmdb", overwrite=True)
    (Location.of(s3) / "mine" / "thesis.txt").write(b"years of work")
    with pytest.raises(UsageError, match="already exists"):
        tiering.convert(few_photos, f"{s3}/mine", "lmdb")


def test_a_store_that_appears_in_a_bucket_meanwhile_is_kept(few_photos, s3):
    theirs = b"somebody else's manifest"

    def appear(samples, of, size):
        if samples == of:
            (Location.of(f"{s3}/store") / "manifest.json").write(theirs)

    with pytest.raises(UsageError, match="another converter has finished"):
        tiering.convert(few_photos, f"{s3}/store", "lmdb", progress=appear)
    assert (Location.of(f"{s3}/store") / "manifest.json").read() == theirs


def test_an_append_replaces_only_the_manifest_that_it_read(few_photos, half, s3):
    tiering.convert(half, f"{s3}/store", "lmdb")
    manifest = Location.of(f"{s3}/store") / "manifest.json"
    theirs = manifest.read() + b"\n"

    def change(samples, of, size):
        if samples == of:
            manifest.write(theirs)

    with pytest.raises(StoreError, match="somebody else wrote"):
        tiering.append(few_photos, f"{s3}/store", progress=change)
    assert manifest.read() == theirs
    assert tiering.append(few_photos, f"{s3}/store").generation == 2
    assert tiering.verify(f"{s3}/store", source=few_photos).ok


def test_a_finished_conversion_that_kept_its_notes_in_a_bucket_is_cleaned_by_the_next_run(few_photos, s3):
    store, notes = Location.of(f"{s3}/store"), {}

    def note(samples, of, size):
        if samples == of:
            notes.update({name: (store / name).read() for name in store.names() if name.startswith(".tiering")})

    manifest = tiering.convert(few_photos, f"{s3}/store", "zarr", progress=note)
    assert len(notes) > 3
    for name, content in notes.items():
        if not name.endswith("lock"):
            (store / name).write(content)
    assert tiering.convert(few_photos, f"{s3}/store", "zarr") == manifest
    assert not any(name.startswith(".tiering") for name in store.names())


def test_the_second_converter_into_a_bucket_is_told_of_the_first(few_photos, s3):
    said = []

    def second(samples, of, size):
        if not said:
            with pytest.raises(UsageError) as raised:
                tiering.convert(few_photos, f"{s3}/store", "lmdb", shards=tiering.Shards(20_000))
            said.append(str(raised.value))

    tiering.convert(few_photos, f"{s3}/store", "lmdb", shards=tiering.Shards(20_000), workers=1, progress=second)
    assert f"process {os.getpid()} on " in said[0]


@pytest.mark.parametrize("verb", [["verify"], ["info"], ["export"], ["convert", "--to", "lmdb"]])
def test_a_server_that_is_down_is_one_clear_line(few_photos, s3, tmp_path, verb):
    url = f"{s3}/store"
    words = {"export": [url, tmp_path / "out"], "convert": [few_photos, url]}.get(verb[0], [url])
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    done = warm.run(verb[0], *words, *verb[1:], env=environment)
    assert done.returncode == 4, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "AWS_ENDPOINT_URL" in done.stderr
