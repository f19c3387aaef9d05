"""A file that is written in blocks holds what was written, and knows its size and CRC-32C, whatever disk it is on."""

from __future__ import annotations

import errno
import random
import tempfile
from pathlib import Path

import google_crc32c
import pytest

from tiering.storage.block_file import BlockFile

BLOCK = 4 << 20
HEAD = 8192
SIZES = (HEAD, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 4096, 2 * BLOCK, 2 * BLOCK + 777)


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
        with path.open("wb") as file, BlockFile(file, local=True) as written:
            written.write(bytes(HEAD))
            for begin in range(HEAD, size, pieces):
                written.write(data[begin : begin + pieces])
            written.finish(data[:HEAD])
        assert path.read_bytes() == data
        assert (written.size, written.crc) == (size, google_crc32c.value(data))


def test_a_file_elsewhere_is_given_the_same_bytes(tmp_path):
    data = random.Random(1).randbytes(2 * BLOCK + 777)
    with (tmp_path / "upload").open("wb") as upload, BlockFile(upload, local=False) as written:
        written.write(data)
        written.finish()
    assert (tmp_path / "upload").read_bytes() == data
    assert (written.size, written.crc) == (len(data), google_crc32c.value(data))


@pytest.mark.parametrize("size", [100, 3 * BLOCK])
def test_a_full_disk_is_an_error(size):
    def write():
        with Path("/dev/full").open("wb", buffering=0) as file, BlockFile(file, local=True) as written:
            written.write(bytes(size))
            written.finish()

    with pytest.raises(OSError, match="No space") as raised:
        write()
    assert raised.value.errno == errno.ENOSPC
