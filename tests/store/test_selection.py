"""A selection is a store: of every kind of store, nested, pickled, and through every method."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import shutil
import tracemalloc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.examples import examples
from tests.fielded import add_fields
from tiering.testing import check_store

KINDS = ["folder", "lmdb", "zarr", "zstd", "pixels", "pixels-zstd", "cached", "concat"]


@pytest.fixture(scope="module")
def places(photos, tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    pixels = tiering.Pixels(16, 16)
    shards = tiering.Shards(1 << 20)
    tiering.convert(photos, root / "lmdb", "lmdb", shards=shards)
    tiering.convert(photos, root / "zarr", "zarr", shards=shards)
    tiering.convert(photos, root / "zstd", "zarr", codec="zstd", shards=shards)
    tiering.convert(photos, root / "pixels", "zarr", pixels=pixels)
    tiering.convert(photos, root / "pixels-zstd", "zarr", pixels=pixels, codec="zstd")
    return {**{kind: root / kind for kind in KINDS}, "folder": photos, "cached": root / "zarr"}


@pytest.fixture(params=KINDS)
def whole(request, places, tmp_path):
    """A store of each kind."""
    if request.param == "concat":
        with tiering.concat(places["lmdb"], places["zstd"]) as both:
            yield both
        return
    with tiering.open_store(places[request.param]) as store:
        yield tiering.cached(store, "64MB", tmp_path / "cache") if request.param == "cached" else store


def plain(images) -> list[bytes]:
    return [
        bytes(np.ascontiguousarray(image).data) if isinstance(image, np.ndarray) else bytes(image) for image in images
    ]


SELECTIONS = {
    "some": lambda store: store.select([1, 2, 5, 77, 123, 124, 200, 299]),
    "in sequence": lambda store: store.select(slice(40, 140)),
    "every third": lambda store: store.select(range(2, 300, 3)),
    "one": lambda store: store.select([17]),
    "all": lambda store: store.select(),
    "a random tenth": lambda store: store.sample(0.1, seed=3),
    "nested": lambda store: store.sample(0.5, seed=1).select(slice(10, 100)).select([5, 1, 80]),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_selection_has_the_samples_of_its_rows(whole, name):
    selection = SELECTIONS[name](whole)
    n = len(selection)
    rows = selection.in_origin(np.arange(n))
    assert rows.dtype == np.int64
    assert n == len(rows) == selection.manifest.samples == len(selection.index)
    assert plain(selection.read(np.arange(n))) == plain(whole.read(rows))
    assert plain(selection.read([n - 1, 0])) == plain(whole.read(rows[[n - 1, 0]]))
    assert selection.index.keys(np.arange(n)) == whole.index.keys(rows)
    for column in ("label", "split", "size"):
        assert np.array_equal(getattr(selection.index, column), getattr(whole.index, column)[rows])
    assert selection.manifest.image_bytes == int(np.asarray(whole.index.size)[rows].sum())
    assert selection.manifest.classes == whole.manifest.classes
    for at in {0, n // 2, n - 1}:
        one, same = selection[at], whole[int(rows[at])]
        assert (one.key, one.label, plain([one.image])) == (same.key, same.label, plain([same.image]))
    assert selection[-1].key == whole[int(rows[-1])].key
    selection.announce(np.arange(-3, n + 3))
    ranges, wanted = selection.byte_ranges(np.arange(n)), whole.byte_ranges(rows)
    assert (ranges is None) == (wanted is None)
    if ranges is not None:
        for part in ("file", "offset", "size"):
            assert np.array_equal(getattr(ranges, part), getattr(wanted, part))
    with pytest.raises(IndexError, match=f"sample {n} of a store of {n}"):
        selection[n]
    with pytest.raises(IndexError):
        selection.read([-1])
    with pytest.raises(TypeError):
        selection.read(np.ones(n, dtype=np.bool_))


@pytest.mark.parametrize("whole", ["folder", "lmdb", "zarr", "zstd", "cached"], indirect=True)
def test_a_selection_passes_the_checks_of_a_store(whole, tmp_path):
    selection = whole.sample(40, seed=1)
    for at in range(40):
        sample = selection[at]
        (tmp_path / "files" / sample.key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / sample.key).write_bytes(bytes(sample.image))
    check_store(selection, tmp_path / "files")


def test_the_files_of_a_folder_are_those_selected(photos):
    with tiering.open_store(photos) as store:
        selection = store.select([3, 1])
        assert selection.files() == [photos / store[1].key, photos / store[3].key]


@given(st.data())
@settings(max_examples=examples(60))
def test_selections_of_selections_compose(places, data):
    with tiering.open_store(places["zarr"]) as store:
        rows, selection = np.arange(300), store
        for _ in range(data.draw(st.integers(1, 4))):
            chosen = data.draw(
                st.one_of(
                    st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=len(rows), unique=True).map(sorted),
                    st.builds(slice, st.integers(0, len(rows) - 1), st.just(len(rows)), st.integers(1, 4)),
                )
            )
            rows, selection = rows[chosen], selection.select(chosen)
        assert selection.origin is store
        assert selection.in_origin(np.arange(len(selection))).tolist() == rows.tolist()
        direct = store.select(rows)
        assert (direct.selection, direct.rows.__class__) == (selection.selection, selection.rows.__class__)
        assert direct.index.keys(np.arange(len(direct))) == selection.index.keys(np.arange(len(rows)))


def test_a_digest_tells_samples_apart_and_not_formats(places):
    seen = {}
    for kind in ("lmdb", "zarr", "zstd"):
        with tiering.open_store(places[kind]) as store:
            choices = [store.select([each]) for each in range(5)]
            choices += [store.select(slice(2, each)) for each in range(3, 9)]
            choices += [store.select([0, 1, each]) for each in range(3, 9)] + [store.select(range(0, 300, 2))]
            seen[kind] = [each.selection for each in choices]
    assert seen["lmdb"] == seen["zarr"] == seen["zstd"]
    assert len(set(seen["lmdb"])) == len(seen["lmdb"]) - 1  # [2] and 2:3 are the same sample
    assert all(len(each) == 32 for each in seen["lmdb"])


def test_a_column_of_a_selection_is_an_array_in_every_respect_but_writing(places):
    with tiering.open_store(places["zarr"]) as store:
        selection = store.sample(50, seed=2)
        whole = np.asarray(store.index.size)[selection.rows]
        size = selection.index.size
        assert size.shape == (50,)
        assert size.dtype == np.int64
        assert np.array_equal(size[:], whole)
        assert np.array_equal(size[5:9], whole[5:9])
        assert np.array_equal(size[np.array([3, 3, 0])], whole[[3, 3, 0]])
        assert np.array_equal(size[whole > 5000], whole[whole > 5000])
        assert size[7] == whole[7]
        assert (size.max(), size.sum(), size.mean()) == (whole.max(), whole.sum(), whole.mean())
        assert np.array_equal(size > 5000, whole > 5000)
        assert np.array_equal(2 * size + 1, 2 * whole + 1)
        assert np.array_equal(np.unique(selection.index.label), np.unique(store.index.label[selection.rows]))
        assert np.array_equal(np.asarray(size, dtype=np.float32), whole.astype(np.float32))
        assert "50 rows" in repr(size)
        with pytest.raises(TypeError):
            size[0] = 1
        with pytest.raises(ValueError, match="copy"):
            np.asarray(size, copy=False)
        with pytest.raises(AttributeError):
            _ = size.nothing


def test_fields_of_a_selection_are_those_of_its_samples(places, tmp_path):
    place = shutil.copytree(places["lmdb"], tmp_path / "store")
    score = [None if each % 5 == 0 else each / 300 for each in range(300)]
    add_fields(place, {"score": score, "caption": [f"picture {each}" for each in range(300)]})
    with tiering.open_store(place) as store:
        selection = store.select("score > 0.5").select(slice(0, 20))
        rows = selection.in_origin(np.arange(20)).tolist()
        assert list(selection.fields) == ["label", "score", "caption"]
        assert selection.read_field("score", np.arange(20)).tolist() == [score[row] for row in rows]
        assert selection.read_field("caption", [3, 0]) == [f"picture {rows[3]}", f"picture {rows[0]}"]
        assert selection[4].fields["caption"] == f"picture {rows[4]}"
        captions = selection.runs["caption"]
        assert plain(captions.read([19])) == [f"picture {rows[19]}".encode()]
        assert np.array_equal(selection.index.fields["score"], [score[row] for row in rows])
        with pytest.raises(IndexError):
            selection.read_field("score", [20])


def test_a_pickled_selection_is_the_same_one(whole):
    for selection in (whole.sample(0.1, seed=1), whole.select(slice(10, 290))):
        again = pickle.loads(pickle.dumps(selection))
        assert again.selection == selection.selection
        assert plain(again.read([2, 7])) == plain(selection.read([2, 7]))
        assert again.index.keys(np.arange(9)) == selection.index.keys(np.arange(9))
        assert copy.copy(selection)[3].key == selection[3].key


def test_what_is_pickled_and_kept_is_small(places):
    """4 bytes for each selected sample, and nothing for samples in sequence."""
    with tiering.open_store(places["zarr"]) as store:
        alone = len(pickle.dumps(store))
        assert len(pickle.dumps(store.select(slice(5, 250)))) < alone + 400
        assert len(pickle.dumps(store.select(range(5, 250, 3)))) < alone + 400
        assert len(pickle.dumps(store.sample(100))) < alone + 100 * 4 + 500


def test_a_selection_is_freed_with_its_last_reference(whole):
    """No cycle keeps its rows until the next collection of garbage."""
    selection = whole.sample(0.5)
    gone = weakref.ref(selection)
    gc.disable()
    try:
        del selection
        assert gone() is None
    finally:
        gc.enable()


def test_a_selection_copies_no_column(places):
    with tiering.concat(places["lmdb"], *[places["zarr"]] * 20) as both:
        both.select(slice(1, 2))  # imports
        tracemalloc.start()
        selections = [both.select(slice(5, 6000)), both.select(range(0, 6000, 7))]
        assert tracemalloc.get_traced_memory()[0] < 20_000
        tracemalloc.stop()
        for selection in selections:
            rows = selection.in_origin(np.arange(len(selection)))
            size, whole = selection.index.size, np.asarray(both.index.size)[rows]
            for at in (slice(None), slice(3, 90, 5), slice(None, None, -1), np.array([0, -1, 5]), whole > 5000, 7, -1):
                assert np.array_equal(size[at], whole[at])
            for at in (len(rows), [-len(rows) - 1], np.ones(3, dtype=np.bool_)):
                with pytest.raises(IndexError):
                    size[at]


def test_closing_a_selection_leaves_the_store_open(places):
    with tiering.open_store(places["lmdb"]) as store:
        with store.sample(0.2) as selection:
            first = bytes(selection[0].image)
        assert bytes(selection[0].image) == first
        assert repr(selection).startswith("Selection(60 of PackedStore(")


def test_blocks_of_a_selection_are_what_is_left_of_the_blocks_of_the_store(places):
    with tiering.open_store(places["zstd"]) as store:
        assert store.select(slice(10, 200)).block == store.block
        tenth = store.select(range(0, 300, 10))
        assert tenth.block == max(1, round(store.block * 30 / 291))


def test_keys_that_are_no_text_are_kept(photos, tmp_path):
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))[:9]):
        place = tmp_path / "photos" / f"\udcff{number}.jpg"
        place.parent.mkdir(exist_ok=True)
        shutil.copy(path, place)
    with tiering.open_store(tmp_path / "photos") as store:
        selection = store.select([2, 5])
        assert [os.fsencode(selection[at].key) for at in range(2)] == [b"\xff2.jpg", b"\xff5.jpg"]


def test_a_selection_from_a_folder_reads_the_files_of_fields_only_when_asked(photos, tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))[:12]):
        shutil.copy(path, root / f"{number:02d}.jpg")
        (root / f"{number:02d}.txt").write_text(f"picture {number}")
    with tiering.open_store(root) as store:
        selection = store.select(range(1, 12, 3))
        assert selection.read_field("txt", [0, 2]) == ["picture 1", "picture 7"]
        assert len(store.select("txt like '%1'")) == 2
        for path in root.glob("*.txt"):
            path.unlink()
        assert len(store.select("size > 0").index.fields) == len(store.index.fields)
        assert len(list(tiering.Loader(store.sample(6), 2))) == 3
