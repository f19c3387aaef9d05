"""A finished store is changed: labels, samples taken out, and purged. What was open stays readable, whatever changes."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import lmdb
import numpy as np
import polars as pl
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import tiering
from tests.conftest import FIXTURES
from tests.examples import examples
from tests.packing import changed
from tests.packing.changed import everything, first_classes, keys, pack
from tiering.cli.app import app
from tiering.errors import DatasetError, StoreError, UsageError
from tiering.packing.workspace import workspace
from tiering.storage.location import Location
from tiering.store.layout import shard_number
from tiering.testing import assert_every_sample_once, tree

WAYS = changed.WAYS | {"zstd pixels": ("zarr", {"pixels": tiering.Pixels(24, 32), "codec": "zstd"})}


@pytest.fixture(params=[pytest.param(way, marks=pytest.mark.slow) if way == "zstd" else way for way in WAYS])
def made(request, photos, tmp_path):
    """A dataset of two classes with 60 images, and a store of it in several shards."""
    kind, how = WAYS[request.param]
    source = first_classes(photos, tmp_path, 2)
    return source, pack(source, kind, **how)


@pytest.fixture
def store(photos, tmp_path):
    return pack(first_classes(photos, tmp_path, 2), "lmdb")


def labels(store):
    """The class and the split of every sample, by key."""
    names, splits = store.manifest.classes, store.manifest.splits
    found = zip(keys(store), store.index.label.tolist(), store.index.split.tolist(), strict=True)
    return {key: (names.get(label), splits[split] if split >= 0 else None) for key, label, split in found}


def table(place, rows, header="path,label,split"):
    place.write_bytes(b"\n".join([header.encode(), *(",".join(map(str, row)).encode() for row in rows)]) + b"\n")
    return place


def some(store, count=3):
    """Keys of samples in different shards."""
    ends = np.cumsum([shard.samples for shard in store.manifest.shards])
    assert len(ends) >= count
    return [key.decode() for key in store.index.keys(ends[:count] - 1)]


def run(*words, status=0):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == status, done.output
    return done.output


# Relabel


def test_a_table_gives_new_labels_and_splits_and_rewrites_no_image(made, tmp_path):
    source, place = made
    before = tiering.open_store(place)
    was, files = labels(before), tree(place)
    one, two, three = some(before)
    rows = [(one, "bird", "val"), (two, "", "train"), (three, was[three.encode()][0], ""), ("none.jpg", "cat", "val")]
    found = tiering.relabel(place, table(tmp_path / "new.csv", rows))
    assert (found.rows, found.labels, found.splits, found.kept) == (4, 1, 2, len(before) - 3)
    assert (found.new_classes, found.new_splits) == (["bird"], ["val", "train"])
    assert (found.unknown, found.unknown_keys) == (1, ["none.jpg"])
    now = tiering.open_store(place)
    assert now.manifest == found.manifest
    expected = was | {one.encode(): ("bird", "val"), two.encode(): (was[two.encode()][0], "train")}
    assert labels(now) == expected
    assert everything(now) == everything(before)
    # Only the manifest is another file now.
    assert {name for name, data in files.items() if tree(place).get(name) != data} == {b"manifest.json"}
    assert labels(before) == was
    assert labels(tiering.open_store(place, generation=1)) == was
    verified = tiering.verify(place, source=source)
    assert (verified.problems, verified.relabelled) == ([], 2)
    assert_every_sample_once([tiering.Loader(now, 16, seed=1)], 0, len(now))


def test_a_table_that_says_what_the_store_says_changes_nothing(store, tmp_path):
    files = tree(store)
    rows = [(key.decode(), label, "") for key, (label, _) in labels(tiering.open_store(store)).items()]
    found = tiering.relabel(store, table(tmp_path / "same.csv", rows))
    assert (found.labels, found.splits, found.kept, found.manifest.generation) == (0, 0, 0, 1)
    assert tree(store) == files


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("none.jpg", "cat", "")], "none with such a key"),
        ([("{key}", "cat", ""), ("{key}", "dog", "")], "twice"),
        ([("{key}", "", "")], "no column holds labels, splits or fields"),
        ([("{key}", "0.5", "")], "0.5"),
        ([("../{key}", "cat", "")], "a path below"),
    ],
)
def test_a_table_of_no_use_is_one_error_and_nothing_is_written(store, tmp_path, rows, message):
    files, (key,) = tree(store), some(tiering.open_store(store), 1)
    rows = [tuple(str(each).format(key=key) for each in row) for row in rows]
    with pytest.raises(DatasetError, match=message):
        tiering.relabel(store, table(tmp_path / "wrong.csv", rows))
    assert tree(store) == files


def test_a_class_of_minus_one_is_no_class_and_columns_may_be_named(store, tmp_path):
    (key,) = some(tiering.open_store(store), 1)
    tiering.relabel(store, table(tmp_path / "t.csv", [(key, "-1")], "a,b"), columns="path=a,label=b")
    assert labels(tiering.open_store(store))[key.encode()] == (None, None)
    assert tiering.verify(store).ok


def test_appended_images_keep_new_classes_and_sync_takes_the_source_again(made, photos, tmp_path):
    source, place = made
    (key,) = some(tiering.open_store(place), 1)
    was = labels(tiering.open_store(place))
    tiering.relabel(place, table(tmp_path / "t.csv", [(key, "bird", "")]))
    name = sorted(os.listdir(photos))[2]
    shutil.copytree(photos / name, source / name)
    tiering.append(source, place, workers=1)
    assert labels(tiering.open_store(place))[key.encode()] == ("bird", None)
    assert len(tiering.open_store(place)) == 90
    assert tiering.sync(source, place, workers=1).relabelled == 1
    assert labels(tiering.open_store(place))[key.encode()] == was[key.encode()]
    assert [change.action for change in tiering.log(place)] == ["convert", "relabel", "append", "sync"]
    assert [len(tiering.open_store(place, generation=g)) for g in (1, 2, 3, 4)] == [60, 60, 90, 90]
    assert tiering.verify(place, source=source).problems == []


def test_a_cache_keeps_its_samples_when_labels_change(store, tmp_path):
    with tiering.cached(store, "50MB", tmp_path / "cache") as cache:
        cache.read(np.arange(len(cache)))
    (key,) = some(tiering.open_store(store), 1)
    tiering.relabel(store, table(tmp_path / "t.csv", [(key, "bird", "")]))
    with tiering.cached(store, "50MB", tmp_path / "cache") as cache:
        assert everything(cache) == everything(tiering.open_store(store))
        assert cache.stats().misses == 0
        assert cache.manifest.labels[-1] == "bird"


# Fields


def with_fields(photos, place, kind, **how):
    """A store of two classes with a number, a text and a document for most samples, and these by key."""
    source = first_classes(photos, place, 2)
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    rows = [
        {
            "path": name,
            "label": name.split("/")[0],
            "score": number / 7,
            "note": None if number % 5 == 0 else f"é {number}",
        }
        for number, name in enumerate(names)
    ]
    pl.DataFrame(rows).write_parquet(source / "list.parquet")
    tiering.convert(source / "list.parquet", place / "store", kind, shards=tiering.Shards(50_000), workers=1, **how)
    return place / "store", {row["path"]: row for row in rows}


def values(store, name):
    return dict(zip(map(bytes.decode, keys(store)), store.read_field(name, np.arange(len(store))), strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_fields_get_new_values_and_new_fields_come_without_a_byte_of_images(photos, tmp_path, way):
    kind, how = WAYS[way]
    place, _ = with_fields(photos, tmp_path, kind, **how)
    before = tiering.open_store(place)
    files, was = tree(place), (values(before, "score"), values(before, "note"))
    one, two, three = some(before)
    table = pl.DataFrame({
        "path": [one, two, three], "score": [0.5, None, 2.0], "note": ["new", "", None], "age": [7, None, 9],
        "box": [[1.0, 2.0]] * 3, "tags": [{"a": 1}, None, {"a": 3}],
    })  # fmt: skip
    table.write_parquet(tmp_path / "new.parquet")
    found = tiering.relabel(place, tmp_path / "new.parquet")
    assert found.fields == {"score": 2, "note": 2, "age": 2, "box": 3, "tags": 2}
    assert found.new_fields == ["age", "box", "tags"]
    now = tiering.open_store(place)
    assert values(now, "score") == was[0] | {one: 0.5, three: 2.0}
    assert values(now, "note") == was[1] | {one: "new", two: ""}
    ages = values(now, "age")
    assert (ages[one], ages[three]) == (7, 9)
    assert all(np.ma.is_masked(age) for key, age in ages.items() if key not in (one, three))
    assert values(now, "box")[two].tolist() == [1.0, 2.0]
    assert {key: tags for key, tags in values(now, "tags").items() if tags is not None} == {
        one: {"a": 1},
        three: {"a": 3},
    }
    assert everything(now) == everything(before)
    assert {name for name, data in files.items() if tree(place).get(name) != data} <= {
        b"manifest.json",
        b"fields/zarr.json",
    }
    assert tiering.verify(place).problems == []
    # Readers of the earlier generation keep its values, also those that open it now.
    for reader in (before, tiering.open_store(place, generation=1), pickle.loads(pickle.dumps(before))):
        assert (values(reader, "score"), values(reader, "note")) == was
        assert "age" not in reader.fields
    tiering.relabel(place, tmp_path / "new.parquet")  # over fields that a relabel wrote
    assert values(tiering.open_store(place), "note") == values(now, "note")
    assert tiering.verify(place).problems == []


@pytest.mark.parametrize("way", WAYS)
def test_a_purge_takes_the_values_of_fields_too(photos, tmp_path, way):
    kind, how = WAYS[way]
    place, _ = with_fields(photos, tmp_path, kind, **how)
    first = tiering.open_store(place)
    one, two, three = some(first)
    pl.DataFrame({"path": [one, two, three], "note": ["secret one", "secret two", "kept"]}).write_csv(
        tmp_path / "t.csv"
    )
    tiering.relabel(place, tmp_path / "t.csv")
    before = tiering.open_store(place)
    scores, notes = values(before, "score"), values(before, "note")
    tiering.remove(place, [one, two], purge=True)
    now = tiering.open_store(place)
    left = [key for key in notes if key not in (one, two)]
    assert values(now, "score") == {key: scores[key] for key in left}
    assert values(now, "note") == {key: notes[key] for key in left}
    assert not any(secret in data for data in tree(place).values() for secret in (b"secret one", b"secret two"))
    assert tiering.verify(place).problems == []
    tiering.append(tmp_path / "photos" / "list.parquet", place, workers=1, removed=True)
    assert len(tiering.open_store(place)) == len(notes)
    assert tiering.verify(place).problems == []


def test_a_value_that_a_field_cannot_have_is_one_error(photos, tmp_path):
    place, _ = with_fields(photos, tmp_path, "lmdb")
    (one,) = some(tiering.open_store(place), 1)
    files = tree(place)
    with pytest.raises(DatasetError, match=r"a value of kind float.*abc"):
        tiering.relabel(place, table(tmp_path / "t.csv", [(one, "abc")], "path,score"))
    assert tree(place) == files


# Remove


def test_removed_samples_are_gone_from_the_next_generation_only(made):
    _, place = made
    before = tiering.open_store(place)
    whole, files = everything(before), tree(place)
    gone = some(before)
    found = tiering.remove(place, [*gone, "none.jpg", os.fsencode(gone[0])])
    assert (found.removed, found.purged, found.unknown, found.unknown_keys) == (3, 0, 1, ["none.jpg"])
    now = tiering.open_store(place)
    assert now.manifest == found.manifest
    assert everything(now) == {key: data for key, data in whole.items() if key.decode() not in gone}
    assert {name for name, data in files.items() if tree(place).get(name) != data} == {b"manifest.json"}
    assert everything(before) == everything(tiering.open_store(place, generation=1)) == whole
    assert tiering.verify(place).problems == []
    assert_every_sample_once([tiering.Loader(now, 16, seed=1)], 0, len(now))
    assert now.manifest.account.count("removed from the store") == 3
    assert tiering.remove(place, gone).manifest == now.manifest


def test_purged_samples_leave_no_byte_and_only_their_shards_are_packed_again(made):
    _, place = made
    before = tiering.open_store(place)
    whole, files = everything(before), tree(place)
    gone = some(before, 2)
    found = tiering.remove(place, gone, purge=True)
    assert (found.removed, found.purged, len(found.rewritten), found.ended) == (2, 2, 2, [1])
    now = tiering.open_store(place)
    left = {key: data for key, data in whole.items() if key.decode() not in gone}
    assert everything(now) == left
    assert_every_sample_once([tiering.Loader(now, 16, seed=1)], 0, len(now))
    assert tiering.verify(place).problems == []
    kept = {os.fsencode(shard.name) for shard in now.manifest.shards} - {os.fsencode(name) for name in found.rewritten}
    assert {name for name in tree(place) if name in files and shard_number(os.fsdecode(name)) >= 0} == kept
    assert all(tree(place)[name] == files[name] for name in kept)
    for name, data in tree(place).items():
        if b"manifest" not in name:  # its account has no keys either
            assert not any(key.encode() in data for key in gone), name
        if before.manifest.settings.codec == "none":
            assert not any(whole[key.encode()] in data for key in gone), name


@pytest.mark.parametrize("purge", [False, True])
def test_removed_samples_do_not_come_back_with_an_append_or_a_sync(made, photos, tmp_path, purge):
    source, place = made
    one, two = some(tiering.open_store(place), 2)
    tiering.remove(place, [one], purge=purge)
    tiering.remove(place, [two], purge=purge)
    name = sorted(os.listdir(photos))[2]
    shutil.copytree(photos / name, source / name)
    account = tiering.append(source, place, workers=1).account
    assert (account.packed, account.count("removed from the store")) == (88, 2)
    found = tiering.verify(place, source=source)
    assert found.problems == []
    assert found.account.count("removed from the store") == 2
    manifest = tiering.sync(source, place, workers=1).manifest
    assert manifest.generation == 4
    assert {one, two} & {key.decode() for key in keys(tiering.open_store(place))} == set()
    run("append", source, place, "--removed")
    assert len(tiering.open_store(place)) == 90
    assert tiering.verify(place, source=source).problems == []
    assert not any(one.encode() in data for name, data in tree(place).items() if name.startswith(b"removed-"))


def test_an_open_reader_reads_what_it_has_mapped_after_a_purge(made):
    """The files of its shards have no name any more, but the kernel keeps them until the reader lets go."""
    _, place = made
    reader, late = tiering.open_store(place), tiering.open_store(place)
    whole = everything(reader)
    copies = pickle.dumps(reader)
    tiering.remove(place, some(reader, 2), purge=True)
    assert everything(reader) == whole
    for refused in (lambda: everything(late), lambda: everything(pickle.loads(copies))):
        with pytest.raises(StoreError, match=r"they were purged in generation 2\. Open the store again"):
            refused()
    with pytest.raises(UsageError, match="1, which the purge of generation 2 ended"):
        tiering.open_store(place, generation=1)


def test_samples_that_were_removed_before_are_purged_by_key_or_all_at_once(made):
    source, place = made
    names = set(keys(tiering.open_store(place)))
    one, two, three = some(tiering.open_store(place))
    tiering.remove(place, [one, two])
    tiering.append(source, place, workers=1, removed=True)  # takes one and two again
    (source / three).write_bytes((source / one).read_bytes())
    tiering.sync(source, place, workers=1)  # has other bytes for three
    tiering.remove(place, [one, two])
    found = tiering.remove(place, [one, three], purge=True)
    # Once as they were packed first, once as they were packed again. Their shards lose all that was removed from them.
    assert (found.removed, found.unknown) == (1, 0)
    assert found.purged >= 4
    assert set(keys(tiering.open_store(place))) == names - {each.encode() for each in (one, two, three)}
    assert tiering.verify(place).problems == []
    again = tiering.remove(place, purge=True)
    assert again.removed == 0
    assert sum(shard.removed for shard in again.manifest.shards) == 0
    assert tiering.remove(place, purge=True).manifest == again.manifest
    assert tiering.verify(place).problems == []


def test_generations_without_purged_samples_can_still_be_opened(made, photos):
    source, place = made
    first = everything(tiering.open_store(place))
    name = sorted(os.listdir(photos))[2]
    shutil.copytree(photos / name, source / name)
    tiering.append(source, place, workers=1)
    new = sorted(everything(tiering.open_store(place)).keys() - first.keys())
    found = tiering.remove(place, new, purge=True)
    assert (found.removed, found.rewritten, found.ended) == (30, [], [2])
    assert everything(tiering.open_store(place, generation=1)) == everything(tiering.open_store(place)) == first
    assert [change.ended for change in tiering.log(place)] == [None, 3, None]
    # The numbers of the shards that are gone are never used again.
    tiering.append(source, place, workers=1, removed=True)
    numbers = [shard.number for shard in tiering.open_store(place).manifest.shards]
    assert numbers == sorted(set(numbers))
    assert max(numbers) >= found.manifest.next_shard
    assert len(tiering.open_store(place)) == 90
    assert tiering.verify(place, source=source).problems == []


def test_other_readers_find_the_samples_after_a_purge(photos, tmp_path):
    for kind, how in WAYS.values():
        place = tmp_path / f"{kind}-{'-'.join(map(str, how.values()))}"
        place.mkdir(parents=True)
        store = pack(first_classes(photos, place, 2), kind, **how)
        tiering.remove(store, some(tiering.open_store(store), 2), purge=True)
        expected = tiering.open_store(store)
        if kind == "lmdb":
            values = []
            for path in sorted(store.glob("*.mdb")):
                with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as env, env.begin() as txn:
                    values += [value for _, value in txn.cursor()]
            assert values == [bytes(image) for image in expected.read(np.arange(len(expected)))]
            continue
        group = zarr.open_group(store, mode="r")
        offset, size = group[f"{expected.manifest.index}/offset"][:], group[f"{expected.manifest.index}/size"][:]
        images = expected.read(np.arange(len(expected)))
        if "pixels" in how:
            rows = offset // size[0]
            assert np.array_equal(np.stack([group["images"][int(row)] for row in rows]), images)
        else:
            read = [group["data"][begin : begin + n].tobytes() for begin, n in zip(offset, size, strict=True)]
            assert read == [bytes(image) for image in images]


def test_a_store_is_repaired_after_a_purge(made):
    source, place = made
    tiering.remove(place, some(tiering.open_store(place), 2), purge=True)
    shard = tiering.open_store(place).manifest.shards[0]
    (place / shard.name).unlink()
    assert tiering.repair(place, source=source, workers=1) == [shard.name]
    assert tiering.verify(place).problems == []


def test_a_condition_chooses_the_samples_to_remove(made):
    _, place = made
    before = tiering.open_store(place)
    name = before.manifest.labels[0]
    gone = {key for key, (label, _) in labels(before).items() if label == name}
    whole = everything(before)
    found = tiering.remove(place, where=f"label = '{name}'", purge=True)
    assert (found.removed, found.unknown) == (len(gone), 0)
    assert everything(tiering.open_store(place)) == {k: v for k, v in whole.items() if k not in gone}
    assert tiering.verify(place).problems == []
    with pytest.raises(UsageError, match="where: no sample of"):
        tiering.remove(place, where=f"label = '{name}'")
    assert "where" in run("remove", place, "--where", "label = ", status=2)


def test_what_would_leave_no_sample_is_refused(store):
    files = tree(store)
    with pytest.raises(UsageError, match="keys of all samples"):
        tiering.remove(store, keys(tiering.open_store(store)), purge=True)
    with pytest.raises(UsageError, match="keys"):
        tiering.remove(store)
    with pytest.raises(DatasetError, match="no such file"):
        tiering.remove(store, store / "none")
    with pytest.raises(StoreError, match="a finished store"):
        tiering.remove(store.with_name("none"), ["a"])
    assert tree(store) == files
    assert not store.with_name("none").exists()


def test_damage_is_never_packed_again(store):
    opened = tiering.open_store(store)
    keys = some(opened, 1)
    shard = store / opened.manifest.shards[0].name
    data = bytearray(shard.read_bytes())
    data[int(opened.index.offset[0])] ^= 1
    shard.write_bytes(data)
    files = tree(store)
    with pytest.raises(StoreError, match="other bytes"):
        tiering.remove(store, keys, purge=True)
    assert tree(store) == files


def test_two_changes_at_once_are_refused_and_an_unfinished_append_comes_first(store, photos, monkeypatch):
    (key,) = some(tiering.open_store(store), 1)
    with (
        workspace(Location.of(store), fresh=False),
        pytest.raises(UsageError, match="one converter at a time"),
    ):
        tiering.remove(store, [key])

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiering.append(photos, store, workers=1, progress=lambda done, *_: done and stop())
    with pytest.raises(UsageError, match=r"an unfinished append.*tiering append"):
        tiering.remove(store, [key])
    tiering.append(photos, store, workers=1)
    assert tiering.remove(store, [key]).removed == 1


@pytest.mark.parametrize("name", ["lmdb", "zarr", "zarr-zstd", "pixels", "pixels-zstd", "appended"])
@pytest.mark.parametrize("version", sorted(path.name for path in FIXTURES.glob("v*") if path.is_dir()))
def test_stores_of_older_versions_are_changed_too(name, version, tmp_path):
    place = Path(shutil.copytree(FIXTURES / version / name, tmp_path / name))
    before = tiering.open_store(place)
    whole, generation = everything(before), before.manifest.generation
    # The oldest versions noted only the last change.
    assert [change.generation for change in tiering.log(place)] in ([generation], [*range(1, generation + 1)])
    one, two = keys(before)[0], keys(before)[-1]
    tiering.relabel(place, table(tmp_path / "t.csv", [(one.decode(), "bird", "val")]))
    tiering.remove(place, [one])
    assert everything(tiering.open_store(place, generation=generation)) == whole
    found = tiering.remove(place, [one, two], purge=True)
    assert found.purged >= 2
    assert everything(tiering.open_store(place)) == {k: v for k, v in whole.items() if k not in (one, two)}
    assert tiering.verify(place).problems == []
    assert not any(one in data for data in tree(place).values())


def test_what_an_older_version_had_removed_is_purged_although_no_manifest_tells_where_it_was(made):
    source, place = made
    (key,) = some(tiering.open_store(place), 1)
    (source / key).unlink()
    manifest = tiering.sync(source, place, workers=1).manifest
    # Older versions kept no manifest and no log.
    shutil.rmtree(place / "manifests")
    from tiering.store.manifest import encode_manifest  # noqa: PLC0415

    (place / "manifest.json").write_bytes(encode_manifest(manifest.model_copy(update={"log": []})))
    found = tiering.remove(place, [key], purge=True)
    assert (found.removed, found.purged, found.unknown) == (0, 1, 0)
    assert not any(key.encode() in data for data in tree(place).values())
    assert tiering.verify(place, source=source).problems == []


# The log


def test_the_log_has_every_generation(made, tmp_path, monkeypatch):
    _, place = made
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    one, two, _ = some(tiering.open_store(place))
    tiering.relabel(place, table(tmp_path / "t.csv", [(one, "bird", "")]))
    tiering.remove(place, [one])
    tiering.remove(place, [two], purge=True)
    log = tiering.log(place)
    assert [(each.generation, each.action, each.samples) for each in log] == [
        (1, "convert", 60), (2, "relabel", 60), (3, "remove", 59), (4, "purge", 58),
    ]  # fmt: skip
    assert {each.time for each in log} == {"2023-11-14T22:13:20Z"}
    assert log.changes[1].counts == {"labels": 1, "splits": 0, "values": 0}
    assert "relabel, 60" in str(log)
    assert log.to_frame()["ended"].to_list() == [4, 4, 4, None]
    words = run("log", place)
    assert "2023-11-14T22:13:20Z" in words
    assert "ended by generation 4" in words
    assert [each["action"] for each in json.loads(run("log", place, "--json"))["changes"]] == [
        "convert", "relabel", "remove", "purge",
    ]  # fmt: skip


def test_a_generation_that_is_not_there_is_one_error(store, photos):
    with pytest.raises(UsageError, match=r"generation: must be one of those that .* keeps \(1\), not 2"):
        tiering.open_store(store, generation=2)
    with pytest.raises(UsageError, match="a packed store, which has generations"):
        tiering.open_store(photos, generation=1)


def test_a_kept_manifest_that_is_damaged_or_of_another_generation_is_an_error(store, tmp_path):
    one, two = some(tiering.open_store(store), 2)
    tiering.remove(store, [one])
    tiering.remove(store, [two])
    kept = store / "manifests" / "000002.json"
    kept.write_bytes((store / "manifests" / "000001.json").read_bytes())
    with pytest.raises(StoreError, match="the manifest of generation 1"):
        tiering.open_store(store, generation=2)
    kept.write_bytes(b"{}")
    with pytest.raises(StoreError):
        tiering.open_store(store, generation=2)
    assert len(tiering.open_store(store)) == 58
    assert any("manifests/000002.json" in problem for problem in tiering.verify(store).problems)


# Buckets


@pytest.mark.parametrize("kind", ["lmdb", pytest.param("zarr", marks=pytest.mark.slow)])
def test_a_store_in_a_bucket_is_changed_where_it_is(photos, tmp_path, s3, kind):
    source = first_classes(photos, tmp_path, 2)
    place = pack(source, kind)
    url = f"{s3}/changed-{kind}"
    tiering.convert(source, url, kind, shards=tiering.Shards(50_000), workers=1)
    before = tiering.open_store(url)
    whole = everything(before)
    one, two, _ = some(before)
    tiering.relabel(url, table(tmp_path / "t.csv", [(one, "bird", "val", 5)], "path,label,split,score"))
    assert labels(tiering.open_store(url))[one.encode()] == ("bird", "val")
    assert values(tiering.open_store(url), "score")[one] == 5
    tiering.remove(url, [one])
    assert everything(tiering.open_store(url, generation=2)) == whole
    found = tiering.remove(url, [one, two], purge=True)
    assert (found.removed, found.purged, found.ended) == (1, 2, [1, 2, 3])
    assert "noncurrent versions" in found.may_remain[-1]
    assert everything(tiering.open_store(url)) == {k: v for k, v in whole.items() if k.decode() not in (one, two)}
    assert tiering.verify(url).problems == []
    with pytest.raises(StoreError, match="they were purged in generation 4"):
        before.read(np.arange(len(before)))
    assert [change.ended for change in tiering.log(url)] == [4, 4, 4, None]
    names = Location.of(url).names()
    assert not [name for name in names if name.startswith((".tiering", "manifests", "index/", "index-2/", "index-3/"))]
    # The same changes make the same store on a disk, but for the manifest, which names its source and the time.
    tiering.relabel(place, tmp_path / "t.csv")
    tiering.remove(place, [one])
    tiering.remove(place, [one, two], purge=True)
    here = tree(place)
    assert {os.fsencode(name) for name in names} == set(here)
    there = Location.of(url)
    assert all((there / os.fsdecode(name)).read() == data for name, data in here.items() if name != b"manifest.json")


def test_of_two_changes_in_a_bucket_only_one_replaces_the_manifest(photos, tmp_path, s3):
    source = first_classes(photos, tmp_path, 2)
    url = f"{s3}/contested"
    tiering.convert(source, url, "lmdb", shards=tiering.Shards(50_000), workers=1)
    one, two, _ = some(tiering.open_store(url))
    manifest = Location.of(url) / "manifest.json"
    theirs = manifest.read() + b"\n"
    with pytest.raises(StoreError, match="somebody else wrote to the store meanwhile"):
        tiering.remove(url, [one, two], purge=True, progress=lambda *_: manifest.write(theirs))
    assert manifest.read() == theirs
    assert len(everything(tiering.open_store(url))) == 60
    assert tiering.verify(url, source=source).problems == []


# The command line


def test_the_command_line_changes_a_store(store, tmp_path):
    one, two, _ = some(tiering.open_store(store))
    words = run("relabel", store, table(tmp_path / "t.csv", [(one, "bird", "val"), ("none.jpg", "cat", "")]))
    assert "1 label and 1 split changed" in words
    assert "new classes: bird" in words
    assert "1 row names a key that the store lacks: none.jpg" in words
    (tmp_path / "keys.txt").write_bytes(one.encode() + b"\r\n\r\nnone.jpg\r\n")
    words = run("remove", store, "--keys", tmp_path / "keys.txt")
    assert "1 removed, 59 samples left; generation 3" in words
    assert "1 key that the store lacks: none.jpg" in words
    (tmp_path / "keys.txt").write_text(two)
    words = run("remove", store, "--keys", tmp_path / "keys.txt", "--purge")
    assert "generations that ended: 1, 2, 3" in words
    assert f"tiering cache clear {store}" in words
    found = json.loads(run("remove", store, "--purge", "--json"))
    assert (found["format"], found["removed"], found["purged"]) == ("tiering-removal", 0, 1)
    assert "taken out" not in run("info", store)
    assert run("remove", store, status=2)


# Keys and shards of any kind


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["lmdb", "zarr", "pixels"]))
def test_any_changes_in_any_order_leave_the_samples_that_they_should(data, kind, tmp_path_factory):
    place = tmp_path_factory.mktemp("any")
    names = [b"a.png", b"b \xff.png", "ü.png".encode(), b"d\t.png", b"e f.png", b"g.png", b"h.png", b"i.png"]
    for number, name in enumerate(names):
        path = place / "photos" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    to, how = WAYS[kind]
    how = how | ({"pixels": tiering.Pixels(8, 8)} if "pixels" in how else {})
    tiering.convert(place / "photos", place / "store", to, shards=tiering.Shards(500), workers=1, **how)
    expected = everything(tiering.open_store(place / "store"))
    generations = {1: dict(expected)}
    for _ in range(data.draw(st.integers(1, 4))):
        gone = data.draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
        if len(expected.keys() - set(gone)) == 0:
            continue
        purge = data.draw(st.booleans())
        found = tiering.remove(place / "store", gone, purge=purge)
        expected = {key: value for key, value in expected.items() if key not in gone}
        assert everything(tiering.open_store(place / "store")) == expected
        assert tiering.verify(place / "store").problems == []
        for ended in found.ended:
            del generations[ended]
        generations[found.manifest.generation] = dict(expected)
        for generation, samples in generations.items():
            assert everything(tiering.open_store(place / "store", generation=generation)) == samples
        if purge:
            assert not any(key in samples for samples in generations.values() for key in gone)
    shutil.rmtree(place)
