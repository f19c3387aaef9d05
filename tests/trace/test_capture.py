"""Recording a command: real programs under the real tracers."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import pytest

from tiering.errors import MachineError, TraceError, UsageError
from tiering.trace.capture import record
from tiering.trace.capturing.strace import ASKED
from tiering.trace.profile import profile_trace
from tiering.trace.readers import read_trace
from tiering.trace.readers.strace_calls import CALLS, STATS
from tiering.trace.readers.strace_unnamed import UNNAMED
from tiering.workload.verdict import classify

LOOP = """
import sys, pathlib
for _ in range(3):
    for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        path.read_bytes()
pathlib.Path(sys.argv[2]).write_bytes(bytes(1_000_000))
"""


@pytest.fixture
def files(tmp_path):
    directory = tmp_path / "files"
    directory.mkdir()
    for number in range(100):
        (directory / f"{number:03}").write_bytes(os.urandom(10_000))
    return directory


@pytest.mark.parametrize("backend", ["tracepoints", "strace", "dftracer"])
def test_three_passes_are_seen_as_three_epochs(tmp_path, files, backend):
    trace = tmp_path / "trace.parquet"
    made = record([sys.executable, "-c", LOOP, str(files), str(tmp_path / "out")], trace, backend=backend)
    assert made.status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "out", "trace.parquet"]
    profile = profile_trace(trace)
    assert profile.format == "tiering"
    assert profile.bytes_read == 3_000_000
    assert profile.bytes_reread == 2_000_000
    assert profile.bytes_written == 1_000_000
    assert profile.epochs_found is not None
    assert profile.epochs_found.count == 3
    # DFTracer cannot see all of a run.
    assert profile.whole == (backend != "dftracer")
    assert any("DFTracer" in note for note in profile.notes) == (backend == "dftracer")


@pytest.mark.parametrize(
    "command",
    [
        "cp -r {files} {out}",
        "tar cf {out} {files}",
        "gzip -r -k {files}",
        "cat {files}/000 {files}/001 {files}/002 > {out}",
        "dd if=/dev/zero of={out} bs=100k count=50 conv=fsync",
    ],
)
def test_totals_agree_with_what_the_kernel_counted(tmp_path, files, command):
    words = ["sh", "-c", command.format(files=shlex.quote(str(files)), out=shlex.quote(str(tmp_path / "out")))]
    made = record(words, tmp_path / "trace.parquet")
    assert made.status == 0
    assert made.counted_read is not None
    assert made.counted_written is not None
    # What the kernel itself reads to start programs is counted too: some kB each.
    assert made.bytes_read == pytest.approx(made.counted_read, rel=0.01, abs=1 << 16)
    assert made.bytes_written == pytest.approx(made.counted_written, rel=0.01, abs=100)
    assert made.notes == []


#: Every kind of call that changes what a later one means: links, positions, duplicates, copies inside the kernel,
#: directories, forks, threads.
CALLS_OF_ALL_KINDS = """
import mmap, os, subprocess, sys, threading
os.chdir(sys.argv[1])
open("a", "wb").write(bytes(10240)); os.symlink("a", "link")
with open("link", "rb") as file: file.seek(100); file.read(10); file.seek(0, 2)
fd = os.open("a", os.O_RDONLY); os.pread(fd, 100, 5); os.preadv(fd, [bytearray(10), bytearray(20)], 7)
copy = os.dup(fd); os.read(copy, 33); os.read(fd, 44); os.close(fd)
out = os.open("b", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
os.sendfile(out, copy, 50, 500); os.sendfile(out, copy, None, 100); os.copy_file_range(copy, out, 77, 10, 20)
os.pwrite(out, b"xyz", 9); os.ftruncate(out, 50); os.fsync(out); os.close(out)
more = os.open("b", os.O_WRONLY | os.O_APPEND); os.write(more, b"hello"); os.close(more)
here = os.open(".", os.O_RDONLY | os.O_DIRECTORY); fd = os.open("a", os.O_RDONLY, dir_fd=here); os.read(fd, 3)
mmap.mmap(copy, 0, prot=mmap.PROT_READ)[:10]
if os.fork() == 0: os.read(copy, 5); os._exit(0)
os.wait()
thread = threading.Thread(target=lambda: open("a", "rb").read(17)); thread.start(); thread.join()
subprocess.run(["cat", "a"], stdout=subprocess.DEVNULL)
subprocess.run(["sh", "-c", "cd /; read x < " + os.path.abspath("a")])
"""


def test_the_kernel_records_what_strace_sees(tmp_path):
    seen = []
    for backend in ("tracepoints", "strace"):
        place, trace = tmp_path / "place", tmp_path / backend
        place.mkdir()
        made = record([sys.executable, "-c", CALLS_OF_ALL_KINDS, str(place)], trace, backend=backend)
        assert (made.backend, profile_trace(trace).whole) == (backend, True)
        events = pl.concat(read_trace(trace).batches)
        assert events["pid"].n_unique() == 4
        what = events.filter(pl.col("path").str.starts_with(str(place))).select("op", "path", "offset", "size", "flags")
        seen.append(sorted(what.rows(), key=repr))
        shutil.rmtree(place)
    assert seen[0] == seen[1]
    assert len(seen[0]) > 50


def test_calls_that_come_too_fast_are_counted_as_lost(tmp_path, files, monkeypatch):
    monkeypatch.setattr("tiering.system.call_recorder._RING", 4096)
    monkeypatch.setattr("tiering.trace.capturing.tracepoints._PAUSE", 0.3)
    made = record(["sh", "-c", f"cat {files}/*"], tmp_path / "t", backend="tracepoints")
    assert made.status == 0
    profile = profile_trace(tmp_path / "t")
    assert not profile.whole
    assert any("faster than they could be recorded" in gap for gap in profile.gaps)


#: Everything is imported before the rights are dropped, because the environment may be root's alone.
WITHOUT_RIGHTS = """
import os, sys
from tiering.trace.capture import record
record(["true"], sys.argv[1], backend="strace")
os.setuid(65534)
# Its counts may not be read.
made = record([sys.argv[3], "0.6"], sys.argv[2])
print(made.backend, made.refused)
"""


def test_without_rights_strace_records_and_the_reason_is_given(tmp_path):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o777)
        hidden = Path(place, "hidden")
        shutil.copy(shutil.which("sleep") or "", hidden)
        hidden.chmod(0o111)
        words = [sys.executable, "-c", WITHOUT_RIGHTS, str(tmp_path / "t"), f"{place}/t", str(hidden)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("strace ")
    assert "tracepoints: Operation not permitted" in done.stdout


def test_the_tracer_is_asked_for_what_its_reader_understands():
    assert sorted(ASKED) == sorted(CALLS.keys() - STATS - UNNAMED.keys())


def test_a_trace_that_cannot_be_written_leaves_the_command_alone(tmp_path, files, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tiering.trace.parquet_writer.TraceWriter.add", full)
    script = f"cp {files}/000 {tmp_path}/before; sleep 0.3; cp {files}/001 {tmp_path}/after"
    with pytest.raises(MachineError, match="space"):
        record(["sh", "-c", script], tmp_path / "t")
    assert (tmp_path / "after").read_bytes() == (files / "001").read_bytes()


def test_a_trace_of_several_parts_is_the_same(tmp_path, files, monkeypatch):
    words = [sys.executable, "-c", LOOP, str(files), str(tmp_path / "out")]
    whole = record(words, tmp_path / "whole")
    monkeypatch.setattr("tiering.trace.parquet_writer._PART", 100)
    monkeypatch.setattr("tiering.trace.readers.strace._BATCH", 50)
    parts = record(words, tmp_path / "parts")
    assert (parts.bytes_read, parts.bytes_written) == (whole.bytes_read, whole.bytes_written)
    columns = ["op", "path", "offset", "size"]
    one, other = (pl.concat(read_trace(tmp_path / name).batches).select(columns) for name in ("whole", "parts"))
    data = pl.col("path").str.starts_with(str(files))
    assert one.filter(data).equals(other.filter(data))


def test_status_input_and_output_are_the_commands(tmp_path):
    words = [sys.executable, "-m", "tiering.cli.app", "trace", "-o", str(tmp_path / "t"), "--"]
    script = "read line; echo got $line; exit 7"
    done = subprocess.run([*words, "sh", "-c", script], input="word\n", capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert done.stdout == "got word\n"
    assert "Wrote" in done.stderr
    assert list(read_trace(tmp_path / "t").batches)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_signals_reach_the_command(tmp_path, number):
    script = f"import signal, time; signal.signal({int(number)}, lambda *_: exit(9)); print('ready', flush=True)\n"
    script += "time.sleep(60)"
    words = [sys.executable, "-m", "tiering.cli.app", "trace", "-o", str(tmp_path / "t"), "--"]
    process = subprocess.Popen(
        [*words, sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(timeout=100) == 9
    assert (tmp_path / "t").exists()


def test_a_command_that_is_killed_leaves_its_trace(tmp_path):
    made = record(["sh", "-c", "cat /etc/passwd > /dev/null; kill -KILL $$"], tmp_path / "t")
    assert made.status == 128 + signal.SIGKILL
    assert made.events > 0


def test_mapped_data_are_named_with_their_bytes(tmp_path):
    data = tmp_path / "data.bin"
    data.write_bytes(bytes(1 << 20))
    script = "import mmap, sys; f = open(sys.argv[1]); m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ); m[::4096]"
    made = record([sys.executable, "-c", script, str(data)], tmp_path / "t")
    assert made.mapped_bytes == 1 << 20


#: A map of small blocks in a random order, dropped from memory before each pass, as it is with data larger than memory.
PASSES_OVER_A_MAP = """
import mmap, os, random, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
for epoch in range(3):
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    data = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    data.madvise(mmap.MADV_RANDOM)
    for block in random.Random(epoch).sample(range(128), 128):
        data[block << 16 : block + 1 << 16 : 512]
    data.close()
"""


@pytest.mark.parametrize("backend", ["tracepoints", "strace"])
def test_passes_over_a_mapped_file_lead_to_a_verdict(tmp_path, backend):
    data, trace = tmp_path / "data.bin", tmp_path / "t"
    data.write_bytes(os.urandom(2048 * 4096))
    os.sync()
    made = record([sys.executable, "-c", PASSES_OVER_A_MAP, str(data)], trace, backend=backend)
    assert made.mapped_reads, made
    profile = profile_trace(trace)
    assert profile.bytes_read == pytest.approx(3 * 2048 * 4096, rel=0.05)
    assert profile.reread_share == pytest.approx(2 / 3, rel=0.05)
    assert profile.epochs_found is not None
    assert profile.epochs_found.count == 3
    verdict = classify(profile)
    assert (verdict.workload, verdict.whole) == ("re-read-heavy", True)


def test_what_cannot_be_done_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="no-such-command"):
        record(["no-such-command"], tmp_path / "t")
    with pytest.raises(UsageError, match="a directory to write to"):
        record(["true"], tmp_path / "none" / "t")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "true").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(MachineError, match="apt install strace"):
        record(["true"], tmp_path / "t", backend="strace")
    assert [path.name for path in tmp_path.iterdir()] == ["tools"]


def test_a_failing_tracer_is_a_named_error(tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    strace = tools / "strace"
    strace.write_text("#!/bin/sh\necho 'strace: Operation not permitted' >&2\nexit 1\n")
    strace.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with pytest.raises(MachineError, match="leave to trace"):
        record(["true"], tmp_path / "t", backend="strace")
    assert not (tmp_path / "t").exists()


def test_a_damaged_trace_is_refused(tmp_path):
    record(["true"], tmp_path / "t")
    data = (tmp_path / "t").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(TraceError, match="whole Parquet file"):
        list(read_trace(tmp_path / "cut").batches)
    assert Path(tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("command", "gap"),
    [
        ("cat {files}/* > /dev/null", None),
        ("cat {files}/* > /dev/null; exit 3", "it ended with exit status 3"),
        ("cat {files}/* > /dev/null; kill -INT $$", "it was killed by SIGINT"),
        ("cat {files}/* > /dev/null; kill -KILL $$", "it was killed by SIGKILL"),
    ],
)
def test_a_recording_says_whether_the_run_came_to_its_end(tmp_path, files, command, gap):
    trace = tmp_path / "trace.parquet"
    record(["sh", "-c", command.format(files=files)], trace)
    profile = profile_trace(trace)
    assert profile.whole == (gap is None)
    assert profile.gaps == ([] if gap is None else [gap])


def test_a_recording_remembers_which_part_of_the_run_failed(tmp_path, files):
    trace, dies = tmp_path / "trace.parquet", tmp_path / "dies.py"
    dies.write_text("import os, sys\nfor path in os.scandir(sys.argv[1]):\n    open(path, 'rb').read()\nos.abort()\n")
    record(["sh", "-c", f"{sys.executable} {dies} {files}; echo done > {tmp_path}/done"], trace)
    profile = profile_trace(trace)
    assert (profile.whole, profile.gaps) == (True, [])
    assert profile.failed_share > 0.99
    assert not classify(profile).whole


@pytest.mark.parametrize("backend", ["tracepoints", "strace"])
def test_a_signal_without_a_name_ends_a_process_as_any_other(tmp_path, backend):
    trace = tmp_path / "trace.parquet"
    assert record(["sh", "-c", "kill -40 $$"], trace, backend=backend).status == 168
    assert not profile_trace(trace).whole


RANDOM_PAGES = """
import mmap, random, sys
file = open(sys.argv[1], "rb")
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
mapped.madvise(mmap.MADV_RANDOM)
pages = range(0, len(mapped), 4096)
for page in random.sample(pages, len(pages)):
    mapped[page]
"""


@pytest.fixture
def in_pieces(tmp_path):
    """Return a file of 16 MiB that is mapped in pieces of 2 MiB, whatever the disk's file system does."""
    place = tmp_path / "in-memory"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "huge=always", "tmpfs", str(place)], check=True)
    try:
        (place / "data").write_bytes(bytes(16 << 20))
        yield place / "data"
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_pages_that_come_two_mebibytes_at_a_time_may_all_have_been_read(tmp_path, in_pieces):
    # It ends before anybody looks at its memory.
    record([sys.executable, "-S", "-c", RANDOM_PAGES, str(in_pieces)], tmp_path / "trace.parquet")
    profile, size = profile_trace(tmp_path / "trace.parquet"), 16 << 20
    assert profile.bytes_read < size // 10
    assert profile.bytes_read + profile.bytes_mapped_unsure >= size


