"""Record the file accesses of a command: a backend runs it, and what it saw becomes a compact Parquet trace.

Without a choice of the user, the lightest backend is taken that shows all that a verdict needs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tiering.errors import MachineError, UsageError, from_os_error
from tiering.literals import Tracer
from tiering.storage.scratch import temporary_directory
from tiering.trace.capturing.dftracer import record_dftracer
from tiering.trace.capturing.running import Backend, Run, UnavailableError, require_command
from tiering.trace.capturing.strace import record_strace
from tiering.trace.capturing.tracepoints import record_tracepoints
from tiering.units import counted, format_percent

#: In the order of choice. DFTracer is lighter than strace, but a verdict on the whole run needs what it does not see.
_BACKENDS: dict[Tracer, Backend] = {
    "tracepoints": record_tracepoints,
    "strace": record_strace,
    "dftracer": record_dftracer,
}


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
        mapped_reads: Whether page faults showed the first read of each page of mapped data.
        backend: What recorded it.
        refused: Why lighter backends were not used, one clause for each.
        processor_seconds: s of processor time that tiering and a program for tracing used while the command ran and
            until the trace was written.
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
    mapped_reads: bool
    backend: Tracer
    refused: list[str]
    processor_seconds: float


def record(
    command: Sequence[str], output: str | os.PathLike[str] = "trace.parquet", *, backend: Tracer = "auto"
) -> Recording:
    """Run a command and record its reads, writes, opens and mappings as a trace.

    The command gets this process's standard streams, and the signals that would end this process.

    Args:
        command: The program and its arguments.
        output: The Parquet file to write. It appears whole or not at all.
        backend: "tracepoints" lets the kernel record every system call (root, or CAP_BPF and CAP_PERFMON). "strace"
            sees every system call too, but stops the command at each. "dftracer" costs little and needs no rights,
            but sees only calls of the C library. "auto" takes the first of these that the system allows.

    Returns:
        The exit status of the command, and the counts of the recording.

    Raises:
        UsageError: If the command, or the directory of the output, does not exist.
        MachineError: If the backend (with "auto": every one) is not installed, or may not trace.

    Example:
        >>> record(["python", "train.py"], "train.parquet")  # doctest: +SKIP
    """
    to = Path(output)
    require_command(command, "trace")
    if not to.absolute().parent.is_dir():
        raise UsageError(str(to), rule="needs a directory to write to", action="Make it first.")
    before = time.process_time()
    with temporary_directory(to.absolute().parent) as work:
        try:
            used, run, refused = _run(command, to, work, list(_BACKENDS) if backend == "auto" else [backend])
            kept = _written(run, to)
        except OSError as error:
            raise from_os_error(error) from error
    events, seconds = run.events, time.process_time() - before + run.tracer
    sums = (events.events, events.bytes_read, events.bytes_written, run.counted_read, run.counted_written)
    seen = run.completeness is not None and run.completeness.mapped_once
    return Recording(to, run.status, *sums, events.mapped_bytes, kept, seen, used, refused, seconds)


def _run(command: Sequence[str], to: Path, work: Path, allowed: Sequence[Tracer]) -> tuple[Tracer, Run, list[str]]:
    """Run the command under the first backend that the system offers. Return also why those before it were refused."""
    refused: list[str] = []
    for name in allowed:
        try:
            return name, _BACKENDS[name](command, to, work), refused
        except UnavailableError as error:
            refused.append(f"{name}: {error}")
    raise MachineError(
        "tiering trace",
        expected="a way to record the command",
        found="; ".join(refused),
        action="Allow or install one of them, or choose another `backend`.",
    )


def _written(run: Run, to: Path) -> list[str]:
    """Write the trace, and note how complete it is. Return the notes."""
    damage, events, status = run.damage, run.events, run.status
    notes = [
        _compared(events.bytes_read - run.through_maps, run.counted_read, "read"),
        _compared(events.bytes_written, run.counted_written, "written"),
        f"{counted(damage.skipped, 'line')} of the tracer could not be read." if damage.skipped else "",
    ]
    lost = [each for each in notes if each]
    kept = [*lost, *damage.notes]
    gaps = [*damage.gaps, *(["the trace does not hold all that the kernel counted"] if lost else [])]
    if status and not gaps:
        gaps.append(f"it ended with exit status {status}")
    whole = gaps if damage.complete or gaps else None
    missing, shown = damage.missing or bool(lost), run.completeness
    events.finish(to, kept, whole, failed=sorted(damage.failed), missing=missing, completeness=shown)
    return kept


def _compared(traced: int, counted: int | None, what: str) -> str:
    """Return a note if the trace has clearly fewer bytes than the kernel counted, else ""."""
    if counted is None or traced >= 0.99 * counted - (1 << 16):
        return ""
    return (
        f"The trace holds {format_percent(traced / counted, digits=3)} of the bytes that the kernel counted as {what}."
    )
