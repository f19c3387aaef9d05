"""Loader: every sample exactly once an epoch, in an order that depends only on seed and epoch."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import tiering
from tiering.testing import assert_every_sample_once, served


@pytest.fixture(scope="module")
def store(photos):
    return tiering.open_store(photos)


@pytest.mark.parametrize("shuffle", ["global", "block", False])
@pytest.mark.parametrize("world_size", [1, 3])
def test_every_kind_of_store_serves_every_sample_once(packed, shuffle, world_size):
    store = tiering.open_store(packed)
    loaders = [
        tiering.Loader(store, 32, shuffle=shuffle, ranks=tiering.Ranks(rank, world_size)) for rank in range(world_size)
    ]
    assert_every_sample_once(loaders, epoch=1, samples=300)


def test_the_order_differs_between_epochs_and_equals_itself(packed):
    one, other = (tiering.Loader(tiering.open_store(packed), 64, seed=5) for _ in range(2))
    assert served(one, 0) == served(other, 0)
    assert served(one, 0) != served(one, 1)
    assert served(one, 0) != served(tiering.Loader(tiering.open_store(packed), 64, seed=6), 0)


def test_every_kind_of_store_serves_its_own_bytes(packed, photos):
    store = tiering.open_store(packed)
    seen = {}
    for batch in tiering.Loader(store, 77):
        assert len(batch) == len(batch.images) == len(batch.labels) == len(batch.keys)
        for key, image, label in zip(batch.keys, batch.images, batch.labels, strict=True):
            assert store.manifest.labels[label] == key.split("/")[0]
            seen[key] = bytes(image)
    assert seen == {str(path.relative_to(photos)): path.read_bytes() for path in photos.rglob("*.*")}


@pytest.mark.parametrize("shuffle", ["global", "block"])
@pytest.mark.parametrize("fields", [(), ("txt",)])
def test_a_store_in_memory_is_served_without_announcements(tmp_path, monkeypatch, shuffle, fields):
    monkeypatch.setattr("tiering.store.mapped_files._GLANCE_SECONDS", 600.0)  # what was found out stays true meanwhile
    (tmp_path / "photos").mkdir()
    for number in range(60):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"photos/{number}.png")
        (tmp_path / f"photos/{number}.txt").write_text(f"caption {number}")
    tiering.convert(tmp_path / "photos", tmp_path / "store", "lmdb", workers=1)
    with tiering.open_store(tmp_path / "store") as store:
        read = b"".join(path.read_bytes() for path in [*store.files(), *store.runs["txt"].files()])
        assert read
        for each in (store, store.runs["txt"]):
            assert not each.resident  # nobody looked yet
            each.announce(np.arange(60))
        assert store.resident
        assert store.select(slice(0, 60, 2)).resident
        assert tiering.concat(store, store).resident
        for each in (store, store.runs["txt"]):
            monkeypatch.setattr(each, "announce", lambda _: pytest.fail("announced"))
        assert_every_sample_once([tiering.Loader(store, 7, shuffle=shuffle, fields=fields)], epoch=0, samples=60)


def test_without_shuffle_the_order_is_the_stores(store):
    assert served(tiering.Loader(store, 50, shuffle=False), 3) == list(range(300))


@pytest.mark.parametrize(("batch_size", "whole"), [(256, 256), (300, 300), (301, 0)])
def test_drop_last_leaves_out_the_uneven_end(store, batch_size, whole):
    loader = tiering.Loader(store, batch_size, drop_last=True)
    assert len(served(loader, 0)) == whole == len(loader) * batch_size
    assert len(tiering.Loader(store, batch_size)) == -(-300 // batch_size)


def test_decoded_batches_are_arrays(packed):
    batch = next(iter(tiering.Loader(tiering.open_store(packed), 16, images="pixels")))
    assert all(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 for image in batch.images)


def test_leaving_an_epoch_early_is_clean(packed):
    loader = tiering.Loader(tiering.open_store(packed), 16)
    for _ in range(3):
        next(iter(loader))
    assert len(served(loader, 0)) == 300


def test_more_ranks_than_samples_leave_some_with_nothing(store):
    loaders = [tiering.Loader(store, 8, ranks=tiering.Ranks(rank, 301), even=False) for rank in (0, 300)]
    assert [len(served(loader, 0)) for loader in loaders] == [1, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"batch_size": 8, "shuffle": "none"},
        {"batch_size": 8, "images": "jpeg"},
        {"batch_size": 8, "threads": 0},
        {"batch_size": 8, "prefetch": 0},
    ],
)
def test_invalid_settings_are_refused(store, wrong):
    with pytest.raises(ValueError, match="got"):
        tiering.Loader(store, **wrong)


def test_a_shard_that_vanishes_stops_the_epoch_with_a_named_error(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "lmdb")
    store = tiering.open_store(tmp_path / "store")
    store.files()[0].unlink()
    with pytest.raises(tiering.errors.StoreError, match="no such file"):
        served(tiering.Loader(store, 32), 0)


def test_after_an_epoch_comes_the_next(packed):
    loader = tiering.Loader(tiering.open_store(packed), 64, seed=5)
    orders = [[index for batch in loader for index in batch.indices.tolist()] for _ in range(3)]
    assert loader.current_epoch == 3
    assert orders == [served(loader, epoch) for epoch in range(3)]


def test_a_state_from_the_middle_of_an_epoch_resumes_there(packed):
    store = tiering.open_store(packed)
    loader = tiering.Loader(store, 32, seed=2)
    loader.set_epoch(4)
    seen = []
    for batch in loader:
        seen += zip(batch.keys, map(bytes, batch.images), strict=True)
        if len(seen) == 96:
            state = json.dumps(loader.state_dict())
            break
    again = tiering.Loader(store, 32, seed=2)
    again.load_state_dict(json.loads(state))
    rest = [pair for batch in again for pair in zip(batch.keys, map(bytes, batch.images), strict=True)]
    loader.set_epoch(5)
    loader.set_epoch(4)
    whole = [pair for batch in loader for pair in zip(batch.keys, map(bytes, batch.images), strict=True)]
    assert seen + rest == whole
    # The epoch that was resumed is over: the next one is whole again.
    assert again.current_epoch == 5
    assert again.state_dict()["position"] == 0
    assert len(served(again, 5)) == 300


def test_a_state_counts_the_batches_that_the_training_has_finished(packed):
    loader = tiering.Loader(tiering.open_store(packed), 32)
    for number, _ in enumerate(loader, start=1):
        if number == 6:
            assert loader.state_dict()["position"] == 192
            assert loader.state_dict(batches=4)["position"] == 128
    assert loader.state_dict() == tiering.Loader(tiering.open_store(packed), 8).state_dict() | {"epoch": 1}


def test_the_same_state_serves_every_kind_of_store(photos, tmp_path):
    """Stores of one packing order: LMDB, Zarr and compressed Zarr go on from one another's states."""
    stores = []
    for name, kind, codec in [("a", "lmdb", "none"), ("b", "zarr", "none"), ("c", "zarr", "zstd")]:
        tiering.convert(photos, tmp_path / name, kind, codec=codec)
        stores.append(tiering.open_store(tmp_path / name))
    state = tiering.Loader(stores[0], 50, seed=1).state_dict(batches=2)
    rests = []
    for store in stores:
        loader = tiering.Loader(store, 25, seed=1)
        loader.load_state_dict(state)
        rests.append(
            [(key, bytes(image)) for batch in loader for key, image in zip(batch.keys, batch.images, strict=True)]
        )
    assert rests[0] == rests[1] == rests[2]
    assert len(rests[0]) == 200


