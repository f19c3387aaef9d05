"""Ranges of mapped files: copies of many small ones are the same bytes as their views."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiering.store import mapped_files
from tiering.store.mapped_files import MappedFiles

SIZES = (5000, 4096, 90, 12_288)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    made = [tmp_path_factory.mktemp("files") / str(number) for number in range(len(SIZES))]
    for path, size in zip(made, SIZES, strict=True):
        path.write_bytes(os.urandom(size))
    return made


#: Files, offsets and sizes of ranges; an offset that is too large stands for the last one.
RANGES = st.lists(
    st.tuples(st.integers(0, len(SIZES) - 1), st.integers(0, 13_000), st.integers(0, 90)), min_size=1, max_size=60
)


@given(RANGES, st.sampled_from([2, 100]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_copies_are_the_bytes_of_the_views(paths, monkeypatch, places, kept):
    monkeypatch.setattr(mapped_files, "KEPT", kept)
    files = MappedFiles(paths, SIZES)
    file, offset, size = (np.array(column, dtype=np.int64) for column in zip(*places, strict=True))
    offset = np.minimum(offset, np.array(SIZES)[file] - size)
    expected = [bytes(view) for view in files.views(file, offset, size)]
    files.close()  # so that the copies map the files themselves
    copies = files.copied(file, offset, size)
    if copies is None:
        few = len(set(file.tolist())) <= kept
        alike = 0 < size.max() * len(size) <= 4 * size.sum()
        long_enough = size.max() <= min(SIZES[number] for number in file.tolist())
        assert not (few and alike and long_enough)
        return
    assert [copies.data[begin:end] for begin, end in zip(copies.begin, copies.end, strict=True)] == expected


@pytest.mark.parametrize(
    ("offset", "size"),
    [(-1, 50), (4951, 50), (1 << 62, 50), (-(1 << 63), 50), ((1 << 63) - 1, 50), (0, -1), (0, 1 << 40)],
)
def test_a_range_outside_its_file_is_not_copied(paths, offset, size):
    files = MappedFiles(paths, SIZES)
    offsets, sizes = np.array([0, 100, offset]), np.array([50, 50, size])
    assert files.copied(np.zeros(3, np.int64), offsets, sizes) is None
    assert files.copied(np.zeros(2, np.int64), offsets[:2], sizes[:2]) is not None


def test_copies_stay_valid_without_the_files(paths):
    files = MappedFiles(paths, SIZES)
    copies = files.copied(np.zeros(9, np.int64), np.arange(9), np.full(9, 40))
    files.close()
    whole = paths[0].read_bytes()
    assert [copies.data[begin:end] for begin, end in zip(copies.begin, copies.end, strict=True)] == [
        whole[at : at + 40] for at in range(9)
    ]


def test_threads_that_map_a_file_at_the_same_time_share_its_map(tmp_path):
    """A map that another thread replaced would be unmapped while it is copied from: the process would die."""
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    code = f"""
import sys, threading
import numpy as np
from tiering.store.mapped_files import MappedFiles

sys.setswitchinterval(1e-6)
file, offset, size = np.zeros(64, np.int64), np.arange(64) * 1000, np.full(64, 40)
for _ in range(100):
    files, start = MappedFiles(["{tmp_path}/file"], [1 << 20]), threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (start.wait(), files.copied(file, offset, size))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
