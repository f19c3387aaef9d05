"""The seam between `tiering trace` and its backends: what a backend returns, and what all that run a command do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tiering.errors import UsageError
from tiering.system.process_files import counters_of

if TYPE_CHECKING:
    # Imported when the command runs: Polars takes as long to start as many a command to end.
    from tiering.trace.completeness import Completeness
    from tiering.trace.parquet_writer import TraceWriter
    from tiering.trace.readers.base import Damage


@dataclass(frozen=True, slots=True)
class Run:
    """What a backend has recorded.

    Attributes:
        events: The events.
        damage: What is wrong with them, and whether they are the whole run.
        status: Exit status of the command, 128 + n if signal n ended it.
        counted_read, counted_written: B that the kernel counted for the command, or None.
        tracer: s of processor time that programs beside this one used for tracing.
        through_maps: B of the reads of mapped files, which the kernel does not count.
        completeness: What the trace shows, where that is not every access.
    """

    events: TraceWriter
    damage: Damage
    status: int
    counted_read: int | None = None
    counted_written: int | None = None
    tracer: float = 0.0
    completeness: Completeness | None = None
    through_maps: int = 0


class Backend(Protocol):
    """A way to see what a command does."""

    def __call__(self, command: Sequence[str], to: Path, work: Path) -> Run:
        """Run a command and record it.

        command: the program, which exists, and its arguments. to: the trace, to be named in errors. work: a directory
        for files while it runs. Raises UnavailableError, before the command runs, where the system does not allow it.
        """
        ...


class UnavailableError(Exception):
    """This system does not offer, or not allow, a backend. The command has not run."""


def exit_status(returned: int) -> int:
    """Return an exit status as a shell has it: 128 + n if signal n ended the process."""
    return 128 - returned if returned < 0 else returned


def kernel_counts(pid: int) -> tuple[int | None, int | None]:
    """Return the B that a process and its ended children read and wrote by calls; None where they may not be read."""
    try:
        counts = counters_of(pid)
    except OSError:
        counts = None
    return (None, None) if counts is None else (counts.bytes_read, counts.bytes_written)


@contextmanager
def held(words: Sequence[str], pass_fds: Sequence[int] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that waits before its first instruction until the block ends, so that a tracer can attach.

    It gets this process's standard streams. If the block fails, the program has not run and is gone.
    """
    # The shell stops itself, and then becomes the program under the same number.
    shell = ["/bin/sh", "-c", 'kill -STOP $$; exec "$@"', "sh", *words]
    process = subprocess.Popen(shell, pass_fds=pass_fds)  # noqa: S603 - the program is given as words
    try:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        yield process
    except BaseException:
        process.kill()
        process.wait()
        raise
    os.kill(process.pid, signal.SIGCONT)


def require_command(command: Sequence[str], verb: str) -> None:
    """Raise UsageError if there is no such command. verb: of tiering, which would run it."""
    action = f"Type: tiering {verb} -- COMMAND"
    if not command:
        raise UsageError(f"tiering {verb}", rule="needs a command", action=action)
    if shutil.which(command[0]) is None:
        raise UsageError(f"tiering {verb}", found=f"there is no command {command[0]!r}", action=action)
