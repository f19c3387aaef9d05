"""bench: measures what it says, in the same way for every store."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tiering.errors import UsageError
from tiering.serve.bench import bench
from tiering.store.pagecache import drop


def test_stores_are_measured_against_the_folder(packed, photos):
    folder, store = bench([photos, packed], epochs=2, batch_size=64)
    assert folder.kind == "folder"
    assert folder.first_vs_folder == folder.later_vs_folder == 1
    assert store.samples == folder.samples == 300
    assert store.later_vs_folder == pytest.approx(store.later_samples_per_s / folder.later_samples_per_s)
    assert store.first_samples_per_s * store.first_seconds == pytest.approx(300)


def test_without_a_folder_there_is_no_ratio(packed):
    assert bench([packed], epochs=2)[0].later_vs_folder is None


def test_one_epoch_is_too_few(packed):
    with pytest.raises(UsageError, match="at least 2"):
        bench([packed], epochs=1)


def test_dropping_says_that_memory_cannot_be_dropped():
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(b"x" * 8192)
        file.flush()
        assert drop([Path(file.name)]) is False
        assert Path(file.name).read_bytes() == b"x" * 8192
