"""Record the file accesses of a command: a tracer runs it, and its output becomes a compact Parquet trace."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tiering.errors import MachineError, UsageError, from_os_error
from tiering.literals import Tracer
from tiering.system.signals import passing_on
from tiering.units import counted, format_percent

if TYPE_CHECKING:
    # Imported when the command runs: Polars takes as long to start as many a command to end.
    from tiering.trace.parquet_writer import TraceWriter
    from tiering.trace.readers.base import Damage

#: The calls that strace's reader understands (strace_calls.CALLS), without those that only describe a file.
ASKED = (
    *("open", "openat", "openat2", "creat", "close", "close_range", "lseek", "_llseek"),
    *("read", "readv", "pread", "pread64", "preadv", "preadv2"),
    *("write", "writev", "pwrite", "pwrite64", "pwritev", "pwritev2"),
    *("sendfile", "sendfile64", "copy_file_range", "splice", "mmap", "mmap2"),
    *("dup", "dup2", "dup3", "fcntl", "fcntl64"),
    *("fork", "vfork", "clone", "clone2", "clone3", "execve", "execveat"),
    *("fsync", "fdatasync", "sync_file_range", "truncate", "truncate64", "ftruncate", "ftruncate64"),
    *("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "getdents", "getdents64"),
    *("io_uring_setup", "io_uring_enter", "io_submit"),
)
#: The question mark makes strace tolerate calls that the architecture lacks.
_FILTER = f"trace={','.join(f'?{name}' for name in ASKED)}"
#: Frequent signals that end nothing. If they do end a process, strace does not report it.
_OFTEN = "CHLD,ALRM,PROF,VTALRM,URG,WINCH,IO,CONT,USR1,USR2"
FLAGS = ("-f", "--seccomp-bpf", "-ttt", "-T", "-y", "-s", "1", "-q", "-e", f"signal=!{_OFTEN}", "-e", _FILTER)
_LIBRARY_ALONE = (
    "DFTracer only sees calls of the C library, so the verdict on the whole run is a forecast. Record the run with "
    "strace to judge it."
)
#: B. strace stops the command only if this much of its output waits.
_PIPE = 1 << 20
#: B/ms. strace writes a few MB/s at most.
_FASTEST = 1 << 15


@dataclass(frozen=True, slots=True)
class Recording:
    """The result of a recording.

    Attributes:
        path: The trace.
        status: Exit status of the command, 128 + n if signal n ended it.
        events: How many events the trace has.
        bytes_read, bytes_written: B in these events.
        counted_read, counted_written: B that the kernel counted for the command and its children (/proc/PID/io), or
            None.
        mapped_bytes: B of mapped data files, an upper bound of the accesses through mappings.
        notes: Remarks for the user; the trace has them as well.
    """

    path: Path
    status: int
    events: int
    bytes_read: int
    bytes_written: int
    counted_read: int | None
    counted_written: int | None
    mapped_bytes: int
    notes: list[str]


def record(
    command: Sequence[str], output: str | os.PathLike[str] = "trace.parquet", *, backend: Tracer = "strace"
) -> Recording:
    """Run a command and record its reads, writes, opens and mappings as a trace.

    The command gets this process's standard streams, and the signals that would end this process.

    Args:
        command: The program and its arguments.
        output: The Parquet file to write. It appears whole or not at all.
        backend: "strace" sees every system call. "dftracer" costs less, but sees only calls of the C library.

    Returns:
        The exit status of the command, and the counts of the recording.

    Raises:
        UsageError: If the command, or the directory of the output, does not exist.
        MachineError: If the tracer is not installed, or may not trace.

    Example:
        >>> record(["python", "train.py"], "train.parquet")  # doctest: +SKIP
    """
    to = Path(output)
    if not command or shutil.which(command[0]) is None:
        found = repr(command[0]) if command else "nothing"
        raise UsageError("tiering trace", expected="a command", found=found, action="Type: tiering trace -- COMMAND")
    if not to.absolute().parent.is_dir():
        raise UsageError(str(to), expected="a directory to write to", found="none", action="Make it first.")
    with tempfile.TemporaryDirectory(dir=to.absolute().parent, prefix=f".{to.name}.") as name:
        work = Path(name)
        try:
            return (_with_strace if backend == "strace" else _with_dftracer)(command, to, work)
        except OSError as error:
            raise from_os_error(error) from error


def _with_strace(command: Sequence[str], to: Path, work: Path) -> Recording:
    tracer = shutil.which("strace")
    if tracer is None:
        raise MachineError("strace", expected="strace", found="none", action="Install it: apt install strace")
    reading, writing = os.pipe()
    with suppress(OSError):
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _PIPE)
    words = [tracer, *FLAGS, "-o", f"/proc/self/fd/{writing}", "--", *command]
    strace = subprocess.Popen(words, pass_fds=[writing])  # noqa: S603 - no shell
    os.close(writing)
    with passing_on(lambda: _child(strace.pid)):
        try:
            events, damage, text_bytes = _converted(reading, to, work)
        except BaseException:
            # Let the command finish: without its tracer, the traced calls would fail.
            for _ in _blocks(reading):
                pass
            strace.wait()
            raise
        finally:
            os.close(reading)
        # The process has ended but is not reaped yet, so its final counts can be read.
        os.waitid(os.P_PID, strace.pid, os.WEXITED | os.WNOWAIT)
        read, written = _kernel_counts(strace.pid)
        status = strace.wait()
    if not text_bytes and status:
        raise MachineError(
            "strace", expected="leave to trace", found=f"exit status {status}", action="Allow ptrace, or trace as root."
        )
    # strace itself writes only its text.
    written = None if written is None else max(0, written - text_bytes)
    # strace ends like its command, by the same signal.
    return _finished(events, to, 128 - status if status < 0 else status, damage, read, written)


def _converted(reading: int, to: Path, work: Path) -> tuple[TraceWriter, Damage, int]:
    """Turn strace's text into events as it arrives. Return them, the problems of the text, and its length in B."""
    from tiering.trace.parquet_writer import TraceWriter  # noqa: PLC0415
    from tiering.trace.readers import strace  # noqa: PLC0415
    from tiering.trace.readers.base import Damage, byte_blocks_of  # noqa: PLC0415

    text_bytes = 0

    def counted() -> Iterator[bytes]:
        nonlocal text_bytes
        for block in _blocks(reading):
            text_bytes += len(block)
            yield block

    damage, events = Damage(to, "strace", lenient=True), TraceWriter(work)
    lines = ((number, block.decode("latin-1").split("\n")) for number, block in byte_blocks_of(counted(), damage))
    for batch in strace.events(lines, damage):
        events.add(batch)
    return events, damage, text_bytes


