"""What the kernel is told: it is read, and nothing else is. Where it cannot be told, reads still work."""

from __future__ import annotations

import itertools
import mmap
import os
import shutil
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiering
from tiering.store import mapped_files as mapped
from tiering.store.folder_store import FolderStore
from tiering.store.mapped_files import MappedFiles, _merged
from tiering.system.madvise import will_need, will_need_file
from tiering.system.page_cache import drop, missing_bytes

PAGE = mmap.PAGESIZE
SIZE = 3 << 20


@pytest.fixture
def cold(tmp_path):
    """A file that lies on a disk and not in memory."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(SIZE))
    assert drop([path]), f"these tests need a temporary directory on a disk, not in memory: {tmp_path}"
    assert missing_bytes([path], SIZE) == SIZE
    return path


def _soon(condition):
    """Wait until what the kernel does on its own is done."""
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.05)
    return False


def _soon_at_most(missing, path, announce):
    """Wait until a file lacks no more than `missing` bytes; announce again what the kernel let go, as it may."""

    def condition():
        assert announce()
        time.sleep(0.05)
        return missing_bytes([path], 1 << 30) <= missing

    return _soon(condition)


def _mapped(path):
    with path.open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    held.madvise(mmap.MADV_RANDOM)
    return held, np.frombuffer(held, dtype=np.uint8).ctypes.data


def test_all_of_a_long_range_is_read_and_nothing_beside_it(cold):
    # Longer than the device's read-ahead and its largest request: of one range the kernel would read no more.
    _, base = _mapped(cold)
    begin, length = np.array([base + 5 * PAGE], dtype=np.uint64), np.array([2 << 20], dtype=np.uint64)
    assert _soon_at_most(SIZE - (2 << 20), cold, lambda: will_need(begin, length))
    assert missing_bytes([cold], SIZE) >= SIZE - (2 << 20) - (128 << 10)


def test_more_ranges_than_a_call_takes_are_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(6000 * PAGE))
    assert drop([path])
    _, base = _mapped(path)
    begin = base + np.arange(0, 6000, 3, dtype=np.uint64) * np.uint64(PAGE)
    assert _soon_at_most(4000 * PAGE, path, lambda: will_need(begin, np.full(2000, PAGE, dtype=np.uint64)))
    assert missing_bytes([path], 1 << 30) >= 3000 * PAGE


def test_what_is_no_map_is_refused(cold):
    held, base = _mapped(cold)
    length = np.array([100], dtype=np.uint64)
    assert will_need(np.array([base + 1], dtype=np.uint64), length) is False
    assert will_need(np.zeros(1, dtype=np.uint64), length) is False
    assert held[:1000] == cold.read_bytes()[:1000]


def test_a_whole_file_is_read(cold):
    will_need_file(cold)
    assert _soon(lambda: missing_bytes([cold], SIZE) == 0)
    will_need_file(cold.parent / "gone")


def test_missing_bytes_stop_at_enough_and_know_nothing_of_files_that_are_gone(cold):
    other = cold.parent / "other"
    other.write_bytes(b"x" * (PAGE + 1))
    assert missing_bytes([other], 0) == 0
    assert missing_bytes([cold, cold], 100) == SIZE
    assert missing_bytes([cold, other, cold], 4 * SIZE) == 2 * SIZE
    assert missing_bytes([cold.parent / "gone"], 0) is None


def test_files_that_are_almost_there_are_completed(cold):
    files = MappedFiles([cold], [SIZE])
    assert files.resident() is False
    # The glance has asked for what is missing; the next one is a second away.
    assert _soon(files.resident)


def test_a_folder_is_announced_and_left_alone_where_it_is_there(photos, tmp_path, monkeypatch):
    # A folder of this test's own: other tests read and map the shared one meanwhile.
    shutil.copytree(photos, tmp_path / "photos")
    store = FolderStore(tmp_path / "photos")
    named = store.files()
    assert drop(named)
    store.announce(np.arange(100))
    assert _soon(lambda: missing_bytes(named[:100], 1 << 30) == 0)
    assert missing_bytes(named[100:], 0) != 0
    monkeypatch.setattr("tiering.store.folder_store.will_need_file", lambda path: pytest.fail(f"announced {path}"))
    store.announce(np.arange(100))


@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_announced_samples_are_read_with_and_without_the_call(photos, tmp_path, monkeypatch, offered, codec):
    if not offered:
        monkeypatch.setattr(mapped, "will_need", lambda *_: False)
    tiering.convert(photos, tmp_path / "store", "zarr", codec=codec, shards=tiering.Shards(32 << 20))
    store = tiering.open_store(tmp_path / "store")
    # Too large to be completed by the glance, as far as it knows.
    monkeypatch.setattr(mapped, "LITTLE_BYTES", 0)
    assert drop(store.files())
    whole = missing_bytes(store.files(), 1 << 30)
    store.announce(np.arange(100))
    assert _soon(lambda: missing_bytes(store.files(), 1 << 30) < whole * 0.8)
    assert missing_bytes(store.files(), 1 << 30) > whole * 0.3
    assert len(store.read(np.arange(300))) == 300


ranges = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 10**6), st.integers(1, 2 * 10**5)), min_size=1, max_size=60
)


@given(ranges)
def test_merged_ranges_cover_all_and_little_more(given_ranges):
    file, begin, size = (np.array(column, dtype=np.int64) for column in zip(*given_ranges, strict=True))
    files, begins, ends = _merged(file, begin, begin + size)
    merged = list(zip(files, begins.tolist(), ends.tolist(), strict=True))
    for each, first, length in given_ranges:
        assert any(f == each and b <= first and first + length <= e for f, b, e in merged)
    assert all(b % PAGE == 0 for _, b, _ in merged)
    assert merged == sorted(merged)
    for (one, _, end), (other, start, _) in itertools.pairwise(merged):
        assert one != other or start > end
    covered = sum(e - b for _, b, e in merged)
    assert covered <= int(size.sum()) + len(file) * (mapped.JOINED_GAP_BYTES + PAGE)
