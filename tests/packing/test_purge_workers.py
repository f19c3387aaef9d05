"""A purge packs shards in several processes. Killed or interrupted, the same purge goes on; any other change undoes it."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

import tiering
from tests.packing.changed import WAYS, everything, first_classes, keys, pack
from tiering.errors import UsageError
from tiering.storage.location import Location
from tiering.testing import tree


@pytest.fixture(autouse=True)
def _one_time(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")


@pytest.fixture(params=["lmdb", *(pytest.param(way, marks=pytest.mark.slow) for way in ("zarr", "zstd", "pixels"))])
def made(request, photos, tmp_path):
    kind, how = WAYS[request.param]
    source = first_classes(photos, tmp_path, 2)
    for path in sorted(source.rglob("*.jpg"))[::3]:
        path.with_suffix(".txt").write_text(f"a caption of {path.name}")
    return source, pack(source, kind, **how)


@pytest.fixture
def store(photos, tmp_path):
    return pack(first_classes(photos, tmp_path, 2), "lmdb")


def one_of_each_shard(place):
    with tiering.open_store(place) as opened:
        ends = np.cumsum([shard.samples for shard in opened.manifest.shards])
        assert len(ends) >= 3
        return [key.decode() for key in opened.index.keys(ends - 1)]


def interrupted(place, gone, after=1, **how):
    """Begin a purge, and interrupt it after some shards."""
    calls = 0

    def stop(done, *_):
        nonlocal calls
        calls += bool(done)
        if calls == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiering.remove(place, gone, purge=True, workers=1, progress=stop, **how)


def test_several_processes_make_the_same_store_as_one(made, tmp_path):
    _, place = made
    gone = one_of_each_shard(place)
    copy = shutil.copytree(place, tmp_path / "copy")
    alone = tiering.remove(copy, gone, purge=True, workers=1)
    found = tiering.remove(place, gone, purge=True, workers=2)
    assert (found.rewritten, found.purged) == (alone.rewritten, len(gone))
    assert tree(place) == tree(copy)
    assert tiering.verify(place).problems == []


def test_an_interrupted_purge_goes_on_with_its_finished_shards(made, tmp_path):
    source, place = made
    gone = one_of_each_shard(place)
    copy = shutil.copytree(place, tmp_path / "copy")
    whole, files = everything(tiering.open_store(place)), tree(place)
    tiering.remove(copy, gone, purge=True, workers=1)
    interrupted(place, gone)
    # Readers see the generation before, and a check says what goes on.
    assert everything(tiering.open_store(place)) == whole
    assert {name: tree(place)[name] for name in files} == files
    found = tiering.verify(place, source=source)
    assert found.problems == []
    assert "(purge) is running or was killed" in found.unfinished
    done = {name: os.stat(place / name).st_ino for name in set(Location.of(place).names()) if ".tiering" not in name}
    steps = []
    tiering.remove(place, gone, purge=True, workers=1, progress=lambda done, total, _: steps.append((done, total)))
    assert 0 < steps[0][0] < steps[0][1] == steps[-1][0]
    assert tree(place) == tree(copy)
    kept = {name for name, inode in done.items() if (place / name).exists() and os.stat(place / name).st_ino == inode}
    assert {name for name in kept if name not in map(os.fsdecode, files)} != set()


@pytest.mark.parametrize("other", ["remove", "purge", "relabel", "append", "purge of nothing"])
def test_any_other_change_undoes_an_interrupted_purge(store, photos, tmp_path, other):
    gone = one_of_each_shard(store)
    expected = shutil.copytree(store, tmp_path / "expected")
    interrupted(store, gone)
    (tmp_path / "t.csv").write_text(f"path,label\n{gone[0]},bird\n")

    def change(place):
        if other == "append":
            name = sorted(os.listdir(photos))[2]
            shutil.copytree(photos / name, tmp_path / "photos" / name, dirs_exist_ok=True)
            tiering.append(tmp_path / "photos", place, workers=1)
        elif other == "relabel":
            tiering.relabel(place, tmp_path / "t.csv")
        elif other == "purge of nothing":
            tiering.remove(place, purge=True)
        else:
            tiering.remove(place, gone[1:2], purge=other == "purge")

    for place in (store, expected):
        change(place)
    assert tree(store) == tree(expected)
    assert tiering.verify(store).problems == []


def test_a_purge_that_is_refused_undoes_an_interrupted_one_too(store, tmp_path):
    gone = one_of_each_shard(store)
    files = tree(store)
    interrupted(store, gone)
    with pytest.raises(UsageError, match="keys of all samples"):
        tiering.remove(store, keys(tiering.open_store(store)), purge=True)
    assert tree(store) == files


@pytest.mark.parametrize("what", ["shard", "receipt", "temporary file"])
def test_what_a_kill_left_half_done_is_packed_again(store, tmp_path, what):
    gone = one_of_each_shard(store)
    copy = shutil.copytree(store, tmp_path / "copy")
    tiering.remove(copy, gone, purge=True, workers=1)
    files = tree(store)
    interrupted(store, gone, after=2)
    new = sorted(name for name in tree(store) if name not in files and not name.startswith(b".tiering"))
    if what == "shard":
        with (store / os.fsdecode(new[0])).open("r+b") as file:
            file.truncate(100)
    elif what == "receipt":
        receipt = min((store / ".tiering/purging").glob("*.npz"))
        receipt.write_bytes(receipt.read_bytes()[:-10])
    else:
        (store / ".tiering/purging/.shard-00099.mdb.0.tmp").write_bytes(b"half")
    tiering.remove(store, gone, purge=True, workers=1)
    assert tree(store) == tree(copy)