def _blocks(pipe: int) -> Iterator[bytes]:
    """Read a pipe to its end, in blocks as large as possible without blocking the writer.

    strace writes line by line. A reader that waits for data wakes up for every line, which costs the traced command
    more than the tracing does (benchmarks/tracing.py). This reader waits for the end, and polls in between.
    """
    pause = max(1, fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) // _FASTEST)
    ended = select.poll()
    ended.register(pipe, 0)
    while True:
        ended.poll(pause)
        block = os.read(pipe, _PIPE)
        if not block:
            return
        yield block


def _with_dftracer(command: Sequence[str], to: Path, work: Path) -> Recording:
    spec = importlib.util.find_spec("dftracer")
    directories = [Path(directory) for directory in (spec.submodule_search_locations or [])] if spec is not None else []
    library = next((file for directory in directories for file in directory.rglob("libdftracer_preload.so")), None)
    if library is None:
        raise MachineError(
            "dftracer",
            expected="its wheel",
            found="none",
            action="pip install 'tiering[dftracer]', or use `backend=\"strace\"`.",
        )
    logs = work / "logs"
    logs.mkdir()
    environment = {
        "LD_PRELOAD": ":".join(filter(None, [str(library), os.environ.get("LD_PRELOAD", "")])),
        "DFTRACER_ENABLE": "1",
        "DFTRACER_INIT": "PRELOAD",
        "DFTRACER_INC_METADATA": "1",
        "DFTRACER_DATA_DIR": "all",
        "DFTRACER_LOG_FILE": str(logs / "log"),
    }
    process = subprocess.Popen(list(command), env=os.environ | environment)  # noqa: S603
    with passing_on(lambda: process.pid):
        status = process.wait()
    status = 128 - status if status < 0 else status
    if not any(file.stat().st_size for file in logs.iterdir()):
        raise MachineError(
            "dftracer",
            expected="a log of the command's calls",
            found="none",
            action='Use `backend="strace"`: DFTracer sees no programs that are linked statically.',
        )
    from tiering.trace.parquet_writer import TraceWriter  # noqa: PLC0415
    from tiering.trace.readers import read_trace  # noqa: PLC0415
    from tiering.trace.readers.base import Damage  # noqa: PLC0415

    trace, events = read_trace(logs, lenient=True), TraceWriter(work)
    for batch in trace.batches:
        events.add(batch)
    damage = Damage(to, trace.format, lenient=True)
    damage.skipped, damage.gaps, damage.notes = trace.skipped_lines, trace.gaps, [_LIBRARY_ALONE]
    return _finished(events, to, status, damage, None, None)


def _finished(
    events: TraceWriter, to: Path, status: int, damage: Damage, counted_read: int | None, counted_written: int | None
) -> Recording:
    """Write the trace, and note how complete it is."""
    notes = [
        _compared(events.bytes_read, counted_read, "read"),
        _compared(events.bytes_written, counted_written, "written"),
        f"{counted(damage.skipped, 'line')} of the tracer could not be read." if damage.skipped else "",
    ]
    lost = [each for each in notes if each]
    kept = [*lost, *damage.notes]
    gaps = [*damage.gaps, *(["the trace does not hold all that the kernel counted"] if lost else [])]
    if status and not gaps:
        gaps.append(f"it ended with exit status {status}")
    whole = gaps if damage.complete or gaps else None
    events.finish(to, kept, whole, failed=sorted(damage.failed), missing=damage.missing or bool(lost))
    sums = (events.events, events.bytes_read, events.bytes_written)
    return Recording(to, status, *sums, counted_read, counted_written, events.mapped_bytes, kept)


def _compared(traced: int, counted: int | None, what: str) -> str:
    """Return a note if the trace has clearly fewer bytes than the kernel counted, else ""."""
    if counted is None or traced >= 0.99 * counted - (1 << 16):
        return ""
    return (
        f"The trace holds {format_percent(traced / counted, digits=3)} of the bytes that the kernel counted as {what}."
    )


def _kernel_counts(pid: int) -> tuple[int | None, int | None]:
    """Return rchar and wchar, in B, of a process and its ended children (proc(5), /proc/PID/io)."""
    try:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return int(fields["rchar"]), int(fields["wchar"])
    except (OSError, ValueError, KeyError):
        return None, None


def _child(strace: int) -> int | None:
    """Return the process of the command, which is strace's child."""
    children = Path(f"/proc/{strace}/task/{strace}/children").read_text().split()
    return int(children[0]) if children else None
