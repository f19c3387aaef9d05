"""LMDB 0.9 and 1.0 write files that the other cannot read: stores are of 0.9, and say so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import google_crc32c
import lmdb
import numpy as np
import pytest

import tiering
from tests.conftest import FIXTURES
from tests.store.test_manifest import rewrite
from tiering.errors import StoreError
from tiering.store.lmdb_format import format_of


@pytest.fixture(scope="module")
def packed(photos, tmp_path_factory):
    store = tmp_path_factory.mktemp("lmdb") / "store"
    tiering.convert(photos / "china-0", store, "lmdb", shards=tiering.Shards(100_000), workers=1)
    return store


@pytest.fixture
def store(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "store")


def as_lmdb_1(path):
    """Copy a shard's values into a file of LMDB 1.0's format."""
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as old, old.begin() as txn:
        values = list(txn.cursor())
    path.unlink()
    with (
        lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 28, lib_version=1) as new,
        new.begin(write=True) as txn,
    ):
        for key, value in values:
            txn.put(key, value, append=True)


def test_a_store_is_of_lmdb_0_9_and_its_manifest_says_so(store):
    assert json.loads((store / "manifest.json").read_text())["lmdb_format"] == "0.9"
    shards = sorted(store.glob("*.mdb"))
    assert {format_of(path) for path in shards} == {"0.9"}
    with lmdb.open(str(shards[0]), subdir=False, readonly=True, lock=False, lib_version=0) as env:
        assert env.lib_version()[:2] == (0, 9)


def test_the_environment_does_not_choose_the_format(photos, tmp_path):
    code = "import sys, tiering; tiering.convert(sys.argv[1], sys.argv[2], 'lmdb', workers=1)"
    environment = os.environ | {"LMDB_DEFAULT_LIB_VERSION": "1"}
    subprocess.run([sys.executable, "-c", code, photos / "china-0", tmp_path / "store"], check=True, env=environment)
    assert {format_of(path) for path in (tmp_path / "store").glob("*.mdb")} == {"0.9"}
    assert tiering.verify(tmp_path / "store").ok


def test_a_manifest_that_names_another_format_is_refused_by_name(store):
    rewrite(store, lambda content: content.update(lmdb_format="1.0"))
    with pytest.raises(StoreError, match=r"expected the file format of LMDB 0\.9, found that of LMDB 1\.0"):
        tiering.open_store(store)


def test_a_shard_of_another_format_is_refused_by_name(store):
    shard = max(store.glob("*.mdb"))
    as_lmdb_1(shard)
    assert format_of(shard) == "1.0"
    size = shard.stat().st_size
    rewrite(store, lambda content: content["shards"][-1].update(bytes=size))
    with pytest.raises(StoreError, match=rf"{shard.name}: expected the file format of LMDB 0\.9, found .* 1\.0"):
        tiering.open_store(store)
    found = tiering.verify(store)
    assert found.damaged == [shard.name]


def test_verify_names_the_format_of_a_shard_that_is_otherwise_as_written(store):
    shard = min(store.glob("*.mdb"))
    as_lmdb_1(shard)
    data = shard.read_bytes()
    crc = google_crc32c.value(data)
    rewrite(store, lambda content: content["shards"][0].update(bytes=len(data), crc32c=crc))
    problems = tiering.verify(store).problems
    assert f"{shard.name}: of the format of LMDB 1.0, where that of LMDB 0.9 is expected" in problems


def test_a_file_of_the_releases_before_1_0_and_of_no_release_is_named(store, tmp_path):
    head = bytearray(min(store.glob("*.mdb")).read_bytes()[:64])
    at = bytes(head).index(np.uint32(0xBEEFC0DE).tobytes()) + 4
    for version, said in ((2, "1.0 before its release"), (999, "an unknown version (data version 999)")):
        head[at : at + 4] = np.uint32(version).tobytes()
        (tmp_path / "file").write_bytes(head)
        assert format_of(tmp_path / "file") == said
    (tmp_path / "file").write_bytes(b"no LMDB file")
    assert format_of(tmp_path / "file") is None


def test_a_store_from_before_the_manifest_named_it_is_of_0_9(tmp_path):
    shutil.copytree(FIXTURES / "v0.1.0" / "lmdb", tmp_path / "old")
    assert tiering.open_store(tmp_path / "old").manifest.lmdb_format is None
    assert tiering.verify(tmp_path / "old").ok
