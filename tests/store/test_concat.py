"""Concatenations: several stores as one, with merged classes, splits and fields."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings

import numpy as np
import pytest

import tiering
from tiering.errors import UsageError
from tiering.sources.labels.classes import LabelsWarning
from tiering.testing import check_store, served

CLASSES = {"a": ["china-0", "china-1", "flower-0"], "b": ["china-1", "china-2"], "c": ["flower-0", "flower-1"]}


@pytest.fixture(scope="module")
def folders(photos, tmp_path_factory):
    root = tmp_path_factory.mktemp("concat")
    for name, classes in CLASSES.items():
        for each in classes:
            shutil.copytree(photos / each, root / name / each)
    return root


@pytest.fixture(scope="module")
def stores(folders):
    """A folder, a store of each format, and all of them in different order."""
    tiering.convert(folders / "a", folders / "a.lmdb", "lmdb", shards=tiering.Shards(1 << 20))
    tiering.convert(folders / "b", folders / "b.zarr", "zarr", codec="zstd")
    opened = [tiering.open_store(folders / each) for each in ("a.lmdb", "b.zarr", "c")]
    yield opened
    for store in opened:
        store.close()


@pytest.fixture
def joined(stores):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelsWarning)
        return tiering.concat(*stores)


def table(path, photos, name, rows):
    """A store of ten photographs of a class, with further fields."""
    lines = [
        {"path": str(image.relative_to(photos)), "label": name, **rows(number)}
        for number, image in enumerate(sorted((photos / name).iterdir())[:10])
    ]
    path.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, lines)))
    tiering.convert(tiering.TableSource(path.with_suffix(".jsonl"), root=photos), path, "lmdb")
    return tiering.open_store(path)


def test_two_halves_of_a_store_are_a_store(packed, photos):
    """Everything that a store of this directory must do."""
    with tiering.open_store(packed) as store:
        check_store(tiering.concat(store.select(range(100)), store.select(range(100, 300))), photos)


def test_the_samples_are_those_of_the_stores_one_after_another(joined, stores):
    samples = [store[number] for store in stores for number in range(len(store))]
    assert len(joined) == len(samples)
    everything = joined.read(np.arange(len(joined)))
    assert [bytes(image) for image in everything] == [bytes(sample.image) for sample in samples]
    assert [key.decode() for key in joined.index.keys(np.arange(len(joined)))] == [sample.key for sample in samples]
    assert joined[-1].key == samples[-1].key


def test_classes_are_merged_by_name(joined, stores):
    for number in range(0, len(joined), 7):
        sample = joined[number]
        assert joined.manifest.classes[sample.label] == sample.key.split("/")[0]
    # Those of the first store keep their numbers. china-2 had 1, which china-1 has: it gets the next after the largest.
    assert joined.manifest.classes == {0: "china-0", 1: "china-1", 2: "flower-0", 3: "china-2", 4: "flower-1"}
    assert np.array_equal(joined.index.label[:], [joined[number].label for number in range(len(joined))])


def test_other_numbers_are_named(stores):
    with pytest.warns(LabelsWarning, match=r"china-1 is 1 \(0 in .*b.zarr\)"):
        tiering.concat(*stores)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiering.concat(stores[0], stores[0])


def test_numbers_that_only_a_later_store_uses_stay(tmp_path, photos):
    stores = [
        table(tmp_path / "one", photos, "china-0", lambda _: {"label": 3}),
        table(tmp_path / "two", photos, "china-1", lambda _: {"label": 7}),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tiering.concat(*stores).manifest.classes == {3: "3", 7: "7"}


def test_splits_are_merged_by_name(tmp_path, photos):
    for store, splits in (("one", ("train", "val")), ("two", ("test", "train"))):
        for split in splits:
            shutil.copytree(photos / "china-0", tmp_path / store / split / "china-0")
    one, two = (tiering.open_store(tmp_path / name) for name in ("one", "two"))
    joined = tiering.concat(one, two)
    assert joined.manifest.splits == ["train", "val", "test"]
    names = [joined.manifest.splits[number] for number in joined.index.split[:]]
    assert names == [key.split(b"/")[0].decode() for key in joined.index.keys(np.arange(len(joined)))]
    assert len(joined.select(split="train")) == 2 * len(joined.select(split="val"))


def test_keys_may_repeat_and_parts_tell_them_apart(stores):
    joined = tiering.concat(stores[0], stores[0])
    n = len(stores[0])
    assert joined[3].key == joined[n + 3].key
    assert joined.part_of(np.array([3, n + 3, n - 1, n])).tolist() == [0, 1, 0, 1]


def test_epochs_serve_every_sample_once_by_any_shuffle(joined):
    for shuffle in (True, "block", "sticky", False):
        loader = tiering.Loader(joined, 16, shuffle=shuffle)
        assert sorted(served(loader, 1)) == list(range(len(joined)))


def test_batches_have_the_merged_labels_and_keys(joined):
    for batch in tiering.Loader(joined, 32):
        names = [joined.manifest.classes[label] for label in batch.labels.tolist()]
        assert names == [key.split("/")[0] for key in batch.keys]


def test_byte_ranges_are_in_the_files_of_all_parts(stores, folders):
    tiering.convert(folders / "b", folders / "b.lmdb", "lmdb")
    with warnings.catch_warnings(), tiering.open_store(folders / "b.lmdb") as other:
        warnings.simplefilter("ignore", LabelsWarning)
        joined = tiering.concat(stores[0], other)
        asked = np.array([len(joined) - 1, 0, 100, len(stores[0])])
        ranges, files = joined.byte_ranges(asked), joined.files()
        for number, file, offset, size in zip(asked, ranges.file, ranges.offset, ranges.size, strict=True):
            assert files[file].read_bytes()[offset : offset + size] == bytes(joined[number].image)
        assert tiering.concat(*stores).byte_ranges(asked) is None


def test_a_concatenation_is_pickled(joined):
    again = pickle.loads(pickle.dumps(joined))
    assert again.manifest == joined.manifest
    assert [again[number].key for number in (0, -1)] == [joined[number].key for number in (0, -1)]


def test_a_concatenation_of_concatenations_has_plain_parts(stores):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelsWarning)
        assert tiering.concat(tiering.concat(*stores[:2]), stores[2]).parts == tuple(stores)


def test_selections_of_concatenations_and_concatenations_of_selections(joined, stores):
    chosen = joined.select("label = 'china-1'")
    assert {chosen[at].key.split("/")[0] for at in range(len(chosen))} == {"china-1"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelsWarning)
        again = tiering.concat(stores[0].select("label = 'china-1'"), stores[1].select("label = 'china-1'"))
    assert [bytes(again[at].image) for at in range(len(again))] == [
        bytes(chosen[at].image) for at in range(len(chosen))
    ]
    assert sorted(served(tiering.Loader(again, 8), 0)) == list(range(len(again)))


def test_the_state_of_other_selections_is_refused(stores):
    halves = stores[0].select(range(30)), stores[0].select(range(30, 60))
    state = tiering.Loader(tiering.concat(*halves), 8).state_dict()
    with pytest.raises(UsageError, match="selection"):
        tiering.Loader(tiering.concat(*halves[::-1]), 8).load_state_dict(state)


def test_columns_of_the_index_are_those_of_the_stores(joined, stores):
    sizes = np.concatenate([store.index.size[:] for store in stores])
    column = joined.index.size
    assert np.array_equal(column[:], sizes)
    assert np.array_equal(np.asarray(column), sizes)
    assert np.array_equal(column[5:-3:2], sizes[5:-3:2])
    assert np.array_equal(column[sizes > 30_000], sizes[sizes > 30_000])
    assert (column[-1], column.max(), column.sum(), len(column)) == (sizes[-1], sizes.max(), sizes.sum(), len(sizes))
    assert np.array_equal(column > 30_000, sizes > 30_000)
    with pytest.raises(IndexError):
        column[len(sizes)]
    assert len(joined.index.crc32c) == 0  # a folder has none


def test_fields_are_merged_and_lack_values_where_a_store_lacks_them(tmp_path, photos):
    one = table(
        tmp_path / "one", photos, "china-0", lambda at: {"score": at, "caption": f"photo {at}", "box": [1.5, at]}
    )
    two = table(tmp_path / "two", photos, "china-1", lambda at: {"score": at + 0.5, "rank": at})
    with pytest.warns(LabelsWarning):
        joined = tiering.concat(one, two)
    kinds = {name: (field.kind, field.nullable) for name, field in joined.fields.items()}
    assert kinds == {
        "label": ("integer", False),
        "score": ("float", False),
        "caption": ("string", True),
        "box": ("vector", True),
        "rank": ("integer", True),
    }
    asked = np.array([15, 3, 0, 19])
    assert joined.read_field("score", asked).tolist() == [joined[int(at)]["score"] for at in asked]
    captions = [None, *(one.read_field("caption", [at])[0] for at in (3, 0)), None]
    assert joined.read_field("caption", asked) == captions
    assert joined.read_field("rank", asked).tolist() == [two[5]["rank"], None, None, two[9]["rank"]]
    assert joined.read_field("box", asked).mask.tolist() == [[True] * 2, [False] * 2, [False] * 2, [True] * 2]
    assert joined.read_field("label", asked).tolist() == [1, 0, 0, 1]
    assert joined[15].fields["caption"] is None
    batch = next(iter(tiering.Loader(joined, 20, shuffle=False, fields=("caption", "score"))))
    assert batch["caption"] == joined.read_field("caption", np.arange(20))
    assert len(joined.select("score >= 5 and caption is not null")) == 5
    runs = joined.runs["caption"]
    assert [bytes(each) for each in runs.read(asked)] == [(each or "").encode() for each in captions]
    assert runs.index.size[asked].tolist() == [len(each or "") for each in captions]
    chosen = joined.select(range(5, 15))
    assert chosen.read_field("caption", np.arange(10)) == joined.read_field("caption", np.arange(5, 15))
    assert pickle.loads(pickle.dumps(joined)).read_field("caption", asked) == captions
    with pytest.raises(UsageError, match="one of label, score"):
        joined.read_field("nonsense", asked)


def test_a_field_may_be_the_weight_of_a_concatenation(tmp_path, photos):
    one = table(tmp_path / "one", photos, "china-0", lambda _: {"score": 1})
    two = table(tmp_path / "two", photos, "china-0", lambda _: {"score": 0})
    assert max(served(tiering.Loader(tiering.concat(one, two), 8, weights="score"), 0)) < 10
    three = table(tmp_path / "three", photos, "china-0", lambda at: {"other": at, "note": "x"})
    joined = tiering.concat(one, three)
    with pytest.raises(UsageError, match="none for sample 10"):
        tiering.Loader(joined, 8, weights="score")
    with pytest.raises(UsageError, match=r"score, other.*string"):
        tiering.Loader(joined, 8, weights="note")


def test_fields_of_different_kinds_are_refused(tmp_path, photos):
    one = table(tmp_path / "one", photos, "china-0", lambda at: {"caption": f"photo {at}"})
    two = table(tmp_path / "two", photos, "china-0", lambda at: {"caption": at})
    with pytest.raises(UsageError, match=r"field caption: .* string in .*one and integer in .*two"):
        tiering.concat(one, two)


@pytest.mark.parametrize("sides", [None, (16, 20)])
def test_images_of_different_kinds_are_refused(stores, folders, tmp_path, sides):
    tiering.convert(folders / "b", tmp_path / "pixels", "zarr", pixels=tiering.Pixels(16, 16))
    other = stores[0]
    if sides:
        tiering.convert(folders / "b", tmp_path / "others", "zarr", pixels=tiering.Pixels(*sides))
        other = tiering.open_store(tmp_path / "others")
    with pytest.raises(UsageError, match=r"pixels of 16 x 16 x 3, uint8, in .*pixels"):
        tiering.concat(other, tmp_path / "pixels")


def test_pixels_are_read_into_one_array(folders, tmp_path):
    for name in ("a", "b"):
        tiering.convert(folders / name, tmp_path / name, "zarr", pixels=tiering.Pixels(8, 8))
    stores = [tiering.open_store(tmp_path / name) for name in ("a", "b")]
    with pytest.warns(LabelsWarning):
        joined = tiering.concat(*stores)
    whole = np.concatenate([store.read(np.arange(len(store))) for store in stores])
    asked = np.array([100, 3, 99, 0])
    assert np.array_equal(joined.read(asked), whole[asked])
    out = np.zeros((4, 8, 8, 3), np.uint8)
    assert joined.read(asked, out) is out
    assert np.array_equal(out, whole[asked])
    for batch in tiering.Loader(joined, 32, shuffle="block"):
        assert np.array_equal(batch.images, whole[batch.indices])


def test_a_fault_names_the_store_and_the_number_in_it(joined, stores):
    key = stores[1][4].key

    def transform(sample):
        if sample.key == key:
            raise ZeroDivisionError
        return sample.label

    first = len(stores[0])
    loader = tiering.Loader(joined.select(range(first, first + 10)), 8, shuffle=False, transform=transform)
    with pytest.raises(ZeroDivisionError) as caught:
        list(loader)
    assert caught.value.__notes__ == [f"sample 4 ({key}) of {stores[1].location}"]


def test_caches_are_concatenated_not_concatenations_cached(stores, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelsWarning)
        with pytest.raises(UsageError, match="in front of each store"):
            tiering.cached(tiering.concat(*stores[:2]), "64MB", tmp_path / "cache")
        caches = [tiering.cached(store.location.url, "64MB", tmp_path / "cache", force=True) for store in stores[:2]]
        with tiering.concat(*caches) as joined:
            loader = tiering.Loader(joined, 16, shuffle="sticky")
            for epoch in range(2):
                assert sorted(served(loader, epoch)) == list(range(len(joined)))
            counts = loader.stats()
            assert counts.hits + counts.misses == 2 * len(joined)
            assert counts.hits >= len(joined)


def test_no_store_and_missing_stores_are_refused(stores, tmp_path):
    with pytest.raises(UsageError, match="at least one store"):
        tiering.concat()
    with pytest.raises(tiering.errors.StoreError):
        tiering.concat(stores[0].location.url, tmp_path / "nothing")


def test_a_concatenation_is_measured(stores):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelsWarning)
        (found,) = tiering.bench([tiering.concat(*stores[:2])], epochs=2, batch_size=32)
    assert found.samples == len(stores[0]) + len(stores[1])


def test_pixels_of_different_types_are_refused(folders, tmp_path):
    tiering.convert(folders / "b", tmp_path / "bytes", "zarr", pixels=tiering.Pixels(16, 16))
    tiering.convert(folders / "b", tmp_path / "floats", "zarr", pixels=tiering.Pixels(16, 16, dtype="float32"))
    with pytest.raises(UsageError, match=r"uint8, in .* float32, in"):
        tiering.concat(tmp_path / "bytes", tmp_path / "floats")