RUNS_OF_PAGES = """
import mmap, os, random, sys
other, path = sys.argv[1:]
data = os.open(path, os.O_RDONLY)
os.posix_fadvise(data, 0, 0, os.POSIX_FADV_DONTNEED)
os.posix_fadvise(data, 0, 0, os.POSIX_FADV_RANDOM)
for page in range(0, os.fstat(data).st_size, 4096):
    os.pread(data, 4096, page)
pieces = mmap.mmap(os.open(other, os.O_RDONLY), 0, prot=mmap.PROT_READ)
for piece in range(0, len(pieces), 2 << 20):
    pieces[piece]
mapped = mmap.mmap(data, 0, prot=mmap.PROT_READ)
for run in random.Random(0).sample(range(0, len(mapped) // 4096, 32), 128):
    for page in range(run, run + 24):
        mapped[page * 4096]
"""


def test_a_file_in_large_pieces_elsewhere_does_not_lengthen_the_runs_of_another(tmp_path, in_pieces):
    data, read = tmp_path / "data", 128 * 24 * 4096
    data.write_bytes(bytes(16 << 20))
    os.sync()
    command = [sys.executable, "-S", "-c", RUNS_OF_PAGES, str(in_pieces), str(data)]
    record(command, tmp_path / "trace.parquet")
    events = pl.read_parquet(tmp_path / "trace.parquet")
    # Each call of pread takes a page.
    mapped = events.filter(pl.col("path") == str(data), pl.col("op") == "read", pl.col("size") > 4096)["size"].sum()
    assert mapped == pytest.approx(read, rel=0.2)
    assert profile_trace(tmp_path / "trace.parquet").bytes_mapped_unsure >= read - mapped
