"""Caches and selections: of a selection, and a selection from a cache; what they share, and what they fetch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import tiering
from tiering.cache.cached_store import CachedStore
from tiering.cache.maintenance import cache_info, warm_cache
from tiering.cache.shared_units import shared_selection


@pytest.fixture(scope="module", params=["folder", "lmdb", "zstd", "pixels"])
def store(request, photos, tmp_path_factory):
    place = tmp_path_factory.mktemp("origin") / "store"
    if request.param == "folder":
        place = photos
    elif request.param == "lmdb":
        tiering.convert(photos, place, "lmdb", shards=tiering.Shards(1 << 20))
    elif request.param == "zstd":
        tiering.convert(photos, place, "zarr", codec="zstd", shards=tiering.Shards(1 << 20))
    else:
        tiering.convert(photos, place, "zarr", pixels=tiering.Pixels(32, 32), codec="zstd")
    with tiering.open_store(place) as opened:
        yield opened


@pytest.fixture(scope="module")
def large(photos, tmp_path_factory):
    """A store of 40 images of 80 kB, so that each is a unit of its own."""
    from PIL import Image  # noqa: PLC0415

    root = tmp_path_factory.mktemp("large")
    for number in range(40):
        (root / "photos" / str(number % 4)).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (160, 170, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "photos" / str(number % 4) / f"{number}.png")
    tiering.convert(root / "photos", root / "store", "lmdb", workers=1)
    with tiering.open_store(root / "store") as opened:
        yield opened


def plain(images) -> list[bytes]:
    return [np.ascontiguousarray(each).tobytes() if isinstance(each, np.ndarray) else bytes(each) for each in images]


def epoch(store, **how) -> dict[str, bytes]:
    found = {}
    for batch in tiering.Loader(store, 16, **how):
        found.update(zip(batch.keys, plain(batch.images), strict=True))
    return found


SELECTIONS = {
    "few": lambda whole: whole.sample(0.1, seed=1),
    "most": lambda whole: whole.sample(0.95, seed=1),
    "in sequence": lambda whole: whole.select(slice(20, 220)),
}


@pytest.mark.parametrize("name", SELECTIONS)
@pytest.mark.parametrize("first", ["select", "cache"])
@pytest.mark.parametrize("shuffle", [True, "block", "sticky"])
def test_a_cached_selection_serves_its_samples_and_then_only_hits(store, tmp_path, name, first, shuffle):
    select = SELECTIONS[name]
    expected = epoch(select(store))
    if first == "select":
        found = cache = tiering.cached(select(store), "64MB", tmp_path / "cache")
    else:
        cache = tiering.cached(store, "64MB", tmp_path / "cache")
        found = select(cache)
    loader = tiering.Loader(found, 16, shuffle=shuffle)
    assert epoch(found, shuffle=shuffle) == expected
    before = loader.stats()
    assert epoch(found, shuffle=shuffle) == expected
    after = loader.stats()
    assert (after.misses - before.misses, after.hits - before.hits) == (0, len(expected))
    assert len(found) == len(expected)
    assert found[-1].key == select(store)[-1].key
    assert found.selection == select(store).selection
    again = pickle.loads(pickle.dumps(found))
    assert plain(again.read([0, 3])) == plain(found.read([0, 3]))
    assert isinstance(cache, CachedStore)


def test_states_are_the_same_with_and_without_a_cache(store, tmp_path):
    selection = store.sample(0.3, seed=2)
    state = tiering.Loader(selection, 16, seed=1).state_dict()
    tiering.Loader(tiering.cached(selection, "64MB", tmp_path / "one"), 16, seed=1).load_state_dict(state)
    whole = tiering.cached(store, "64MB", tmp_path / "other")
    tiering.Loader(whole.sample(0.3, seed=2), 16, seed=1).load_state_dict(state)


def test_selections_of_large_images_share_what_is_cached(large, tmp_path):
    """Each image is a unit: two selections, and the store itself, have one dataset in the cache."""
    one, other = large.select(slice(0, 20)), large.select(range(10, 40, 2))
    assert shared_selection(one) is one
    first = tiering.cached(one, "64MB", tmp_path / "cache")
    epoch(first)
    second = tiering.cached(other, "64MB", tmp_path / "cache")
    epoch(second)
    assert tiering.Loader(second, 8).stats().hits == 5
    third = tiering.cached(large, "64MB", tmp_path / "cache").select([0, 10, 38])
    epoch(third)
    assert tiering.Loader(third, 8).stats().hits == 3
    (dataset,) = cache_info(tmp_path / "cache").datasets
    assert dataset.samples == 40


def test_a_few_of_many_small_images_are_cached_alone(store, tmp_path):
    """Their neighbours are not fetched: the cache holds about the bytes of the selected samples."""
    few = store.sample(0.1, seed=1)
    assert shared_selection(few) is None
    cache = tiering.cached(few, "64MB", tmp_path / "cache")
    epoch(cache)
    assert cache.stats().admitted_bytes == few.manifest.image_bytes
    (dataset,) = cache_info(tmp_path / "cache").datasets
    assert dataset.samples == 30
    other = tiering.cached(store.sample(0.1, seed=2), "64MB", tmp_path / "cache")
    epoch(other)
    assert len(cache_info(tmp_path / "cache").datasets) == 2


def test_most_of_a_store_shares_its_units(store):
    assert shared_selection(most := store.sample(0.95, seed=1)) is most
    assert shared_selection(store.sample(0.5, seed=1)) is None
    assert shared_selection(store) is None


def test_a_selection_is_warmed_as_a_store_is(store, tmp_path):
    few = store.sample(0.2, seed=1)
    cache = tiering.cached(few, "64MB", tmp_path / "cache")
    seen = []
    warm_cache(cache, lambda *progress: seen.append(progress))
    assert seen[-1] == (60, 60, few.manifest.image_bytes)
    hits = cache.stats().hits
    epoch(cache)
    assert cache.stats().hits == hits + 60
