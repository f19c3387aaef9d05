"""The requests of a cache to its origin, predicted and as a real cache sends them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiering
from benchmarks.prediction_nodes import Bound, Caching, measured, processes
from benchmarks.shared_origin import BUCKET, Limits, shared_origin
from tests.advice.profiles import TIERS
from tests.s3 import s3_environment
from tiering.advice.cached_requests import cached_requests, joined
from tiering.advice.dataset_sizes import DatasetSizes, sizes_of
from tiering.advice.loading import Loading
from tiering.advice.prediction import CachePlan, predict
from tiering.dataset.profile import profile_dataset

TINY = DatasetSizes(1_000_000, 10**9)


def test_a_cache_fills_with_a_request_for_each_unit():
    bucket = TIERS["object"].model_copy(update={"iops": 1000.0, "total_iops": 1000.0, "prefix_iops": None})
    plain = predict(TINY, bucket, "zarr")
    behind = predict(TINY, bucket, "zarr", cache=CachePlan(local=10**9, local_tier=TIERS["nvme"]))
    assert plain.first_epoch_s == pytest.approx(1000, rel=0.02)
    assert behind.first_epoch_s == pytest.approx(1000 / 131, rel=0.05)
    assert behind.first_epoch_requests == pytest.approx(1_000_000 / 131)


def test_plain_files_and_compressed_chunks_are_not_joined():
    assert cached_requests(TINY, "folder", "none", 1).filling == 1
    assert cached_requests(TINY, "zarr", "zstd", 1).full == 1


def test_samples_in_groups_of_two_sizes_are_joined_less_than_in_one():
    found = cached_requests(DatasetSizes(400, 400 * 33_000), "lmdb", "none", 1)
    # 256 + 144 samples, 3 in a unit: the one before is in the same group with probability 0.64^2 + 0.36^2.
    assert found.full == pytest.approx(1 - (0.64**2 + 0.36**2) * 2 / 3)


@given(st.integers(1, 10**9), st.floats(1, 1e8), st.integers(1, 512))
def test_a_request_never_counts_more_than_a_sample_and_never_less_than_a_unit(samples, mean, nodes):
    data = DatasetSizes(samples, max(1, int(samples * mean)))
    found = cached_requests(data, "lmdb", "none", nodes)
    assert 0 < found.filling <= found.full * (1 + 1e-9) <= 1 + 1e-6
    for kept in (0.0, 0.3, 1.0):
        together = joined(data, found.cold(kept))
        assert together.bytes * found.cold(kept) >= data.bytes * (1 - 1e-9)


def made_images(directory, count):
    """Make images of 33 kB, three in a cache unit."""
    directory.mkdir()
    for number in range(count):
        (directory / f"{number:04}.ppm").write_bytes(b"P6 100 110 255\n" + bytes([number % 251]) * 33_000)
    return directory


@pytest.mark.parametrize("share", [0.5, 1.2])
def test_a_real_cache_sends_the_predicted_requests(tmp_path, share):
    images = made_images(tmp_path / "images", 400)
    tiering.convert(images, tmp_path / "bucket" / "images.lmdb", to="lmdb")
    profile = profile_dataset(images)
    size = int(share * profile.bytes)
    plan = CachePlan(local=size, local_tier=TIERS["nvme"])
    expected = predict(sizes_of(profile), TIERS["object"], "lmdb", cache=plan, loading=Loading())
    with (
        shared_origin(tmp_path / "bucket") as server,
        s3_environment(server.endpoint),
        tiering.cached(f"s3://{BUCKET}/images.lmdb", size + (64 << 10), tmp_path / "cache") as store,
    ):
        server.limit(Limits())
        loader = tiering.Loader(store, 256, threads=2)
        before = 0
        for requests in (expected.first_epoch_requests, expected.epoch_requests):
            for batch in loader:
                assert len(batch)
            # A busy machine answers late, and late requests are sent a second time. Of the two, one is given up: it
            # may never reach the server, or reach it in the next epoch. So the client counts those of each epoch.
            found = loader.stats()
            needed = found.origin_requests - found.hedged - found.retries
            assert needed - before == pytest.approx(requests, rel=0.15, abs=4)
            assert needed <= server.counts().requests <= found.origin_requests
            before = needed


def test_nodes_get_no_more_of_one_origin_than_its_link_and_take_turns(tmp_path):
    """A small configuration of the benchmark of several nodes, with its own processes and server."""
    images = made_images(tmp_path / "images", 120)
    tiering.convert(images, tmp_path / "bucket" / "images.zarr", to="zarr", codec="none")
    bound = Bound("bandwidth", "images", Limits(total_bandwidth=8e6, bandwidth=8e6, latency=0.01))
    with (
        shared_origin(tmp_path / "bucket") as server,
        s3_environment(server.endpoint),
        processes(2) as nodes,
    ):
        how = (server, nodes, tmp_path / "caches", profile_dataset(images), bound)
        (plain,) = measured(*how, Caching("none"))
        cold, warm = measured(*how, Caching("half on disk", disk=0.6))
    # A busy machine answers late, and late requests are sent a second time.
    assert plain.bytes > 0.8 * cold.bytes or cold.hedged
    assert cold.bytes > 0.8 * plain.bytes or plain.hedged
    assert warm.bytes < 0.7 * cold.bytes or warm.hedged
    for row in (plain, cold, warm):
        # Whatever else this machine does, the link of all nodes is a lower bound.
        assert row.real > 0.95 * row.bytes / 8e6
