"""LMDB pages that lie, under right CRC-32Cs: verify lives, names the shard, and goes on with the next one."""

from __future__ import annotations

import shutil

import pytest

import tiering
from tests.attack.cases import sign
from tiering.store.lmdb import key_of


@pytest.fixture
def store(photos, tmp_path):
    some = tmp_path / "photos" / "china"
    some.mkdir(parents=True)
    for image in sorted(photos.rglob("*.jpg"))[:30]:
        shutil.copy(image, some)
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", shards=tiering.Shards(60_000), workers=1)
    return tmp_path / "store"


def lie(shard, sample, page):
    """Let the node of a sample lead to another overflow page, and both meta pages say that there are so many."""
    data = bytearray(shard.read_bytes())
    for meta in (0, 4096):
        data[meta + 136 : meta + 144] = (page + 1).to_bytes(8, "little")  # mm_last_pg
    node = bytes([1, 0, 8, 0]) + key_of(sample)  # F_BIGDATA, and the length of the key
    at = data.rindex(node) + len(node)
    data[at : at + 8] = page.to_bytes(8, "little")
    shard.write_bytes(data)


def test_pages_that_lead_out_of_the_file_are_the_shards_fault_and_nobodys_death(program, store):
    shards = sorted(store.glob("*.mdb"))
    assert len(shards) > 2
    lie(shards[0], 0, 5_000)
    lie(shards[1], 1, 9_000)
    sign(store)
    done = program("verify", store)
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    found = tiering.verify(store)
    assert found.damaged == [shards[0].name, shards[1].name]
    assert found.problem_count == 2
    for shard, problem in zip(shards, found.problems, strict=False):
        assert problem.startswith(f"{shard.name}: its LMDB pages are damaged: LMDB died of SIG")


def test_pages_further_away_than_there_is_memory_are_a_fault_too(store):
    lie(min(store.glob("*.mdb")), 0, 1 << 40)
    sign(store)
    assert tiering.verify(store).damaged == [min(store.glob("*.mdb")).name]


def test_a_value_longer_than_the_file_is_a_fault_of_the_shard_too(store):
    shard = min(store.glob("*.mdb"))
    data = bytearray(shard.read_bytes())
    at = data.rindex(bytes([1, 0, 8, 0]) + key_of(0)) - 4
    data[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    shard.write_bytes(data)
    sign(store)
    found = tiering.verify(store)
    assert found.damaged == [shard.name]
    assert found.problem_count == 1
