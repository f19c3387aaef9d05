"""The seam between `tiering trace` and its backends: what a backend returns, and what all of them do."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    # Imported when the command runs: Polars takes as long to start as many a command to end.
    from tiering.trace.parquet_writer import TraceWriter
    from tiering.trace.readers.base import Damage

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class Run:
    """What a backend has recorded.

    Attributes:
        events: The events.
        damage: What is wrong with them, and whether they are the whole run.
        status: Exit status of the command, 128 + n if signal n ended it.
        counted_read, counted_written: B that the kernel counted for the command, or None.
        tracer: s of processor time that programs beside this one used for tracing.
    """

    events: TraceWriter
    damage: Damage
    status: int
    counted_read: int | None = None
    counted_written: int | None = None
    tracer: float = 0.0


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
    """Return rchar and wchar, in B, of a process and its ended children (proc(5), /proc/PID/io)."""
    try:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
        return int(fields["rchar"]), int(fields["wchar"])
    except (OSError, ValueError, KeyError):
        return None, None


@contextmanager
def passing_on(target: Callable[[], int | None]) -> Iterator[None]:
    """Pass signals on to the command. Those from a terminal reach all processes anyway."""

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
    """Return whether this process is in the foreground of a terminal, which signals the whole group."""
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
