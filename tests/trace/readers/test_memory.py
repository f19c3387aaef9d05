"""No trace, however it was made, takes more memory than a bounded amount: each is read in a process of its own."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from tests.trace.readers.test_formats import DOCUMENTED, TRACES

MEASURE = """
import resource, sys
from tiering.errors import TieringError
from tiering.trace.readers import read_trace

def read(path):
    try:
        return sum(map(len, read_trace(path, lenient=True).batches))
    except TieringError:
        return -1

read(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    read(path)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
#: MB, and what a reader may hold of it at once: some blocks of 8 MiB as text and as columns.
TEXT, ALLOWED = 300, 200


def _packed(path: Path, head: bytes, filler: bytes) -> Path:
    """Write a trace that grows a thousandfold when it is opened."""
    path.write_bytes(gzip.compress(head) + gzip.compress(filler * ((1 << 20) // len(filler))) * TEXT)
    return path


def _grown(start: Path, *paths: Path) -> list[int]:
    """Read a small trace, then the others; give the MiB that the process has grown by, after each."""
    words = [sys.executable, "-c", MEASURE, str(start), *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def _head(name: str) -> bytes:
    if name == "strace":
        return (TRACES / "sqlite_log.strace").read_bytes()
    content = DOCUMENTED[name][0]
    return content if isinstance(content, bytes) else content.encode()


@pytest.mark.parametrize("name", ["strace", "msr", "dftracer", "cloudtrail"])
def test_an_endless_line_is_never_held_whole(tmp_path, name):
    small = tmp_path / "small"
    small.write_bytes(_head(name))
    (grown,) = _grown(small, _packed(tmp_path / "endless", _head(name), b"7"))
    assert grown < ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["blkparse", "s3-log", "vscsi", "gcs-log", "minio-audit", "minio-trace", "perf", "fsslower", "procmon"]
)
def test_an_endless_line_of_a_log_is_never_held_whole(tmp_path, name):
    small = tmp_path / "small"
    small.write_bytes(_head(name))
    (grown,) = _grown(small, _packed(tmp_path / "endless", _head(name), b"7"))
    assert grown < ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["strace", "msr", "blkparse", "dftracer", "s3-log", "fio", "gcs-log", "minio-audit", "fsslower"]
)
def test_endless_lines_are_never_held_together(tmp_path, name):
    small, head = tmp_path / "small", _head(name)
    small.write_bytes(head)
    line = head.splitlines(keepends=True)[-1]
    (grown,) = _grown(small, _packed(tmp_path / "lines", head, line))
    assert grown < ALLOWED


def test_a_zstandard_frame_that_repeats_one_byte_is_read_in_parts(tmp_path):
    head = _head("msr")
    (tmp_path / "small").write_bytes(head)
    (tmp_path / "bomb").write_bytes(zstandard.ZstdCompressor().compress(head + bytes(TEXT << 20)))
    (grown,) = _grown(tmp_path / "small", tmp_path / "bomb")
    assert grown < ALLOWED
