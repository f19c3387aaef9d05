"""Sync: a store is brought up to its source, and everything that is old stays for those who read it."""

from __future__ import annotations

import json
import os
import pathlib
import pickle
import shutil
import signal

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

import tiering
from tests.crashes import Strikes
from tests.packing.changed import WAYS, everything, first_classes, keys, pack
from tiering.cli.app import app
from tiering.errors import DatasetError, StoreError, UsageError
from tiering.testing import assert_every_sample_once, assert_holds_exactly, tree


@pytest.fixture(params=WAYS)
def made(request, photos, tmp_path):
    """A dataset of three classes, and a store of it in small shards."""
    kind, how = WAYS[request.param]
    source = first_classes(photos, tmp_path, 3)
    return source, pack(source, kind, **how)


@pytest.fixture
def lmdb(photos, tmp_path):
    source = first_classes(photos, tmp_path, 3)
    return source, pack(source, "lmdb")


def pictures(source):
    return sorted(path for path in source.rglob("*") if path.is_file())


def change(source, photos):
    """Take out two images, change two, one of them in its place without another size or time, and add a class."""
    files = pictures(source)
    files[0].unlink()
    files[40].unlink()
    files[1].write_bytes(files[2].read_bytes())
    about = files[50].stat()
    data = bytearray(files[51].read_bytes())
    files[50].write_bytes(data[: about.st_size].ljust(about.st_size, b"\0"))
    os.utime(files[50], ns=(about.st_atime_ns, about.st_mtime_ns))
    new = sorted(os.listdir(photos))[3]
    shutil.copytree(photos / new, source / new)


def test_new_changed_and_vanished_images_are_counted_and_the_store_holds_the_source(made, photos):
    source, store = made
    reader = tiering.open_store(store)
    before, files = everything(reader), tree(store)
    change(source, photos)
    found = tiering.sync(source, store, workers=1)
    assert (found.new, found.changed, found.vanished, found.relabelled) == (30, 2, 2, 0)
    grown = tiering.open_store(store)
    assert grown.manifest == found.manifest
    assert found.manifest.generation == 2
    assert (len(grown), sum(shard.removed for shard in found.manifest.shards)) == (118, 4)
    assert tiering.verify(store, source=source).problems == []
    assert set(keys(grown)) == set(tree(source))
    assert_every_sample_once([tiering.Loader(grown, 32, seed=1)], 0, 118)
    # Nothing that was there is another file now, and who has it open reads on, in this process and in others.
    assert {name: data for name, data in tree(store).items() if name in files and b"json" not in name} == {
        name: data for name, data in files.items() if b"json" not in name
    }
    assert everything(reader) == everything(pickle.loads(pickle.dumps(reader))) == before


@pytest.mark.parametrize("made", ["lmdb", "pixels"], indirect=True)
def test_nothing_to_do_changes_nothing(made):
    source, store = made
    files = tree(store)
    for path in pictures(source):
        os.utime(path)  # another time is no other image
    found = tiering.sync(source, store, workers=1)
    assert (found.new, found.changed, found.vanished, found.relabelled) == (0, 0, 0, 0)
    assert tree(store) == files


def test_again_and_again_whatever_happens_to_the_source(photos, lmdb):
    source, store = lmdb
    change(source, photos)
    tiering.sync(source, store, workers=1)
    shutil.rmtree(source / min(os.listdir(source)))  # a whole class vanishes, and its name stays
    tiering.sync(source, store, workers=1)
    shutil.copytree(photos, source, dirs_exist_ok=True)
    tiering.sync(source, store, workers=1)
    found = tiering.verify(store, source=source)
    assert found.ok, found.problems
    assert tiering.open_store(store).manifest.generation == 4


def test_only_vanished_images_make_no_shard(lmdb):
    source, store = lmdb
    shards = tiering.open_store(store).manifest.shards
    for path in pictures(source)[:85]:
        path.unlink()
    found = tiering.sync(source, store, workers=1)
    assert (found.vanished, found.manifest.samples, len(found.manifest.shards)) == (85, 5, len(shards))
    assert_holds_exactly(tiering.open_store(store), source)
    tiering.export(store, store.with_name("again"))
    assert tree(store.with_name("again")) == tree(source)


