"""Record what a command does to files: a tracer runs it, and what it says becomes a compact Parquet trace."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

import polars as pl

from tiering.errors import MachineError, UsageError, from_os_error
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.noise import is_noise
from tiering.trace.readers import read_trace, strace
from tiering.trace.readers.base import Damage, byte_blocks_of
from tiering.trace.readers.strace_calls import CALLS, STATS

Backend = Literal["strace", "dftracer"]

#: Events that are kept in memory before they go to a file.
_PART = 1 << 20
#: Calls that are not there on every architecture are asked for with a question mark.
_ASKED = ",".join(f"?{name}" for name in sorted(CALLS.keys() - STATS))
FLAGS = (*["-f", "--seccomp-bpf", "-ttt", "-T", "-y", "-s", "1", "-q", "-e", "signal=none", "-e"], f"trace={_ASKED}")
#: The shell waits for strace and then reads what the kernel counted for it and its children, gone by then.
_COUNTED = 'trap : INT TERM HUP; out=$1; shift; "$@"; status=$?; cat /proc/$$/io >"$out"; exit $status'
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded.

    status: exit status of the command, 128 + n where signal n ended it. bytes_read, bytes_written: B in the trace's
    events; counted_read, counted_written: B that the kernel counted for the command and its children
    (/proc/PID/io), None where it was not asked. mapped_bytes: B of data files mapped, an upper bound of what was
    touched through mappings. notes: what is worth saying, kept in the trace as well.
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


def record(command: Sequence[str], to: Path, *, backend: Backend = "strace") -> Recording:
    """Run a command, trace it, and write a Parquet trace, which appears whole or not at all.

    The command has this process's standard streams; signals that end processes are passed on to it.
    Raises UsageError for a command that does not exist, and MachineError where the tracer is missing or may not trace.
    """
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
    words = [tracer, *FLAGS, "-o", f"/proc/self/fd/{writing}", "--", *command]
    counts = work / "io"
    # A pipe of a MiB keeps the command from waiting for the reader.
    with suppress(OSError):
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 1 << 20)
    shell = subprocess.Popen(["/bin/sh", "-c", _COUNTED, "sh", str(counts), *words], pass_fds=[writing])  # noqa: S603
    os.close(writing)
    damage = Damage(to, "strace", lenient=True)
    said = 0

    def counted(blocks: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal said
        for block in blocks:
            said += len(block)
            yield block

    with _passing_on(lambda: _grandchild(shell.pid)), os.fdopen(reading, "rb", buffering=0) as pipe:
        blocks = byte_blocks_of(counted(iter(lambda: pipe.read(1 << 20), b"")), damage)
        lines = ((number, block.decode("latin-1").split("\n")) for number, block in blocks)
        parts = _parts(strace.events(lines, damage), work)
        status = shell.wait()
    if not said and status:
        raise MachineError(
            "strace", expected="leave to trace", found=f"exit status {status}", action="Allow ptrace, or trace as root."
        )
    read, written = _kernel_counts(counts)
    # What strace writes is its text alone.
    written = None if written is None else max(0, written - said)
    return _finished(parts, to, status, damage, read, written)


def _with_dftracer(command: Sequence[str], to: Path, work: Path) -> Recording:
    spec = importlib.util.find_spec("dftracer")
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec is not None else []
    library = next((file for place in places for file in place.rglob("libdftracer_preload.so")), None)
    if library is None:
        raise MachineError(
            "tiering trace --backend dftracer",
            expected="the dftracer wheel",
            found="none",
            action="pip install 'tiering[dftracer]', or use --backend strace",
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
    with _passing_on(lambda: process.pid):
        status = process.wait()
    status = 128 - status if status < 0 else status
    if not any(file.stat().st_size for file in logs.iterdir()):
        raise MachineError(
            "dftracer",
            expected="a log of the command's calls",
            found="none",
            action="Use --backend strace: DFTracer sees no programs that are linked statically.",
        )
    trace = read_trace(logs, lenient=True)
    parts = _parts(trace.batches, work)
    return _finished(parts, to, status, trace.damage[0], None, None)


def _parts(batches: Iterable[pl.DataFrame], work: Path) -> list[Path]:
    """Write batches to files of about a million events each."""
    parts: list[Path] = []
    waiting: list[pl.DataFrame] = []

    def flush() -> None:
        parts.append(work / f"part-{len(parts)}.parquet")
        pl.concat(waiting).write_parquet(parts[-1])
        waiting.clear()

    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _PART:
            flush()
    if waiting:
        flush()
    return parts


def _finished(
    parts: list[Path], to: Path, status: int, damage: Damage, counted_read: int | None, counted_written: int | None
) -> Recording:
    """Join the parts into the trace, and say how complete it is."""
    table = pl.scan_parquet(parts) if parts else pl.LazyFrame(schema=EVENT_SCHEMA)
    op, size = pl.col("op"), pl.col("size")
    sums = table.select(
        events=pl.len(),
        read=size.filter(op == "read").sum(),
        written=size.filter(op == "write").sum(),
        mapped=size.filter(op == "mmap", ~is_noise()).sum(),
    ).collect()
    events, read, written, mapped = (int(value) for value in sums.row(0))
    notes = [_compared(read, counted_read, "read"), _compared(written, counted_written, "written")]
    notes.append(f"{damage.skipped:,} lines of the tracer could not be read." if damage.skipped else "")
    kept = [each for each in notes if each]
    partial = to.with_name(f".{to.name}.{os.getpid()}.partial")
    try:
        table.sink_parquet(partial, metadata={"tiering.notes": "\n".join(kept), "tiering.complete": "yes"})
        partial.replace(to)
    finally:
        partial.unlink(missing_ok=True)
    return Recording(to, status, events, read, written, counted_read, counted_written, mapped, kept)


def _compared(traced: int, counted: int | None, what: str) -> str:
    """Say where the trace holds clearly less than the kernel counted."""
    if counted is None or traced >= 0.99 * counted - (1 << 16):
        return ""
    return f"The trace holds {100 * traced / counted:.1f} % of the bytes that the kernel counted as {what}."


def _kernel_counts(path: Path) -> tuple[int | None, int | None]:
    """Read rchar and wchar, B, from a copy of /proc/PID/io (proc(5))."""
    try:
        fields = dict(line.split(": ") for line in path.read_text().splitlines())
        return int(fields["rchar"]), int(fields["wchar"])
    except (OSError, ValueError, KeyError):
        return None, None


def _grandchild(shell: int) -> int | None:
    """Find the command: the child of strace, which is the child of the shell."""
    found = shell
    for _ in range(2):
        children = Path(f"/proc/{found}/task/{found}/children").read_text().split()
        if not children:
            return None
        found = int(children[0])
    return found


@contextmanager
def _passing_on(target: Callable[[], int | None]) -> Iterator[None]:
    """Pass signals on to the command. What a terminal sends goes to all of its processes anyhow."""

    def forward(number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            if (pid := target()) is not None:
                os.kill(pid, number)

    def interrupted(number: int, frame: FrameType | None) -> None:
        if not _of_terminal():
            forward(number, frame)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _of_terminal() -> bool:
    """Tell whether this process is in the foreground of a terminal, which sends its signals to the whole group."""
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
