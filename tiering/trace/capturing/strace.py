"""Record a command with strace, which stops it at each call: slow for a command that does little else, but complete."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tiering.system.inherited_files import processor_seconds
from tiering.system.page_fault_events import PageFaultEvents, attached_to
from tiering.system.signals import passing_on
from tiering.trace.capturing.running import Run, UnavailableError, exit_status, held, kernel_counts

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
#: B. strace stops the command only if this much of its output waits.
_PIPE = 1 << 20
#: B/ms. strace writes a few MB/s at most.
_FASTEST = 1 << 15
#: ms without output before other work is done.
_IDLE = 200


def record_strace(command: Sequence[str], to: Path, work: Path) -> Run:
    """Run a command and record it, as `Backend` has it."""
    program = shutil.which("strace")
    if program is None:
        raise UnavailableError("strace is not installed (apt install strace)")
    reading, writing = os.pipe()
    with suppress(OSError):
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _PIPE)
    words = [program, *FLAGS, "-o", f"/proc/self/fd/{writing}", "--", *command]
    with held(words, pass_fds=[writing]) as strace:
        os.close(writing)
        faults = attached_to(strace.pid)
    with passing_on(lambda: _child(strace.pid)):
        try:
            run, text_bytes = _converted(reading, strace.pid, faults, to, work)
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
        read, written = kernel_counts(strace.pid)
        tracer = processor_seconds(strace.pid)
        status = strace.wait()
    if not text_bytes and status:
        raise UnavailableError(f"strace found no leave to trace (exit status {status}): allow ptrace, or trace as root")
    # strace itself writes only its text.
    written = None if written is None else max(0, written - text_bytes)
    # strace ends like its command, by the same signal.
    return replace(run, status=exit_status(status), counted_read=read, counted_written=written, tracer=tracer)


def _converted(reading: int, pid: int, faults: PageFaultEvents | None, to: Path, work: Path) -> tuple[Run, int]:
    """Turn strace's text into events as it arrives. Return them without a status, and the length of the text in B."""
    from tiering.trace.capturing.mapped_reads import MappedReads  # noqa: PLC0415
    from tiering.trace.parquet_writer import TraceWriter  # noqa: PLC0415
    from tiering.trace.readers import strace  # noqa: PLC0415
    from tiering.trace.readers.base import Damage, byte_blocks_of  # noqa: PLC0415

    text_bytes = 0

    def counted() -> Iterator[bytes]:
        nonlocal text_bytes
        for block in _blocks(reading, mapped.look):
            text_bytes += len(block)
            yield block

    damage, events = Damage(to, "strace", lenient=True), TraceWriter(work)
    mapped = MappedReads(pid, faults, events, without=True)
    lines = ((number, block.decode("latin-1").split("\n")) for number, block in byte_blocks_of(counted(), damage))
    for batch in strace.events(lines, damage):
        mapped.add(batch)
    shown, notes = mapped.finish()
    damage.notes += notes
    return Run(events, damage, 0, completeness=shown, through_maps=mapped.bytes), text_bytes


def _blocks(pipe: int, meanwhile: Callable[[], object] = bool) -> Iterator[bytes]:
    """Read a pipe to its end, in blocks as large as possible without blocking the writer.

    meanwhile: called between blocks, and when there is none for a while.

    strace writes line by line. A reader that waits for data wakes up for every line, which costs the traced command
    more than the tracing does (benchmarks/tracing.py). This reader waits for the end, and polls in between.
    """
    pause = max(1, fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) // _FASTEST)
    ended, filled = select.poll(), select.poll()
    ended.register(pipe, 0)
    filled.register(pipe, select.POLLIN)
    while True:
        ended.poll(pause)
        meanwhile()
        if not filled.poll(_IDLE):
            continue
        block = os.read(pipe, _PIPE)
        if not block:
            return
        yield block


def _child(strace: int) -> int | None:
    """Return the process of the command, which is strace's child."""
    children = Path(f"/proc/{strace}/task/{strace}/children").read_text().split()
    return int(children[0]) if children else None