def test_limit_serves_the_first_of_each_epochs_order(packed):
    store = tiering.open_store(packed)
    loader = tiering.Loader(store, 32, seed=5, limit=70)
    assert served(loader, 3) == served(tiering.Loader(store, 32, seed=5), 3)[:70]
    assert len(loader) == 3


def test_images_as_bytes_are_copies(packed):
    store = tiering.open_store(packed)
    views, copies = (next(iter(tiering.Loader(store, 16, images=form))).images for form in ("encoded", "bytes"))
    assert all(type(image) is bytes for image in copies)
    assert len(copies) == 16
    assert list(copies) == [bytes(image) for image in views]
    assert copies[-1] == bytes(views[-1])
    assert copies[2:4] == [bytes(image) for image in views[2:4]]


def test_views_outlive_the_store(packed, photos):
    store = tiering.open_store(packed)
    batch = next(iter(tiering.Loader(store, 300, shuffle=False)))
    keys = batch.keys
    store.close()
    del store
    gc.collect()
    assert [bytes(image) for image in batch.images] == [(photos / key).read_bytes() for key in keys]


def test_transforms_run_on_threads_and_see_whole_samples(packed, photos):
    names = set()

    def transform(sample):
        names.add(threading.current_thread().name)
        return sample.key, sample.label, bytes(sample.image)

    loader = tiering.Loader(tiering.open_store(packed), 32, transform=transform, threads=3)
    for batch in loader:
        for (key, label, image), other, number in zip(batch.images, batch.keys, batch.labels, strict=True):
            assert (key, label) == (other, number)
            assert image == (photos / key).read_bytes()
    assert threading.current_thread().name not in names
    assert len(names) <= 3


