"""Thousands of shards, and few descriptors: every sample is right, and none of them takes a descriptor for ever."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

import tiering
from tiering.storage.location import Location
from tiering.store import lmdb, zarr
from tiering.store import mapped_files as mapped
from tiering.store.columns import file_crc, lay_end_to_end
from tiering.store.index import index_documents, index_writer
from tiering.store.layout import MANIFEST, shard_name
from tiering.store.manifest import Manifest, Settings, Shard, SourceRecord, encode_manifest
from tiering.system.machine import raise_descriptor_limit

ROOT = Path(__file__).parent.parent.parent
LIMIT = 256
EACH = 3
SETTINGS = {
    "lmdb": Settings(shard_bytes=4096),
    "zarr": Settings(shard_bytes=4096, chunk_bytes=1024),
    "zarr-zstd": Settings(shard_bytes=4096, chunk_bytes=1024, codec="zstd"),
}


def image(number):
    return np.random.default_rng(number).bytes(700 + number % 50)


def many(place, kind, shards):
    """Make a store of a given number of shards, of three samples each, without the images that convert would look at."""
    settings, store = SETTINGS[kind], Location.of(place)
    base = kind.partition("-")[0]
    with index_writer(store / "index", None) as columns:
        made = []
        for number in range(shards):
            images = [image(EACH * number + nth) for nth in range(EACH)]
            path = place / shard_name(base, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            if base == "lmdb":
                offset = lmdb.write_shard(path, images, capacity=1 << 20)
            else:
                shard = io.BytesIO()
                offset = zarr.write_shard(shard, images, settings, number)
                path.write_bytes(shard.getvalue())
            key, key_end = lay_end_to_end([b"%06d.jpg" % (EACH * number + nth) for nth in range(EACH)])
            sizes = np.array([len(each) for each in images])
            crcs = np.array([google_crc32c.value(each) for each in images], dtype=np.uint32)
            label, split = np.full(EACH, number % 5), np.full(EACH, -1)
            columns.append({"label": label, "split": split, "size": sizes, "crc32c": crcs, "offset": offset, "key": key, "key_end": key_end})  # fmt: skip
            name = str(path.relative_to(place))
            made.append(Shard(name=name, samples=EACH, bytes=path.stat().st_size, crc32c=file_crc(path)))
    documents = index_documents("index", columns.counts)
    for name, content in documents.items():
        (place / name).write_bytes(content)
    manifest = Manifest(
        kind=base, samples=EACH * shards, image_bytes=sum(700 + n % 50 for n in range(EACH * shards)), layout="class folders",
        labels=list("abcde"), settings=settings, source=SourceRecord(url="/photos", fingerprint="0"), shards=made,
        columns=columns.crcs, documents={name: google_crc32c.value(content) for name, content in documents.items()},
    )  # fmt: skip
    (place / MANIFEST).write_bytes(encode_manifest(manifest))
    return place


def epoch(place):
    """Serve a shuffled epoch to a consumer that holds the last ten batches; say what it saw."""
    store = tiering.open_store(place)
    held, seen, wrong, most = [], [], 0, 0
    for number, batch in enumerate(tiering.Loader(store, 256, seed=1)):
        held = [*held[-9:], batch]
        seen += batch.indices.tolist()
        wrong += sum(bytes(each) != image(i) for i, each in zip(batch.indices.tolist(), batch.images, strict=True))
        if number % 8 == 0:
            most = max(most, len(os.listdir("/proc/self/fd")))
    wrong += sum(
        bytes(each) != image(i) for batch in held for i, each in zip(batch.indices.tolist(), batch.images, strict=True)
    )
    return {"samples": len(store), "once": sorted(seen) == list(range(len(store))), "wrong": wrong, "descriptors": most}


SIZES = [600, *(pytest.param(shards, marks=pytest.mark.slow) for shards in (1_500, 10_000))]


@pytest.mark.parametrize("shards", SIZES)
@pytest.mark.parametrize("kind", SETTINGS)
def test_an_epoch_over_many_shards_at_a_limit_of_256_descriptors(tmp_path, kind, shards):
    place = many(tmp_path / "store", kind, shards)
    script = f"import json; from tests.store.test_many_shards import epoch; print(json.dumps(epoch({str(place)!r})))"
    done = subprocess.run(
        ["sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh", sys.executable, "-c", script],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    print(said)
    assert (said["samples"], said["once"], said["wrong"]) == (EACH * shards, True, 0)
    assert said["descriptors"] < 64


@pytest.mark.parametrize("kind", SETTINGS)
def test_shards_are_mapped_again_and_announced_in_pieces_where_few_are_kept(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(mapped, "KEPT", 7)
    store = tiering.open_store(many(tmp_path / "store", kind, 60))
    everything = np.random.default_rng(0).permutation(len(store))
    for _ in range(3):
        store._files._look_at = float("inf")  # as if the page cache lacked them
        store.announce(everything)
        assert [bytes(each) for each in store.read(everything)] == [image(i) for i in everything.tolist()]
        assert len(store._files._table.mapped) <= 7


def lowered(soft):
    """Allow at most this many descriptors until the test ends, though the hard limit allows more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_process_that_used_up_its_soft_limit_reads_on(tmp_path, request):
    place = many(tmp_path / "store", "zarr", 5)
    request.addfinalizer(lowered(len(os.listdir("/proc/self/fd")) + 20))
    store = tiering.open_store(place)
    taken = []
    request.addfinalizer(lambda: [os.close(each) for each in taken])
    with pytest.raises(OSError, match="Too many open files"):
        taken.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(LIMIT))
    assert bytes(store[0].image) == image(0)
    assert not raise_descriptor_limit()  # it was


def test_a_hint_never_fails(tmp_path):
    place = many(tmp_path / "store", "zarr", 5)
    script = (
        "import os, resource, sys, numpy as np, tiering\n"
        "store = tiering.open_store(sys.argv[1])\n"
        "store.announce(np.arange(1))\n"
        "store.close()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))\n"
        "store.announce(np.arange(len(store)))\n"
        "try:\n"
        "    store[0]\n"
        "except tiering.errors.MachineError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, place], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "too many open files. Raise the limit on open files (ulimit -n)" in done.stdout
