"""Bytes that a dataset occupies, and what the device needs for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.advice.catalog import load_catalog
from tiering.advice.cpu_costs import Work, typical_costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.device_time import DevicePass
from tiering.advice.stored_size import stored_bytes

NVME = next(tier for tier in load_catalog() if tier.name == "nvme")
TINY = DatasetSizes(60_000, 60_000 * 921, row_bytes=32 * 32 * 3)


def seconds(data, store_format, codec="none", page_cache=0.0):
    return DevicePass(data, NVME, store_format, codec, typical_costs(data), page_cache).seconds()


def test_small_files_fill_pages_and_packed_ones_do_not():
    assert stored_bytes(TINY, "folder") == 60_000 * 4096
    assert stored_bytes(TINY, "folder", pages=False) == stored_bytes(TINY, "zarr") == TINY.bytes
    assert stored_bytes(TINY, "lmdb") == 60_000 * (921 + 16)
    assert stored_bytes(TINY, "pixels") == 60_000 * 3072
    costs = typical_costs(TINY)
    assert stored_bytes(TINY, "pixels", "zstd", costs=costs) == pytest.approx(
        60_000 * 3072 * costs.codings["zstd"].ratio
    )


def test_neighbours_are_read_together_where_memory_keeps_them():
    alone = seconds(TINY, "lmdb")
    assert alone == pytest.approx(60_000 * NVME.read_seconds(4096))
    kept = seconds(TINY, "lmdb", page_cache=10**12)
    assert stored_bytes(TINY, "lmdb") / NVME.random_bandwidth <= kept < alone / 2
    # Folders have no neighbours, and samples far from each other none that are near.
    assert seconds(TINY, "folder", page_cache=10**12) == seconds(TINY, "folder")
    far = DatasetSizes(10**7, 10**7 * 110_000)
    assert seconds(far, "lmdb", page_cache=1e15) == pytest.approx(seconds(far, "lmdb"), rel=1e-3)


def test_a_chunk_of_many_rows_is_read_for_each_unless_memory_keeps_it():
    rows = typical_costs(TINY).codings["zstd"].chunk
    assert rows == (16 << 10) // 3072
    assert seconds(TINY, "pixels", "zstd") == pytest.approx(rows * seconds(TINY, "pixels", "zstd", page_cache=1e12))


@given(st.floats(0, 1), st.floats(1e-9, 1), st.integers(1, 100))
def test_threads_divide_all_but_the_serial_share(serial, took, threads):
    work = Work(took, serial)
    assert work.on(1) == pytest.approx(took)
    assert took * serial <= work.on(threads) * (1 + 1e-9)
    assert work.on(threads) <= took * (1 + 1e-9)