def test_other_labels_are_told_without_packing_anything(photos, tmp_path):
    (tmp_path / "images").symlink_to(photos)
    names = [f"images/{path.relative_to(photos)}" for path in pictures(photos)[:50]]
    table = tmp_path / "list.csv"

    def write(labels):
        table.write_text("\n".join(["path,label", *map(",".join, zip(names, labels, strict=True))]))

    then, now = (
        [("cat" if number % each else other) for number in range(50)] for each, other in ((2, "dog"), (5, "ox"))
    )
    write(then)
    before = tiering.convert(table, tmp_path / "store", "lmdb", workers=1)
    write(now)
    found = tiering.sync(table, tmp_path / "store", workers=1)
    assert (found.new, found.changed, found.vanished) == (0, 0, 0)
    assert found.relabelled == sum(was != is_now for was, is_now in zip(then, now, strict=True))
    assert found.manifest.shards == before.shards
    assert tiering.verify(tmp_path / "store", source=table).ok


def test_the_source_of_another_store_is_refused(lmdb, tmp_path):
    source, store = lmdb
    files = tree(store)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(pictures(source)[0], other / "else.jpg")
    with pytest.raises(DatasetError, match="none of the 90 images"):
        tiering.sync(other, store, workers=1)
    assert tree(store) == files


def test_an_image_that_cannot_be_packed_any_more_is_named_and_mended_leaves_the_list(lmdb):
    source, store = lmdb
    victim = pictures(source)[7]
    sound = victim.read_bytes()
    victim.write_bytes(sound[:500])
    with pytest.raises(DatasetError, match=victim.name):
        tiering.sync(source, store, workers=1)
    assert tiering.open_store(store).manifest.generation == 1
    found = tiering.sync(source, store, workers=1, on_error="skip")
    assert (found.changed, found.manifest.samples, found.manifest.left_out) == (1, 89, 1)
    assert victim.name in (store / "left-out-2.tsv").read_text()
    assert tiering.verify(store, source=source).ok
    files = tree(store)
    assert tiering.sync(source, store, workers=1, on_error="skip").manifest == found.manifest
    assert tiering.append(source, store, workers=1, on_error="skip") == found.manifest
    assert tree(store) == files  # what cannot be packed is tried each time, and makes no generation of its own
    victim.write_bytes(sound)
    found = tiering.sync(source, store, workers=1)
    assert (found.new, found.manifest.samples, found.manifest.left_out) == (1, 90, 0)
    assert not list(store.glob("left-out*"))
    assert tiering.verify(store, source=source).ok


def test_a_class_behind_a_link_that_leads_nowhere_now_has_not_vanished(lmdb, tmp_path):
    """As a disk that is not mounted: nothing is taken out, unless that is asked for, and then the account names it."""
    source, store = lmdb
    name = min(os.listdir(source))
    (source / name).rename(tmp_path / "disk")
    (source / name).symlink_to(tmp_path / "disk")
    assert tiering.sync(source, store, workers=1).manifest.generation == 1
    (tmp_path / "disk").rename(tmp_path / "away")
    with pytest.raises(DatasetError, match=f"{name}: broken link"):
        tiering.sync(source, store, workers=1)
    assert len(tiering.open_store(store)) == 90
    found = tiering.sync(source, store, workers=1, on_error="skip")
    account = found.manifest.account
    assert (found.vanished, account.packed, account.left_out["broken link"].count) == (30, 60, 1)
    assert account.packed_bytes == sum(path.stat().st_size for path in pictures(source))
    (tmp_path / "away").rename(tmp_path / "disk")
    assert tiering.sync(source, store, workers=1).new == 30
    assert tiering.verify(store, source=source).ok