def test_a_transform_of_a_decoded_sample_gets_its_pixels(packed):
    loader = tiering.Loader(
        tiering.open_store(packed), 32, images="pixels", transform=lambda sample: sample.image.shape
    )
    assert all(len(shape) == 3 for batch in loader for shape in batch.images)


def test_an_exception_of_a_transform_is_raised(packed):
    def transform(sample):
        raise KeyError(sample.key)

    before = set(threading.enumerate())
    with pytest.raises(KeyError):
        next(iter(tiering.Loader(tiering.open_store(packed), 32, transform=transform)))
    gc.collect()
    assert not set(threading.enumerate()) - before


def test_an_epoch_may_be_collected_on_a_thread_that_reads_for_it(packed, monkeypatch):
    """There it must not wait for that thread."""
    store = tiering.open_store(packed)
    first = set(next(iter(tiering.Loader(store, 4, shuffle=False))).keys)
    before = set(threading.enumerate())
    unraisable, left, collected = [], threading.Event(), threading.Event()
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)

    def transform(sample):
        if sample.key not in first:
            left.wait(120)
            gc.collect()
            collected.set()
        return sample.label

    epoch = iter(tiering.Loader(store, 4, shuffle=False, threads=1, transform=transform))
    next(epoch)
    cycle = [epoch]
    cycle.append(cycle)
    alive = weakref.ref(epoch)
    del epoch, cycle
    assert alive() is not None
    left.set()
    assert collected.wait(120)
    assert alive() is None
    assert unraisable == []
    for thread in set(threading.enumerate()) - before:
        thread.join(120)


def test_threads_end_with_the_epoch_and_when_it_is_left(packed):
    before = set(threading.enumerate())
    for _ in tiering.Loader(tiering.open_store(packed), 32, images="pixels"):
        pass
    iterator = iter(tiering.Loader(tiering.open_store(packed), 32, images="pixels"))
    next(iterator)
    iterator.close()
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_batches_of_pixels_that_are_kept_stay_as_they_were(photos, tmp_path, codec):
    tiering.convert(photos, tmp_path / "pixels", "zarr", pixels=tiering.Pixels(160, 150), codec=codec)
    store = tiering.open_store(tmp_path / "pixels")
    loader = tiering.Loader(store, 20, seed=3, prefetch=1)
    kept = [(batch.indices, batch.images, batch.images[5]) for batch in loader for _ in range(1)]
    for indices, images, sixth in kept:
        assert images.shape == (20, 160, 150, 3)
        assert np.array_equal(images, store.read(indices))
        assert np.array_equal(sixth, images[5])
    # Memory that is not kept is used again: the whole epoch takes a few arrays.
    addresses = Counter(batch.images.ctypes.data for batch in loader)
    assert sum(addresses.values()) == 15
    assert len(addresses) <= 8


def test_a_vanished_chunk_stops_the_epoch_of_a_compressed_store(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "zarr", codec="zstd")
    store = tiering.open_store(tmp_path / "store")
    shard = store.files()[0]
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(tiering.errors.StoreError, match="by the manifest"):
        served(tiering.Loader(store, 32), 0)


@pytest.mark.parametrize("ahead", [1, 1 << 30])
def test_any_prefetch_serves_the_same(packed, ahead):
    store = tiering.open_store(packed)
    for extra in ({}, {"images": "pixels"}):
        one = tiering.Loader(store, 16, seed=1, prefetch=ahead, **extra)
        assert served(one, 2) == served(tiering.Loader(store, 16, seed=1), 2)


@pytest.mark.parametrize("decode", [False, True])
def test_an_exception_of_a_transform_names_its_sample(packed, decode):
    store = tiering.open_store(packed)
    key = store[17].key

    def transform(sample):
        if sample.key == key:
            raise ZeroDivisionError("by accident")
        return sample.label

    with pytest.raises(ZeroDivisionError) as caught:
        list(tiering.Loader(store, 32, images="pixels" if decode else "encoded", transform=transform))
    assert caught.value.__notes__ == [f"sample 17 ({key}) of {packed}"]


