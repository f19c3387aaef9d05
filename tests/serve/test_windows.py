"""A block order reads whole blocks: a bucket gets few requests, and the kernel neighbours together."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import s3fs
from hypothesis import given
from hypothesis import strategies as st

import tiering
from tests.s3 import FaultyProxy, s3_environment
from tiering.io_sizes import BLOCK_BYTES, JOINED_GAP_BYTES
from tiering.serve.prefetch import windows_ahead
from tiering.store.remote_shards import _joined
from tiering.testing import assert_every_sample_once, served


def put(images, tmp_path, s3):
    """Pack images, and put the store into the bucket."""
    tiering.convert(images, tmp_path / "store", "lmdb")
    s3fs.S3FileSystem(use_listings_cache=False).put(str(tmp_path / "store"), f"{s3}/store", recursive=True)
    return f"{s3}/store"


@pytest.fixture
def there(photos, tmp_path, s3):
    return put(photos, tmp_path, s3)


def requests_of_an_epoch(endpoint, url, **how):
    """The requests of an epoch, and its images by key."""
    with (
        FaultyProxy(endpoint, 0.0) as proxy,
        s3_environment(proxy.endpoint),
        tiering.Loader(url, 8, seed=3, **how) as loader,
    ):
        list(loader.epoch(0))  # it also reads the index
        before = proxy.requests
        images = {
            key: bytes(image) for batch in loader.epoch(1) for key, image in zip(batch.keys, batch.images, strict=True)
        }
        return proxy.requests - before, images


def test_a_bucket_is_asked_for_blocks_and_not_for_samples(few_photos, tmp_path, s3, s3_endpoint):
    samples, there = 40, put(few_photos, tmp_path, s3)
    each, images = requests_of_an_epoch(s3_endpoint, there)
    few, same = requests_of_an_epoch(s3_endpoint, there, shuffle="block")
    assert images == same
    assert len(images) == samples
    assert each > samples / 2  # a few neighbours are in the same batch
    assert few <= max(2, samples // 10)


def test_each_of_several_ranks_asks_for_blocks(there, s3_endpoint):
    """Together they send a request more for each boundary that cuts a block, and none for single samples."""
    ranks = [
        requests_of_an_epoch(s3_endpoint, there, shuffle="block", ranks=tiering.Ranks(rank, 4)) for rank in range(4)
    ]
    assert sum(few for few, _ in ranks) <= 4 * 2
    assert len({key for _, images in ranks for key in images}) == sum(len(images) for _, images in ranks) == 300


@pytest.mark.parametrize("images", ["encoded", pytest.param("bytes", marks=pytest.mark.slow), "pixels"])
def test_an_epoch_that_is_left_and_a_copy_of_the_loader_serve_the_same(there, s3_endpoint, images):
    with s3_environment(s3_endpoint), tiering.Loader(there, 16, shuffle="block", images=images) as loader:
        whole = served(loader, 1)
        batches = loader.epoch(0)
        next(batches)
        del batches
        assert served(loader, 1) == whole
        assert served(pickle.loads(pickle.dumps(loader)), 1) == whole


@pytest.mark.parametrize(("before", "after"), [(3, 2), (2, 4), pytest.param(1, 3, marks=pytest.mark.slow)])
def test_other_ranks_serve_the_rest_of_an_epoch(there, s3_endpoint, before, after):
    def ranks(world_size):
        return [
            tiering.Loader(store, 7, shuffle=tiering.BlockShuffle(1), even=False, ranks=tiering.Ranks(rank, world_size))
            for rank in range(world_size)
        ]

    with s3_environment(s3_endpoint), tiering.open_store(there) as store:
        first, seen = ranks(before), []
        for rank in first:
            batches = rank.epoch(4)
            seen += [index for _ in range(5) for index in next(batches).indices.tolist()]
            del batches
        for rank in ranks(after):
            rank.load_state_dict(first[0].state_dict())
            seen += [index for batch in rank for index in batch.indices.tolist()]
    assert sorted(seen) == list(range(300))


@pytest.mark.parametrize("world_size", [1, 3])
def test_ranks_serve_every_sample_once(there, s3_endpoint, world_size):
    with s3_environment(s3_endpoint), tiering.open_store(there) as store:
        ranks = [
            tiering.Loader(store, 7, shuffle="block", ranks=tiering.Ranks(rank, world_size))
            for rank in range(world_size)
        ]
        assert_every_sample_once(ranks, epoch=2, samples=300)


def test_pixels_in_a_bucket_are_served_by_window(photos, tmp_path, s3, s3_endpoint):
    tiering.convert(photos, tmp_path / "store", "zarr", pixels=tiering.Pixels(16, 16))
    s3fs.S3FileSystem(use_listings_cache=False).put(str(tmp_path / "store"), f"{s3}/store", recursive=True)
    few, found = requests_of_an_epoch(s3_endpoint, f"{s3}/store", shuffle="block")
    with tiering.Loader(tmp_path / "store", 8) as loader:
        assert found == {
            key: bytes(image) for batch in loader for key, image in zip(batch.keys, batch.images, strict=True)
        }
    assert few <= 10


class Recorder:
    """Notes what is announced."""

    resident = False

    def __init__(self):
        self.told = []

    def announce(self, indices):
        self.told.append(indices)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(1, 30), st.integers(1, 60), st.integers(1, 4))
def test_windows_are_announced_whole_before_any_of_their_batches(sizes, batch, least, most):
    window = np.repeat(np.arange(len(sizes)), sizes)
    samples = np.arange(len(window))
    batches = [(samples[at : at + batch], window[at : at + batch]) for at in range(0, len(window), batch)]
    recorder = Recorder()
    come = 0
    for found in windows_ahead(recorder, iter(batches), least, most):
        come += len(found)
        assert set(found.tolist()) <= {each for told in recorder.told for each in told.tolist()}
    assert come == len(samples)
    assert sorted(np.concatenate(recorder.told).tolist()) == samples.tolist()
    parts = [set(window[told].tolist()) for told in recorder.told]
    assert all(not one & other for at, one in enumerate(parts) for other in parts[:at])
    assert all(len(told) >= least for told in recorder.told[:-1]) or batch > least


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1 << 26), st.integers(1, 1 << 20)), min_size=1, max_size=60)
)
def test_neighbours_become_one_request_of_bounded_size(ranges):
    file, begin, size = (np.array(column, dtype=np.int64) for column in zip(*sorted(ranges), strict=True))
    end = begin + size
    request = _joined(file, begin, end)
    assert request[0] == 0
    assert set(np.diff(request).tolist()) <= {0, 1}
    for each in range(int(request[-1]) + 1):
        some = request == each
        assert len(set(file[some].tolist())) == 1
        assert begin[some].max() - begin[some].min() <= BLOCK_BYTES * 3 // 2
        reach = np.maximum.accumulate(end[some])
        assert (begin[some][1:] <= reach[:-1] + JOINED_GAP_BYTES).all()


@pytest.mark.parametrize(
    ("longer", "requests"), [(1.0, 1), (1.03, 1), (1.4, 1), (1.6, 2), (2.06, 2), (16.3, 16), (17.0, 17)]
)
def test_blocks_with_a_little_padding_are_one_request_each(longer, requests):
    """LMDB fills whole pages, so 8 MiB of samples are a little more in the file."""
    begin = np.arange(0, int(longer * BLOCK_BYTES), 112_640)
    assert _joined(np.zeros_like(begin), begin, begin + 110_000)[-1] + 1 == requests