def test_plain_readers_find_what_the_index_names(made, photos):
    """As docs/formats.md says: by offset and size, for LMDB in the shard's file."""
    source, store = made
    change(source, photos)
    manifest = tiering.sync(source, store, workers=1).manifest
    expected = everything(tiering.open_store(store))
    group = zarr.open_group(store if manifest.kind == "zarr" else store / manifest.index, mode="r")
    index = group[manifest.index] if manifest.kind == "zarr" else group
    offset, size = index["offset"][:], index["size"][:]
    if manifest.settings.pixels:
        found = [group["images"][int(row)].tobytes() for row in offset // size]
    elif manifest.kind == "zarr":
        found = [group["data"][begin : begin + n].tobytes() for begin, n in zip(offset, size, strict=True)]
    else:
        shard = np.repeat(np.arange(len(manifest.shards)), [each.samples for each in manifest.shards])
        files = [(store / each.name).read_bytes() for each in manifest.shards]
        found = [files[at][begin : begin + n] for at, begin, n in zip(shard, offset, size, strict=True)]
    assert found == [expected[key] for key in keys(tiering.open_store(store))]


def test_a_damaged_shard_that_holds_what_is_gone_is_told_and_the_others_are_repaired(program, lmdb):
    source, store = lmdb
    first = tiering.open_store(store).index.keys(np.array([0]))[0]
    (source / os.fsdecode(first)).unlink()
    manifest = tiering.sync(source, store, workers=1).manifest
    assert manifest.shards[0].removed == 1
    for shard in manifest.shards[:2]:
        (store / shard.name).write_bytes(b"damaged")
    done = program("repair", store, "--source", source)
    assert done.returncode == 3
    assert manifest.shards[0].name in done.stderr
    assert f"tiering convert {source} {store} --to lmdb --overwrite" in done.stderr
    assert tiering.verify(store).damaged == [manifest.shards[0].name]


def test_in_a_bucket_it_is_the_same(photos, s3, tmp_path):
    source = first_classes(photos, tmp_path, 3)
    local = pack(source, "lmdb")
    before = tiering.convert(source, f"{s3}/store", "lmdb", shards=tiering.Shards(50_000), workers=1)
    reader = tiering.open_store(f"{s3}/store")
    change(source, photos)
    found = tiering.sync(source, f"{s3}/store", workers=1)
    assert (found.new, found.changed, found.vanished) == (30, 2, 2)
    assert found.manifest.shards == tiering.sync(source, local, workers=1).manifest.shards
    assert tiering.verify(f"{s3}/store", source=source).ok
    assert len(everything(reader)) == before.samples


def test_the_command_line_counts_and_says_it_in_json(program, lmdb, photos):
    source, store = lmdb
    change(source, photos)
    with pytest.raises(DatasetError, match=f"tiering append --sync {source} {store}"):
        tiering.append(source, store)
    done = program("append", "--sync", source, store, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{store}: 30 new, 2 changed, 2 vanished, 0 relabelled; 118 samples in all\n"
    pictures(source)[0].unlink()
    said = json.loads(CliRunner().invoke(app, ["append", "--sync", str(source), str(store), "--json"]).stdout)
    assert {name: said[name] for name in ("new", "changed", "vanished", "relabelled")} == {
        "new": 0, "changed": 0, "vanished": 1, "relabelled": 0,
    }  # fmt: skip
    assert "taken out 5 samples; to free" in " ".join(CliRunner().invoke(app, ["info", str(store)]).stdout.split())


class StopError(Exception):
    pass


def test_what_broke_off_goes_on_as_sync_and_not_as_append(lmdb, photos):
    source, store = lmdb
    pictures(source)[0].unlink()
    shutil.copytree(photos, source, dirs_exist_ok=True)
    pictures(source)[0].unlink()

    def stop(samples, of, size):
        if of < 250 and samples:  # while shards are packed
            raise StopError

    with pytest.raises(StopError):
        tiering.sync(source, store, workers=1, progress=stop)
    assert tiering.open_store(store).manifest.generation == 1
    assert f"tiering append --sync {source} {store}" in tiering.verify(store).unfinished
    with pytest.raises(UsageError, match="sync True, now False"):
        tiering.append(source, store, workers=1)
    tiering.sync(source, store, workers=1)
    assert_holds_exactly(tiering.open_store(store), source)
    assert not (pathlib.Path(store) / ".tiering").exists()


def test_a_store_that_is_none_is_an_error(photos, tmp_path):
    with pytest.raises(StoreError, match="finished store"):
        tiering.sync(photos, tmp_path / "store", workers=1)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 5, 9, 14, 20, 27])
def test_killed_in_a_bucket_the_next_run_makes_it_whole(photos, s3, tmp_path, number):
    source = first_classes(photos, tmp_path, 3)
    local = pack(source, "lmdb")
    store = f"{s3}/store-{number}"
    tiering.convert(source, store, "lmdb", shards=tiering.Shards(50_000), workers=1)
    before = everything(tiering.open_store(store))
    change(source, photos)
    with Strikes(tmp_path / "log") as strikes:
        code = strikes.strike(["append", "--sync", source, store, "--workers", "1"], "sendto", number, "KILL")
    assert code in (0, -signal.SIGKILL)
    meanwhile = tiering.open_store(store)
    assert meanwhile.manifest.generation == 2 or everything(meanwhile) == before
    found = tiering.sync(source, store, workers=1)
    assert found.manifest.shards == tiering.sync(source, local, workers=1).manifest.shards
    assert tiering.verify(store, source=source).problems == []