def test_an_image_that_cannot_be_decoded_is_named(some_photos):
    broken = sorted(some_photos.rglob("*.jpg"))[3]
    broken.write_bytes(b"\xff\xd8\xff" + bytes(100))
    store = tiering.open_store(some_photos)
    with pytest.raises(tiering.errors.TieringError) as caught:
        list(tiering.Loader(store, 8, images="pixels"))
    assert f"({broken.relative_to(some_photos)}) of {some_photos}" in caught.value.where


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"position": 301}, "position"),
        ({"position": -1}, "position"),
        ({"position": 2**70}, "position"),
        ({"position": 8.0}, "position"),
        ({"position": True}, "position"),
        ({"position": "8"}, "position"),
        ({"position": None}, "position"),
        ({"epoch": 1.5}, "epoch"),
        ({"epoch": None}, "epoch"),
        ({"seed": 8}, "seed"),
        ({"samples": 301}, "samples"),
        ({"order": 0}, "order"),
    ],
    ids=repr,
)
def test_an_impossible_state_is_refused_and_changes_nothing(packed, wrong, said):
    loader = tiering.Loader(tiering.open_store(packed), 8, seed=7)
    loader.set_epoch(3)
    before = loader.state_dict()
    with pytest.raises(tiering.errors.UsageError, match=said):
        loader.load_state_dict(before | wrong)
    assert loader.state_dict() == before


@pytest.mark.parametrize("state", [None, [], "state", 3, {}], ids=repr)
def test_a_value_that_is_not_a_state_is_refused(packed, state):
    with pytest.raises(tiering.errors.UsageError, match="the loader's state"):
        tiering.Loader(tiering.open_store(packed), 8).load_state_dict(state)


def test_the_end_of_an_epoch_is_a_valid_position(packed):
    loader = tiering.Loader(tiering.open_store(packed), 8)
    loader.load_state_dict(loader.state_dict() | {"position": 300})
    assert list(loader) == []
    assert loader.current_epoch == 1


@pytest.mark.parametrize("shares", [0, -1, 1.5, None, 10**12])
def test_impossible_shares_are_refused(packed, shares):
    loader = tiering.Loader(tiering.open_store(packed), 8, shuffle="sticky")
    with pytest.raises(tiering.errors.UsageError, match="shares"):
        loader.load_state_dict(loader.state_dict() | {"shares": shares})


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 8.0}, {"batch_size": True}, {"seed": 1.5}, {"limit": 2.5}],
    ids=repr,
)  # fmt: skip
def test_settings_that_are_not_integers_are_refused(store, wrong):
    with pytest.raises(TypeError, match=f"{next(iter(wrong))} must be an integer, got"):
        tiering.Loader(store, **({"batch_size": 8} | wrong))


def test_an_epoch_that_is_not_an_integer_is_refused(store):
    with pytest.raises(TypeError, match="epoch must be an integer, got"):
        tiering.Loader(store, 8).set_epoch(1.5)


@pytest.mark.parametrize("threads", [1, 8])
def test_as_many_threads_open_plain_files_as_the_loader_has(photos, threads, monkeypatch):
    store = tiering.open_store(photos)
    together, most, lock = set(), [0], threading.Lock()
    all_there = threading.Barrier(max(2, threads), timeout=120)
    announce = store.announce

    def slowly(indices):
        with lock:
            together.add(threading.get_ident())
            most[0] = max(most[0], len(together))
        all_there.wait()
        with lock:
            together.discard(threading.get_ident())
        announce(indices)

    monkeypatch.setattr(store, "announce", slowly)
    # One group of announcements, in as many parts as threads open files.
    assert sum(len(batch) for batch in tiering.Loader(store, 304, threads=threads)) == 300
    assert most[0] == max(2, threads)


@pytest.mark.parametrize("prefetch", [1, 100_000, 64 << 20])
@pytest.mark.parametrize("batch_size", [7, 128])
def test_later_epochs_of_pixels_take_no_new_memory(photos, tmp_path, prefetch, batch_size):
    tiering.convert(photos, tmp_path / "store", "zarr", pixels=tiering.Pixels(16, 16), workers=1)
    loader = tiering.Loader(tmp_path / "store", batch_size, prefetch=prefetch, threads=2)
    seen = {batch.images.ctypes.data for _ in range(3) for batch in loader}
    # A batch may come later than another time, and then one more is in use; all that were are kept.
    seen |= {batch.images.ctypes.data for _ in range(9) for batch in loader}
    assert len(seen) <= loader._batches._buffers[0]._free.maxlen + 1
