"""bench: measures what it says, in the same way for every store."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

import tiering
from tiering.errors import UsageError
from tiering.measure.bench import bench
from tiering.measure.device import random_read_bandwidth
from tiering.system.page_cache import drop, missing_bytes


def test_stores_are_measured_against_the_folder(packed, photos):
    folder, store = bench([photos, packed], epochs=2, batch_size=64)
    assert folder.kind == "folder"
    assert folder.first_vs_folder == folder.later_vs_folder == 1
    assert store.samples == folder.samples == 300
    assert store.later_vs_folder == pytest.approx(store.later_samples_per_s / folder.later_samples_per_s)
    assert store.first_samples_per_s * store.first_seconds == pytest.approx(300)


def test_cold_epochs_are_compared_with_the_device(photos, tmp_path):
    tiering.convert(photos, tmp_path / "photos.lmdb", "lmdb")
    shutil.copytree(photos, tmp_path / "photos")
    folder, store = bench([tmp_path / "photos", tmp_path / "photos.lmdb"], epochs=2)
    # No photograph is as long as a request, so the folder takes the limit of the store on the same device.
    assert folder.device_bytes_per_s == store.device_bytes_per_s > 0
    assert store.first_vs_device == pytest.approx(store.first_bytes_per_s / store.device_bytes_per_s)


def test_the_device_is_read_past_the_page_cache(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(8 << 20))
    assert drop([path])
    assert random_read_bandwidth([path], 0.2) > 0
    assert missing_bytes([path], 1 << 30) == 8 << 20


def test_what_lies_in_memory_or_is_short_has_no_device(tmp_path):
    (tmp_path / "short").write_bytes(bytes(1000))
    assert random_read_bandwidth([tmp_path / "short"]) is None
    assert random_read_bandwidth([]) is None


def test_without_a_folder_there_is_no_ratio(packed):
    assert bench([packed], epochs=2)[0].later_vs_folder is None


def test_an_open_store_stays_open_and_a_cache_is_measured_by_its_hits(packed, tmp_path):
    with tiering.cached(packed, 1 << 30, tmp_path / "cache") as store:
        (found,) = bench([store], epochs=3)
        assert store[0]
    assert found.hit_ratio == found.predicted_hit_ratio == 1
    assert found.samples == 300
    assert bench([packed], epochs=2)[0].hit_ratio is None


def test_one_epoch_is_too_few(packed):
    with pytest.raises(UsageError, match="at least 2"):
        bench([packed], epochs=1)


def test_dropping_says_that_memory_cannot_be_dropped():
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(b"x" * 8192)
        file.flush()
        assert drop([Path(file.name)]) is False
        assert Path(file.name).read_bytes() == b"x" * 8192
