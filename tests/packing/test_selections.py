"""Export and verify take selections."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import tiering
from tests.trees import with_splits
from tiering.errors import StoreError, UsageError
from tiering.testing import tree


@pytest.fixture
def splits(photos, tmp_path):
    """A folder with splits and classes, and a store of it in each format."""
    source = with_splits(photos, tmp_path / "photos", ["0", "1", "2"])
    tiering.convert(source, tmp_path / "lmdb", "lmdb", shards=tiering.Shards(1 << 17))
    tiering.convert(source, tmp_path / "zarr", "zarr", codec="zstd", shards=tiering.Shards(1 << 18))
    return tmp_path


@pytest.mark.parametrize("kind", ["lmdb", "zarr", "photos"])
def test_an_export_writes_the_selected_files_and_no_others(splits, kind):
    with tiering.open_store(splits / kind) as store:
        assert tiering.export(store.select("label = '1'", split="val"), splits / "out") == 5
    whole = tree(splits / "photos")
    assert tree(splits / "out") == {key: data for key, data in whole.items() if key.startswith(b"val/1/")}


def test_an_export_of_a_selection_keeps_the_table_of_labels(photos, tmp_path):
    rows = [
        (f"{path.relative_to(photos)}", number % 3) for number, path in enumerate(sorted(photos.rglob("*.jpg"))[:30])
    ]
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    table = tiering.TableSource(tmp_path / "table.csv", root=photos)
    tiering.convert(table, tmp_path / "store", "lmdb", workers=1)
    with tiering.open_store(tmp_path / "store") as store:
        tiering.export(store.select("label = '2'"), tmp_path / "out")
    with (tmp_path / "out" / "labels.csv").open(newline="") as file:
        found = {row["path"]: row["label"] for row in csv.DictReader(file)}
    assert found == {path: "2" for path, label in rows if label == 2}


def test_an_open_store_is_exported_and_verified_too(splits):
    with tiering.open_store(splits / "lmdb") as store:
        assert tiering.export(store, splits / "out") == 60
        assert tiering.verify(store).ok
        assert tiering.verify(store).samples == 60


def test_only_the_selected_samples_are_verified(splits):
    with tiering.open_store(splits / "lmdb") as store:
        ranges = store.byte_ranges([7])
        damaged, shard = store.files()[int(ranges.file[0])], store.manifest.shards[int(ranges.file[0])].name
        key = store[7].key
    with damaged.open("r+b") as file:
        file.seek(int(ranges.offset[0]) + 40)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    with tiering.open_store(splits / "lmdb") as store:
        seen = []
        sound = tiering.verify(store.select([*range(7), *range(8, 60)]), progress=lambda *each: seen.append(each))
        assert (sound.ok, sound.samples, sound.decoded) == (True, 59, False)
        assert seen[-1] == (59, 59, sound.image_bytes)
        found = tiering.verify(store.select(slice(5, 10)), decode=True)
        assert (found.problem_count, found.samples, found.damaged, found.decoded) == (1, 5, [shard], True)
        assert found.problems == [f"sample 7 ({key}): its bytes do not have their CRC-32C"]


def test_images_that_cannot_be_decoded_are_found_in_a_selection(splits):
    victim = splits / "photos" / "val" / "0" / "0.jpg"
    data = victim.read_bytes()
    victim.write_bytes(data[:300] + data[-300:])
    tiering.convert(splits / "photos", splits / "broken", "lmdb")
    with tiering.open_store(splits / "broken") as store:
        assert tiering.verify(store.select(split="train"), decode=True).ok
        found = tiering.verify(store.select(split="val"), decode=True)
        assert (found.problem_count, found.undecodable, found.damaged) == (1, 1, [])
        assert "val/0/0.jpg" in found.problems[0]


def test_checks_of_a_whole_store_are_refused_for_a_selection(splits):
    with tiering.open_store(splits / "lmdb") as store, tiering.open_store(splits / "photos") as folder:
        selection = store.select(split="val")
        with pytest.raises(UsageError, match="quick: expected a whole store"):
            tiering.verify(selection, quick=True)
        with pytest.raises(UsageError, match="source: expected a whole store"):
            tiering.verify(selection, source=splits / "photos")
        with pytest.raises(StoreError, match="a selection from a packed store"):
            tiering.verify(folder.select(split="val"))


def test_another_selection_is_not_exported_over_the_first_one(splits):
    with tiering.open_store(splits / "lmdb") as store:
        one, other = store.select(split="val"), store.select(split="train")
        tiering.export(one, splits / "out")
        before = tree(splits / "out")
        with pytest.raises(UsageError, match="the directory is not empty"):
            tiering.export(other, splits / "out")
    assert tree(splits / "out") == before


def test_a_bench_serves_selections(splits):
    with tiering.open_store(splits / "lmdb") as store:
        selection = store.select(split="val")
        (found,) = tiering.bench([selection], epochs=2, batch_size=4)
    assert (found.samples, found.image_bytes) == (15, selection.manifest.image_bytes)


def test_a_selection_is_measured_for_its_shuffle(splits):
    with tiering.open_store(splits / "lmdb") as store:
        selection = store.select(split="train")
        order = np.concatenate([batch.indices for batch in tiering.Loader(selection, 9)])
        assert tiering.shuffle_quality(order, selection.index.label[:], batch_size=9).design_effect < 3
