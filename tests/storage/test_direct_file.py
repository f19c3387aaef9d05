"""A file that is written past the page cache holds what was written, and knows its size and CRC-32C, whatever disk it is on."""

from __future__ import annotations

import errno
import random
import tempfile
from pathlib import Path

import google_crc32c
import pytest

from tiering.storage.direct_file import DirectFile

BUFFER = 2 << 20
HEAD = 8192
SIZES = (HEAD, BUFFER - 1, BUFFER, BUFFER + 1, BUFFER + 4096, 2 * BUFFER, 2 * BUFFER + 777)


@pytest.fixture(params=["disk", "memory"])
def directory(request, tmp_path):
    """A place on a disk, and one in a file system without a disk."""
    if request.param == "disk":
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.mark.parametrize("size", SIZES)
def test_it_holds_what_was_written_with_a_head_that_came_last(directory, size):
    data = random.Random(size).randbytes(size)
    path = directory / "file"
    for pieces in (5 << 20, 1_000_003, 9_973):
        with path.open("wb") as file, DirectFile(file, local=True) as written:
            written.write(bytes(HEAD))
            for begin in range(HEAD, size, pieces):
                written.write(data[begin : begin + pieces])
            written.finish(data[:HEAD])
        assert path.read_bytes() == data
        assert (written.size, written.crc) == (size, google_crc32c.value(data))


def test_a_file_elsewhere_is_given_the_same_bytes(tmp_path):
    data = random.Random(1).randbytes(2 * BUFFER + 777)
    with (tmp_path / "upload").open("wb") as upload, DirectFile(upload, local=False) as written:
        written.write(data)
        written.finish()
    assert (tmp_path / "upload").read_bytes() == data
    assert (written.size, written.crc) == (len(data), google_crc32c.value(data))


@pytest.mark.parametrize("size", [100, 3 * BUFFER])
def test_a_full_disk_is_an_error(size):
    def write():
        with Path("/dev/full").open("wb", buffering=0) as file, DirectFile(file, local=True) as written:
            written.write(bytes(size))
            written.finish()

    with pytest.raises(OSError, match="No space") as raised:
        write()
    assert raised.value.errno == errno.ENOSPC
