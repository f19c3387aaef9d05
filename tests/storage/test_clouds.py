"""gs:// and az:// as s3://: packed from and into, read where they lie, cached, appended to, measured."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import tiering
from tests.clouds import GenerationsProxy
from tests.s3 import BUCKET
from tiering.errors import InputError, UsageError
from tiering.probing.probe import probe
from tiering.storage.location import Location
from tiering.storage.lock import locked
from tiering.testing import assert_holds_exactly, tree


def upload(tree, url):
    for at, _, names in os.walk(tree):
        for name in names:
            path = Path(at, name)
            (Location.of(url) / os.path.relpath(path, tree)).write(path.read_bytes())


@pytest.mark.parametrize("kind", ["lmdb", pytest.param("zarr", marks=pytest.mark.slow)])
def test_a_dataset_is_packed_from_and_into_a_bucket_and_is_the_same(few_photos, cloud, tmp_path, kind):
    upload(few_photos, f"{cloud}/photos")
    here = tiering.convert(few_photos, tmp_path / "here", kind, shards=tiering.Shards(150_000))
    there = tiering.convert(f"{cloud}/photos", f"{cloud}/store", kind, shards=tiering.Shards(150_000), workers=1)
    assert (there.shards, there.columns, there.labels) == (here.shards, here.columns, here.labels)
    assert_holds_exactly(tiering.open_store(f"{cloud}/store"), few_photos)
    assert tiering.verify(f"{cloud}/store", source=f"{cloud}/photos").ok
    with pytest.raises(UsageError, match="already exists"):
        tiering.convert(few_photos, f"{cloud}/store", kind)


@pytest.mark.slow
def test_a_store_is_appended_to_mended_cached_profiled_and_exported(some_photos, cloud, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(min(some_photos.iterdir()), half / min(os.listdir(some_photos)))
    tiering.convert(half, f"{cloud}/store", "lmdb", shards=tiering.Shards(150_000), workers=1)
    assert tiering.append(some_photos, f"{cloud}/store", workers=1).generation == 2
    store = Location.of(f"{cloud}/store")
    (store / "shard-00000.mdb").remove()
    assert tiering.repair(f"{cloud}/store", source=some_photos, workers=1) == ["shard-00000.mdb"]
    cached = tiering.cached(f"{cloud}/store", "64MB", tmp_path / "cache")
    assert sum(len(batch.images) for batch in tiering.Loader(cached, 16)) == len(cached)
    cached.close()
    tiering.export(f"{cloud}/store", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(some_photos)
    upload(half, f"{cloud}/photos")
    assert tiering.profile_dataset(f"{cloud}/photos").files == len(list(half.rglob("*.*")))
    assert not any(name.startswith(".tiering") for name in store.names())


def test_a_bucket_is_measured(cloud):
    assert probe(cloud, seconds=0.2, size=8 << 20).tier.read_points
    assert Location.of(cloud).names() == []


@pytest.mark.slow
def test_a_bucket_whose_connections_break_now_and_then_is_measured(s3_endpoint, monkeypatch):
    with GenerationsProxy(s3_endpoint, 0.0) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.endpoint)

        def lose_three(step):
            proxy.lost += 3 * (step == "writing")

        place = f"gs://{BUCKET}/breaking"
        assert probe(place, seconds=0.2, size=8 << 20, progress=lose_three).tier.write_bandwidth
        assert proxy.lost == 0
        assert Location.of(place).names() == []


def test_a_lock_has_one_holder(cloud):
    with (
        locked(Location.of(cloud)),
        pytest.raises(UsageError, match="one converter at a time"),
        locked(Location.of(cloud)),
    ):
        pass


@pytest.mark.parametrize("what", ["bucket", "key"])
def test_what_is_not_there_is_named(cloud, what):
    url = f"{cloud}/nothing" if what == "key" else f"{cloud.partition(':')[0]}://no-such-bucket/x"
    with pytest.raises(InputError, match="no manifest.json" if what == "key" else "no bucket of that name"):
        tiering.open_store(url)
