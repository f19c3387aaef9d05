"""Recognising a trace, and refusing what is none."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tiering.errors import TraceError
from tiering.trace.readers import read_trace

TRACES = Path(__file__).parents[3] / "fixtures" / "traces"


def test_a_trace_is_recognised_by_what_it_holds(tmp_path):
    disguised = tmp_path / "job.json"
    disguised.write_bytes((TRACES / "sqlite_log.strace").read_bytes())
    trace = read_trace(disguised)
    assert (trace.format, trace.level, trace.path) == ("strace", "file", disguised)
    assert sum(map(len, trace.batches)) > 1000
    assert trace.skipped_lines == 0


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"\n \n", "nothing but white space"),
        (b"\x7fELF\0\1\2" * 1000, "binary data"),
        (b"hello, world\nthis is text\n", "text that begins with 'hello, world'"),
        (gzip.compress(b"hello", mtime=0), "text that begins with 'hello'"),
        (gzip.compress(b"1.1 read(3, 4) = 5\n" * 1000, mtime=0)[:20], "broken compressed data"),
        (b"\x1f\x8b" + b"junk" * 9, "broken compressed data"),
        (gzip.compress(b"", mtime=0), "an empty file"),
    ],
)
def test_what_is_no_trace_is_refused_with_what_was_found(tmp_path, content, found):
    path = tmp_path / "job.strace"
    path.write_bytes(content)
    with pytest.raises(TraceError) as caught:
        list(read_trace(path).batches)
    assert str(path) in str(caught.value)
    assert found in caught.value.found
    assert "strace" in caught.value.expected
    assert caught.value.exit_code == 3


def test_a_directory_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(TraceError, match="found a directory"):
        read_trace(tmp_path)
    with pytest.raises(TraceError, match="found no such file"):
        read_trace(tmp_path / "none")
    with pytest.raises(TraceError):
        read_trace(tmp_path / "no" / "such" / "file")


def test_gzip_that_breaks_off_names_the_line(tmp_path):
    path = tmp_path / "job.strace.gz"
    path.write_bytes((TRACES / "train_loop.strace.gz").read_bytes()[:-5000])
    with pytest.raises(TraceError, match=r"line [\d,]+: .*broken compressed data"):
        list(read_trace(path).batches)
    trace = read_trace(path, lenient=True)
    assert sum(map(len, trace.batches)) > 6500  # of 7,065: what came before the break is not lost
    assert trace.skipped_lines >= 1
