"""The performance model counts with the sizes that the loader, the stores and the packer really use."""

from __future__ import annotations

import inspect
import io
import time

import numpy as np
import pytest
from PIL import Image

from tiering import io_sizes
from tiering.advice.catalog import find_tier, load_catalog
from tiering.advice.cpu_costs import typical_costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.device_time import group_of, is_read_whole
from tiering.packing.convert import convert
from tiering.packing.settings import Pixels
from tiering.serve.loader import Loader
from tiering.serve.orders import BlockShuffle
from tiering.serve.prefetch import announced_ahead
from tiering.store.open import open_store
from tiering.system.page_cache import drop, missing_bytes


def eventually(met, seconds=60.0):
    end = time.monotonic() + seconds
    while not met() and time.monotonic() < end:
        time.sleep(0.01)
    return met()


def photos(directory, number, size):
    rng = np.random.default_rng(1)
    directory.mkdir()
    for name in range(number):
        image = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(image, "JPEG")
        (directory / f"{name}.jpg").write_bytes(image.getvalue())
    return directory


def test_a_chunk_of_pixels_holds_as_many_rows_as_the_model_counts(tmp_path):
    convert(photos(tmp_path / "photos", 40, (32, 32)), tmp_path / "store", "zarr", pixels=Pixels(32, 32), codec="zstd")
    packed = open_store(tmp_path / "store")
    row = 32 * 32 * 3
    assert packed.block == typical_costs(DatasetSizes(40, 40_000, row_bytes=row)).codings["zstd"].chunk == 5


def test_a_chunk_of_encoded_images_is_as_large_as_the_model_counts(tmp_path):
    convert(photos(tmp_path / "photos", 300, (64, 64)), tmp_path / "store", "zarr", codec="zstd")
    assert open_store(tmp_path / "store").manifest.settings.chunk_bytes == io_sizes.CHUNK_BYTES


def test_the_loader_prefetches_as_much_as_the_model_counts():
    assert inspect.signature(Loader).parameters["prefetch"].default == io_sizes.PREFETCH_BYTES


def test_a_block_order_has_the_blocks_and_windows_that_the_model_counts(tmp_path):
    convert(photos(tmp_path / "photos", 40, (64, 64)), tmp_path / "store", "lmdb")
    packed = open_store(tmp_path / "store")
    item = packed.manifest.image_bytes / 40
    assert packed.block == io_sizes.BLOCK_BYTES * 40 // packed.manifest.image_bytes
    assert BlockShuffle().window * packed.block == pytest.approx(group_of(item, "block"), rel=0.01)


def test_a_small_store_is_read_as_a_whole_before_its_first_samples(tmp_path):
    convert(photos(tmp_path / "photos", 60, (256, 256)), tmp_path / "store", "lmdb")
    packed = open_store(tmp_path / "store")
    nvme = find_tier(load_catalog(), "nvme")
    assert is_read_whole(packed.manifest.image_bytes, nvme, "lmdb")
    assert not is_read_whole(io_sizes.LITTLE_BYTES + 1, nvme, "lmdb")
    if not drop(packed.files()) or missing_bytes(packed.files(), 1 << 30) is None:
        pytest.skip("the page cache keeps its files, or does not say so")
    packed.announce(np.array([0]))
    assert eventually(lambda: missing_bytes(packed.files(), 1 << 30) == 0)


def test_the_loader_announces_as_many_samples_at_once_as_the_model_counts(tmp_path):
    told = []

    class Recorder:
        manifest = type("Manifest", (), {"image_bytes": 10_000 * 2000})
        resident = False

        def __len__(self):
            return 2000

        def announce(self, indices):
            told.append(len(indices))

    batches = [np.arange(at, at + 64) for at in range(0, 1920, 64)]
    list(announced_ahead(Recorder(), batches, 64, io_sizes.PREFETCH_BYTES))
    assert told[0] == io_sizes.ANNOUNCED_BYTES // (10_000 * 64) * 64
    assert abs(told[0] - group_of(10_000)) < 64
