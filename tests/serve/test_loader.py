"""Loader: every sample exactly once an epoch, in an order that only seed and epoch decide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiering
from tests.invariants import assert_every_sample_once, served


@pytest.fixture(scope="module")
def store(photos):
    return tiering.open_store(photos)


@settings(max_examples=60, deadline=None)
@given(batch_size=st.integers(1, 400), world_size=st.integers(1, 9), seed=st.integers(0, 99), shuffle=st.booleans())
def test_ranks_serve_every_sample_exactly_once(photos, batch_size, world_size, seed, shuffle):
    store = tiering.open_store(photos)
    loaders = [
        tiering.Loader(store, batch_size, seed=seed, shuffle=shuffle, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert_every_sample_once(loaders, epoch=1, samples=300)
    lengths = [len(served(loader, 0)) for loader in loaders]
    assert max(lengths) - min(lengths) <= 1


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


def test_without_shuffle_the_order_is_the_stores(store):
    assert served(tiering.Loader(store, 50, shuffle=False), 3) == list(range(300))


@pytest.mark.parametrize(("batch_size", "whole"), [(256, 256), (300, 300), (301, 0)])
def test_drop_last_leaves_out_the_uneven_end(store, batch_size, whole):
    loader = tiering.Loader(store, batch_size, drop_last=True)
    assert len(served(loader, 0)) == whole == len(loader) * batch_size
    assert len(tiering.Loader(store, batch_size)) == -(-300 // batch_size)


def test_decoded_batches_are_arrays(packed):
    batch = next(iter(tiering.Loader(tiering.open_store(packed), 16, decode=True)))
    assert all(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 for image in batch.images)


def test_leaving_an_epoch_early_is_clean(packed):
    loader = tiering.Loader(tiering.open_store(packed), 16)
    for _ in range(3):
        next(iter(loader))
    assert len(served(loader, 0)) == 300


def test_more_ranks_than_samples_leave_some_with_nothing(store):
    loaders = [tiering.Loader(store, 8, rank=rank, world_size=301) for rank in (0, 300)]
    assert [len(served(loader, 0)) for loader in loaders] == [1, 0]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 8, "rank": 2, "world_size": 2}])
def test_settings_that_make_no_sense_are_refused(store, wrong):
    with pytest.raises(ValueError, match="got"):
        tiering.Loader(store, **wrong)


def test_a_shard_that_vanishes_stops_the_epoch_with_a_named_error(photos, tmp_path):
    tiering.convert(photos, tmp_path / "store", "lmdb")
    store = tiering.open_store(tmp_path / "store")
    store.files()[0].unlink()
    with pytest.raises(tiering.errors.StoreError, match="no such file"):
        served(tiering.Loader(store, 32), 0)
