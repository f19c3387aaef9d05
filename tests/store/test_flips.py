"""Bits that flip on their way from a bucket: what is read is right, or is told of, whoever reads it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import s3fs

import tiering
from tests.s3 import FaultyProxy, s3_environment
from tests.store.test_generation import contents, draw
from tiering.errors import StoreError, TieringError
from tiering.storage.attempts import TIMES
from tiering.storage.location import Location
from tiering.testing import tree

KINDS = {
    "lmdb": {"to": "lmdb"},
    "zarr": {"to": "zarr", "codec": "none"},
    "zarr-zstd": {"to": "zarr", "codec": "zstd"},
    "pixels": {"to": "zarr", "codec": "none", "pixels": tiering.Pixels(12, 12)},
    "pixels-zstd": {"to": "zarr", "codec": "zstd", "pixels": tiering.Pixels(12, 12)},
}

#: The bar is one answer in twenty; with one in five a store this small meets enough of them.
SHARES = [pytest.param(0.05, marks=pytest.mark.slow), 0.2]
ROUNDS = {0.05: 8, 0.2: 1}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("flips") / "photos", range(60), 1)


@pytest.fixture(
    scope="module",
    params=[
        "lmdb",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("zarr", "pixels", "pixels-zstd", "zarr-zstd")),
    ],
)
def here(request, source, tmp_path_factory):
    """A local store in some shards; never written to."""
    store = tmp_path_factory.mktemp("flips") / request.param
    tiering.convert(source, store, shards=tiering.Shards(12 * 500), workers=1, **KINDS[request.param])
    return store


@pytest.fixture
def there(here, s3):
    s3fs.S3FileSystem(use_listings_cache=False).put(str(here), f"{s3}/store", recursive=True)
    return f"{s3}/store"


def flipping(s3_endpoint, share):
    proxy = FaultyProxy(s3_endpoint, 0.0, seed=round(1000 * share))
    proxy.flipped = share
    return proxy


def until_done(run):
    """Run until it is no named error: what no CRC-32C guards, such as the answer to a lock, may end a run."""
    for _ in range(20):
        try:
            return run()
        except TieringError:
            continue
    raise AssertionError


@pytest.mark.parametrize("share", SHARES)
def test_samples_index_and_manifest_come_right(here, there, s3_endpoint, share):
    local = tiering.open_store(here)
    right, keys = contents(local), local.index.keys(np.arange(60))
    with flipping(s3_endpoint, share) as proxy, s3_environment(proxy.endpoint):
        for seed in range(ROUNDS[share]):
            store = tiering.open_store(there)
            assert store.manifest == local.manifest
            assert store.index.keys(np.arange(60)) == keys
            assert np.array_equal(store.index.label, local.index.label)
            at = np.random.default_rng(seed).permutation(60)
            assert [bytes(image) for image in store.read(at)] == [right[i] for i in at]
            assert bytes(store[seed].image) == right[seed]
            served = [
                (i, bytes(image))
                for b in tiering.Loader(store, 8)
                for i, image in zip(b.indices, b.images, strict=True)
            ]
            assert sorted(served) == list(enumerate(right))
            store.close()
    assert proxy.failures > 4


@pytest.mark.parametrize("share", SHARES)
def test_a_cache_serves_what_was_packed(here, there, tmp_path, s3_endpoint, share):
    right = contents(tiering.open_store(here))
    with flipping(s3_endpoint, share) as proxy, s3_environment(proxy.endpoint):
        for seed in range(ROUNDS[share]):
            store = tiering.cached(there, "16MB", tmp_path / f"{seed}")
            assert contents(store) == right
            store.close()
    assert proxy.failures > 1


@pytest.mark.parametrize("share", SHARES)
def test_verify_finds_no_damage_that_is_not_there(there, s3_endpoint, share):
    with flipping(s3_endpoint, share) as proxy, s3_environment(proxy.endpoint):
        for _ in range(ROUNDS[share]):
            assert tiering.verify(there).problems == []
    assert proxy.failures > 1


@pytest.mark.parametrize("share", SHARES)
def test_export_writes_what_was_packed(here, there, tmp_path, s3_endpoint, share):
    def run():
        shutil.rmtree(tmp_path / "there", ignore_errors=True)
        return tiering.export(there, tmp_path / "there")

    tiering.export(here, tmp_path / "here")
    with flipping(s3_endpoint, share) as proxy, s3_environment(proxy.endpoint):
        for _ in range(ROUNDS[share]):
            assert run() == 60
            assert tree(tmp_path / "there") == tree(tmp_path / "here")
    assert proxy.failures > 1


@pytest.mark.slow
def test_append_takes_over_the_index_as_it_was(here, there, source, tmp_path, s3_endpoint, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")  # the log of both has the same time
    more = shutil.copytree(source, tmp_path / "more")
    draw(tmp_path / "others", range(60, 72), 1)
    shutil.copytree(tmp_path / "others", more, dirs_exist_ok=True)
    local = shutil.copytree(here, tmp_path / "local")
    expected = tiering.append(more, local, workers=1)
    with flipping(s3_endpoint, 0.2) as proxy, s3_environment(proxy.endpoint):
        assert until_done(lambda: tiering.append(more, there, workers=1)) == expected
    assert proxy.failures > 1
    assert tiering.verify(there, source=more).ok


def test_a_sample_that_is_damaged_in_the_bucket_is_named_with_its_shard(here, there):
    local = tiering.open_store(here)
    right = contents(local)
    shard = local.manifest.shards[1]
    place = Location.of(there) / shard.name
    store = tiering.open_store(there)
    first = local.manifest.shards[0].samples
    data = bytearray(place.read())
    for byte in range(len(data) // 2 - 500, len(data) // 2 + 500, 25):
        data[byte] ^= 1
    place.write(bytes(data))
    named, wrong = [], 0
    for at in range(first, first + shard.samples):
        try:
            wrong += bytes(store[at].image) != right[at]
        except StoreError as error:
            named.append(str(error))
    assert wrong == 0
    assert named
    assert all(shard.name in said and "tiering verify" in said for said in named)
    assert any(f"{TIMES} times" in said or "to decode" in said for said in named)


def test_a_store_that_was_replaced_in_its_bucket_says_so(here, there, source, tmp_path):
    store = tiering.open_store(there)
    other = draw(tmp_path / "photos", range(60), 2)
    kind = KINDS[here.name]
    tiering.convert(other, tmp_path / "other", shards=tiering.Shards(12 * 500), workers=1, **kind)
    s3fs.S3FileSystem(use_listings_cache=False).put(str(tmp_path / "other") + "/", there, recursive=True)
    with pytest.raises(StoreError, match="It was replaced or removed while it was open"):
        contents(store)
