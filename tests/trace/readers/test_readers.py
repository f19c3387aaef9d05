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
    with pytest.raises(TraceError, match=r"none: no such file\. Check the path\."):
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


REFUSED = {
    "a table without a size": (
        "time,op,file\n1,r,a\n",
        "csv, a table with a header, which names time (time)",
        "`columns`",
    ),
    "a table of other names": ("when,kind,where,much\n1000,0,8,16\n", "text that begins with 'when,kind", "`columns`"),
    "a torn block trace": (
        "128166372003061629,usr,0,Read,7014609920,24576,41286\nwhat is this\n",
        "closest to msr, an MSR Cambridge block trace: 1 of its first 2 lines are such lines, but this one is not: 'what",
        "`columns`",
    ),
    "a log of fio to come": ("fio version 4 iolog\n/d/f add\n", "closest to fio", "tiering trace"),
    "one line of biosnoop's": (
        "0.000004 supervise 1950 xvda1 W 13092560 4096 0.74\n",
        "closest to biosnoop, biosnoop's text (bcc), but it has too few lines to be sure, or lines of several kinds",
        "tiering trace",
    ),
    "ext4slower with and without -j": (
        "06:49:17 bash 3616 R 128 0 7.75 cksum\n123456,bash,3616,R,128,0,77,cksum\n",
        "but it has too few lines to be sure, or lines of several kinds",
        "tiering trace",
    ),
    "prose": ("hello\nworld\n", "text that begins with 'hello'", "tiering trace"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_closest_format_and_what_to_do(tmp_path, name):
    content, found, action = REFUSED[name]
    path = tmp_path / "t"
    path.write_text(content)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert found in caught.value.found
    assert action in caught.value.action
    assert ".. " not in str(caught.value)
