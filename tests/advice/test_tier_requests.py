"""How many requests an epoch sends to its tier, and of how many bytes."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.advice.profiles import TIERS
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.loading import Loading
from tiering.advice.prediction import CachePlan, predict
from tiering.io_sizes import BLOCK_BYTES

TINY = DatasetSizes(100_000_000, 10**12)
PHOTOS = DatasetSizes(1_000_000, 110 * 10**9, row_bytes=3 * 64 * 64)
PACKED = [("lmdb", "none"), ("zarr", "none"), ("zarr", "zstd"), ("pixels", "none"), ("pixels", "zstd")]

datasets = st.builds(
    lambda samples, mean, side: DatasetSizes(samples, samples * mean, row_bytes=3 * side * side),
    st.integers(1, 10**9),
    st.integers(1, 10**8),
    st.integers(1, 512),
)


def test_a_global_order_asks_for_every_sample_and_a_block_order_for_8_mib():
    each = predict(TINY, TIERS["object"], "zarr")
    blocks = predict(TINY, TIERS["object"], "zarr", order="block")
    assert (each.epoch_requests, each.epoch_bytes) == (TINY.samples, TINY.bytes)
    assert blocks.epoch_requests == pytest.approx(TINY.bytes / BLOCK_BYTES)
    assert blocks.epoch_bytes == TINY.bytes
    assert each.samples_per_s <= TIERS["object"].iops < 3 * 10**4 < blocks.samples_per_s


def test_plain_files_are_asked_for_one_by_one_in_any_order():
    files, blocks = (predict(PHOTOS, TIERS["object"], "folder", order=order) for order in ("global", "block"))
    assert files == blocks
    assert files.epoch_requests == PHOTOS.samples


def test_a_hard_disk_reads_blocks_in_sequence():
    disk = TIERS["hdd"].model_copy(update={"read_bandwidth": 150e6, "random_bandwidth": 14e6, "iops": 110.0})
    each, blocks = (predict(PHOTOS, disk, "lmdb", order=order).samples_per_s for order in ("global", "block"))
    assert each < 130
    assert 1_000 < blocks < 150e6 / PHOTOS.mean


def test_a_chunk_of_many_samples_is_read_and_decoded_once():
    small = DatasetSizes(1_000_000, 10**9, row_bytes=3 * 32 * 32)
    each, blocks = (predict(small, TIERS["nvme"], "pixels", "zstd", order=order) for order in ("global", "block"))
    assert blocks.epoch_requests == pytest.approx(small.samples / 5)
    assert each.epoch_requests == small.samples
    assert blocks.stages["CPU copy" if "CPU copy" in blocks.stages else "decoding"] < sum(each.stages.values())


@pytest.mark.parametrize(("store_format", "codec"), PACKED)
def test_each_rank_reads_blocks_of_its_own(store_format, codec):
    """Only the blocks that a boundary between two ranks cuts are asked for twice."""
    one, four, many = (
        predict(PHOTOS, TIERS["object"], store_format, codec, order="block", loading=Loading(nodes=nodes))
        for nodes in (1, 4, 512)
    )
    assert one.epoch_requests < 0.5 * PHOTOS.samples
    assert four.epoch_requests == pytest.approx(one.epoch_requests + 3)
    assert many.epoch_requests == pytest.approx(one.epoch_requests + 511)
    assert one.epoch_bytes <= four.epoch_bytes <= many.epoch_bytes < 1.02 * one.epoch_bytes


def test_more_nodes_stream_blocks_faster_until_the_store_gives_no_more():
    rates = [
        predict(TINY, TIERS["object"], "zarr", order="block", loading=Loading(threads=64, nodes=nodes)).samples_per_s
        for nodes in (1, 8, 128)
    ]
    assert rates[0] < rates[1] <= rates[2] * (1 + 1e-9)


def test_only_samples_that_no_cache_holds_are_asked_for():
    half = CachePlan(ram=PHOTOS.bytes // 2, fill_once=True)
    found = predict(PHOTOS, TIERS["object"], "zarr", cache=half)
    assert found.epoch_requests == pytest.approx(found.first_epoch_requests / 2)
    assert found.epoch_bytes == pytest.approx(PHOTOS.bytes / 2)


@given(datasets, st.sampled_from(list(TIERS.values())), st.sampled_from(PACKED), st.integers(1, 512))
def test_a_block_order_never_asks_for_more_samples_than_there_are(data, tier, way, nodes):
    assume(data.samples >= nodes)
    found = predict(data, tier, *way, order="block", loading=Loading(nodes=nodes))
    each = predict(data, tier, *way, loading=Loading(nodes=nodes))
    assert 0 < found.epoch_requests <= each.epoch_requests * (1 + 1e-9)
    assert found.epoch_bytes > 0
