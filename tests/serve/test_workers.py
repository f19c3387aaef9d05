"""What crosses between the workers of a DataLoader and the process that trains: items, classes and counts."""

from __future__ import annotations

import pickle
import threading
import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader, default_collate

import tiering
from tiering.serve.torch import EpochDataset, EpochSampler, StoreDataset
from tiering.store.protocol import Sample

#: How a DataLoader runs.
WAYS = [(0, None), (2, "fork"), pytest.param((2, "spawn"), marks=pytest.mark.slow)]


def arguments(way):
    return {"num_workers": way[0], "multiprocessing_context": way[1], "timeout": 60 if way[0] else 0}


@dataclass
class Item:
    image: Any
    parts: list[Any]


def the_view(sample):
    return sample.image


def the_sample(sample):
    return sample


def nested(sample):
    return {"views": [sample.image, (sample.image[:10], sample.label)]}


def an_object(sample):
    return Item(sample.image, [sample.image[:3]])


def flat(item):
    """All encoded bytes in an item."""
    if isinstance(item, bytes | memoryview):
        return [bytes(item)]
    if isinstance(item, Sample | Item):
        return flat([item.image, getattr(item, "parts", [])])
    if isinstance(item, dict):
        return flat(list(item.values()))
    return [each for part in item for each in flat(part)] if isinstance(item, list | tuple) else []


def as_is(items):
    return items


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("transform", [the_view, the_sample, nested, an_object])
def test_views_in_items_of_any_shape_arrive_as_bytes(store, transform, way):
    """Without care, a worker drops a batch that cannot be pickled, and the DataLoader waits for it for ever."""
    views = [transform(store[at]) for at in range(32)]
    assert isinstance(store[0].image, memoryview)
    mapped = DataLoader(StoreDataset(store, transform), 16, collate_fn=as_is, **arguments(way))
    whole = EpochDataset(store, 16, transform=transform, shuffle=False, limit=32)
    batches = DataLoader(whole, batch_size=None, collate_fn=as_is, **arguments(way))
    for found in ([item for batch, _ in zip(mapped, range(2), strict=False) for item in batch],
                  [item for images, _ in batches for item in images]):  # fmt: skip
        assert flat(found) == flat(views)
        if way[0]:
            assert "memoryview" not in repr([getattr(item, "image", item) for item in found])


def a_lock(sample):
    return threading.Lock()


@pytest.mark.parametrize("make", [StoreDataset, lambda *args: EpochDataset(args[0], 16, transform=args[1])])
def test_an_item_that_no_worker_can_hand_over_is_an_error(store, make):
    dataset = make(store, a_lock)
    size = None if isinstance(dataset, EpochDataset) else 16
    loader = DataLoader(dataset, size, collate_fn=as_is, num_workers=1, timeout=60)
    with pytest.raises(TypeError, match=r"cannot be pickled: cannot pickle '_thread\.lock'") as found:
        next(iter(loader))
    # The error holds the iterator, which waits 5 s for its worker if the garbage collector must find it.
    traceback.clear_frames(found.tb)


@pytest.mark.parametrize("way", WAYS)
def test_the_default_collation_takes_encoded_images(store, way):
    [images, labels] = next(iter(DataLoader(StoreDataset(store), 8, **arguments(way))))
    assert [type(image) for image in images] == [bytes] * 8
    assert labels.tolist() == store.index.label[:8].tolist()
    fields = DataLoader(StoreDataset(store, fields=("label",)), 8, collate_fn=default_collate, **arguments(way))
    assert [bytes(image) for image in next(iter(fields))["image"]] == list(images)


def test_classes_and_targets_are_those_of_an_image_folder(store, photos):
    dataset = StoreDataset(store)
    assert dataset.classes == sorted(path.name for path in photos.iterdir())
    assert dataset.targets.dtype == np.int64
    assert dataset.targets.tolist() == [label for _, label in dataset]
    some = StoreDataset(store.select(range(0, 300, 7)))
    assert some.targets.tolist() == dataset.targets[::7].tolist()


@pytest.mark.parametrize("way", WAYS)
def test_the_counts_of_all_workers_reach_the_parent(store, tmp_path, way):
    with tiering.cached(store, "64MB", tmp_path / "cache") as cache:
        epochs = EpochDataset(cache, 16, seed=1)
        loader = DataLoader(epochs, batch_size=None, **arguments(way))
        assert epochs.stats() == tiering.CacheStats()
        for _ in loader:
            pass
        first = epochs.stats()
        for _ in loader:
            pass
        second = epochs.stats()
        assert first.hits + first.misses == 300
        assert first.miss_bytes <= store.manifest.image_bytes <= first.origin_bytes + first.hit_bytes
        assert (second.hits - first.hits, second.misses - first.misses) == (300, 0)
        assert (second.in_flight, second.depth, second.ahead) == (0, 0, 0)
        items = StoreDataset(cache)
        for _ in DataLoader(items, 16, sampler=EpochSampler(items), **arguments(way)):
            pass
        assert items.stats().hits == 300


def test_a_store_without_a_cache_counts_only_what_was_skipped(store):
    assert EpochDataset(store, 16).stats() is None
    assert StoreDataset(store).stats() is None
    assert EpochDataset(store, 16, on_error="skip").stats() == tiering.CacheStats()


def its_randomness(sample):
    return sample.index, sample.epoch, sample.draw, sample.rng.integers(0, 1 << 40, 2).tolist()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [{}, {"repeats": 2}, {"weights": "balanced"}], ids=str)
def test_random_numbers_of_a_sample_are_those_of_the_loader(store, options, way):
    loader = tiering.Loader(store, 30, seed=7, transform=its_randomness, **options)
    items = StoreDataset(store, its_randomness)
    sampler = EpochSampler(items, seed=7, **options)
    mapped = DataLoader(items, 30, sampler=sampler, collate_fn=as_is, persistent_workers=way[0] > 0, **arguments(way))
    epochs = EpochDataset(store, 30, seed=7, transform=its_randomness, **options)
    whole = DataLoader(epochs, batch_size=None, collate_fn=as_is, **arguments(way))
    seen = []
    for epoch in range(2):
        expected = [item for batch in loader for item in batch.images]
        assert [item for batch in mapped for item in batch] == expected
        assert [item for images, _ in whole for item in images] == expected
        assert {each[1] for each in expected} == {epoch}
        seen += [tuple(numbers) for *_, numbers in expected]
    assert len(set(seen)) == len(seen)


def test_an_index_is_an_int_that_knows_its_epoch(store):
    sampler = EpochSampler(range(10), seed=7)
    list(sampler)
    index = next(iter(sampler))
    assert isinstance(index, int)
    assert index.epoch == 1
    again = pickle.loads(pickle.dumps(index))
    assert (again, again.epoch, again.seed) == (index, 1, 7)
    assert StoreDataset(store, its_randomness)[index][:2] == (int(index), 1)
    assert StoreDataset(store, its_randomness)[3][:3] == (3, 0, 0)
