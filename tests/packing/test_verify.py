"""Verify finds every damage, and a repair mends just that."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest

import tiering
from tests.trees import picture, put
from tiering.errors import DatasetError, StoreError
from tiering.testing import tree

KINDS = ["lmdb", "zarr"]


@pytest.fixture(
    scope="module", params=["lmdb", "zarr", pytest.param("zarr-zstd", marks=pytest.mark.slow), "zarr-pixels"]
)
def sound(request, photos, tmp_path_factory):
    """A store of each kind; never written to."""
    kind, _, extra = request.param.partition("-")
    options = {"pixels": tiering.Pixels(16, 24)} if extra == "pixels" else {"codec": extra or "none"}
    place = tmp_path_factory.mktemp("sound") / "store"
    tiering.convert(photos, place, kind, shards=tiering.Shards(100_000), **options)
    return place


@pytest.fixture
def store(sound, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(sound, tmp_path / "store")


def flip(path, at, bit):
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)
        file.seek(at)
        file.write(bytes([old[0] ^ (1 << bit)]))


@pytest.mark.parametrize("flips", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_found_wherever_it_is(store, flips):
    files = [path for path in sorted(store.rglob("*")) if path.is_file()]
    dice = random.Random(5)
    for _ in range(flips):
        # By file first: the small ones would hardly be met by the byte.
        path = dice.choice(files)
        at, bit = dice.randrange(path.stat().st_size), dice.randrange(8)
        flip(path, at, bit)
        try:
            ok = tiering.verify(store).ok
        except StoreError:
            ok = False
        # White space in a manifest may change into other white space; whatever it says stays the same.
        assert not ok or _parses_alike(path, at, bit), f"{path.name} byte {at} bit {bit}"
        flip(path, at, bit)
    assert tiering.verify(store).ok


@pytest.mark.parametrize("column", ["size", "offset"])
@pytest.mark.parametrize("value", [-1, 1 << 40, 10**6])
def test_an_index_that_leads_astray_is_a_named_error_for_readers_too(store, column, value):
    path = store / "index" / column / "c" / "0"
    numbers = np.fromfile(path, dtype="<i8")
    numbers[5] = value
    numbers.tofile(path)
    with pytest.raises(StoreError, match="within the first"):
        tiering.open_store(store).read(np.arange(300))
    tiering.open_store(store).announce(np.arange(300))
    assert not tiering.verify(store).ok


def _parses_alike(path, at, bit):
    if path.name != "manifest.json":
        return False
    damaged = json.loads(path.read_text())
    flip(path, at, bit)
    sound = json.loads(path.read_text())
    flip(path, at, bit)
    return damaged == sound


def test_missing_cut_and_foreign_files_are_found_quickly_too(store):
    manifest = tiering.open_store(store).manifest
    shards = [store / shard.name for shard in manifest.shards]
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    shutil.copy(shards[2], store / "shard-99999.mdb")
    for quick in (True, False):
        found = tiering.verify(store, quick=quick)
        assert found.damaged == [manifest.shards[0].name, manifest.shards[1].name]
        assert any(f"{manifest.shards[0].name}: missing" in problem for problem in found.problems)
        assert any("shard-99999.mdb: not part of the store" in problem for problem in found.problems)


def test_quick_reads_no_sample_and_says_so(program, store):
    shard = store / tiering.open_store(store).manifest.shards[0].name
    flip(shard, shard.stat().st_size // 3, 0)
    done = program("verify", store, "--quick")
    assert done.returncode == 0
    assert "no sample read" in done.stdout
    assert program("verify", store).returncode == 1


def test_repair_mends_the_damaged_shards_and_touches_no_other(program, photos, store):
    before = tree(store)
    manifest = tiering.open_store(store).manifest
    shards = [store / shard.name for shard in manifest.shards]
    shards[0].unlink()
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    flip(shards[2], shards[2].stat().st_size // 3, 3)
    times = {path: path.stat().st_mtime_ns for path in shards[3:]}
    said = program("verify", store, "--source", photos)
    assert said.returncode == 1
    assert f"tiering repair {store} --source {photos}" in said.stdout
    done = program("repair", store, "--source", photos)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert tree(store) == before
    assert times == {path: path.stat().st_mtime_ns for path in shards[3:]}
    assert "no shard is missing or damaged" in program("repair", store, "--source", photos).stdout


@pytest.mark.parametrize("kind", KINDS)
def test_repair_mends_a_shard_that_a_bad_image_was_left_out_of(tmp_path, kind):
    for number in range(3):
        put(tmp_path / "data", f"a/{number}.png", picture(20 + number, 20, "PNG"))
    put(tmp_path / "data", "a/junk.jpg", b"junk" * 75_000)
    store = tmp_path / "store"
    (shard,) = tiering.convert(tmp_path / "data", store, kind, on_error="skip", workers=1).shards
    before = tree(store)
    flip(store / shard.name, shard.bytes // 2, 1)
    assert tiering.repair(store, source=tmp_path / "data", workers=1) == [shard.name]
    assert tree(store) == before


def test_a_repair_from_a_source_that_changed_puts_nothing_in_place(some_photos, tmp_path):
    tiering.convert(some_photos, tmp_path / "store", "lmdb")
    (shard,) = tiering.open_store(tmp_path / "store").manifest.shards
    flip(tmp_path / "store" / shard.name, shard.bytes // 2, 1)
    before = tree(tmp_path / "store")
    files = sorted(some_photos.rglob("*.jpg"))
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(StoreError, match="has changed since"):
        tiering.repair(tmp_path / "store", source=some_photos)
    files[0].unlink()
    with pytest.raises(DatasetError, match="missing"):
        tiering.repair(tmp_path / "store", source=some_photos)
    assert tree(tmp_path / "store") == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_changed_is_found_sample_by_sample(some_photos, tmp_path, kind):
    tiering.convert(some_photos, tmp_path / "store", kind)
    victims = sorted(some_photos.rglob("*.jpg"))
    victims[0].unlink()
    victims[1].write_bytes(victims[2].read_bytes())
    (some_photos / "extra.jpg").write_bytes(victims[2].read_bytes())
    found = tiering.verify(tmp_path / "store", source=some_photos)
    assert found.problem_count == 3
    assert any("extra.jpg: in the source but not in the store" in problem for problem in found.problems)
    assert any("not in the source" in problem for problem in found.problems)
    assert any("differs from the source" in problem for problem in found.problems)
    assert tiering.verify(tmp_path / "store").ok


def test_a_label_that_changed_in_the_source_is_found(photos, tmp_path):
    source = tmp_path / "photos"
    shutil.copytree(photos, source)
    table = source / "labels.csv"
    names = [str(path.relative_to(source)) for path in sorted(source.rglob("*.jpg"))[:5]]
    table.write_text("path,label\n" + "".join(f"{name},cat\n" for name in names))
    tiering.convert(table, tmp_path / "store", "lmdb")
    assert tiering.verify(tmp_path / "store", source=table).ok
    table.write_text(table.read_text().replace("cat", "dog", 1))
    found = tiering.verify(tmp_path / "store", source=table)
    assert [problem.split(": ")[-1] for problem in found.problems] == ["another label than in the source"]


def test_verify_of_a_folder_says_what_to_do(photos):
    with pytest.raises(StoreError, match="tiering convert"):
        tiering.verify(photos)
