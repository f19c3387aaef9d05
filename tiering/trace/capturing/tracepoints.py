"""Record a command through tracepoints of the kernel: everything that strace sees, without stopping the command.

The ring is emptied a hundred times a second. What is not processed yet waits in memory, and in a file if it is much, so
that a command that makes calls faster than they can be processed loses none.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from tiering.system.call_recorder import CallRecorder
from tiering.system.inherited_files import exists
from tiering.system.page_fault_events import PageFaultEvents, attached_to
from tiering.system.process_files import link_of
from tiering.system.signals import passing_on
from tiering.trace.capturing.running import Run, UnavailableError, exit_status, held, kernel_counts
from tiering.units import counted

if TYPE_CHECKING:
    from tiering.trace.readers.base import Damage

#: s between looks at the ring, B that are processed before the next, and B that wait in memory at most.
_PAUSE, _AT_ONCE, _IN_MEMORY = 0.01, 1 << 20, 64 << 20
#: s for which fewer wait: to process few records takes as long as to process thousands.
_GATHERED = 0.25
#: How many events go to the writer together.
_BATCH = 100_000


def record_tracepoints(command: Sequence[str], to: Path, work: Path) -> Run:
    """Run a command and record it, as `Backend` has it."""
    try:
        recorder = CallRecorder()
    except OSError as error:
        raise UnavailableError(error.strerror or str(error)) from error
    with recorder, tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(work)) as file:
        with held(command) as process:
            recorder.follow([process.pid])
            faults = attached_to(process.pid)
        with passing_on(lambda: process.pid):
            try:
                return _recorded(process, recorder, file, faults, to, work)
            except BaseException:
                # The command does not depend on its trace.
                process.wait()
                raise


def _recorded(
    process: subprocess.Popen[bytes],
    recorder: CallRecorder,
    file: IO[bytes],
    faults: PageFaultEvents | None,
    to: Path,
    work: Path,
) -> Run:
    from tiering.trace.capturing.call_rows import finished  # noqa: PLC0415
    from tiering.trace.capturing.kernel_calls import KernelCalls  # noqa: PLC0415
    from tiering.trace.capturing.mapped_reads import MappedReads  # noqa: PLC0415
    from tiering.trace.parquet_writer import TraceWriter  # noqa: PLC0415
    from tiering.trace.readers.base import Damage  # noqa: PLC0415

    waiting = _Waiting(recorder, file, finished)
    calls, events = KernelCalls(time.time() - time.monotonic()), TraceWriter(work)
    mapped = MappedReads(process.pid, faults, events)
    calls.start(process.pid, link_of("/proc/self/cwd") or "")
    status = read = written = None
    due = 0.0
    while True:
        waiting.fill()
        mapped.look()
        is_due = waiting.length >= _AT_ONCE or status is not None or time.monotonic() >= due
        if is_due and (taken := waiting.next()):
            calls.add(taken)
            due = time.monotonic() + _GATHERED
            for pid in calls.ended:
                recorder.leave(pid)
            calls.ended.clear()
            if len(calls.calls) >= _BATCH:
                mapped.add(calls.calls.take())
                calls.calls.forget_names()
        elif status is not None and not any(map(exists, calls.alive())):
            break
        else:
            time.sleep(_PAUSE)
            if status is None and os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                # It is not reaped yet, so its final counts can be read.
                read, written = kernel_counts(process.pid)
                status = exit_status(process.wait())
    mapped.add(calls.calls.take())
    shown, notes = mapped.finish()
    damage = Damage(to, "tracepoints", lenient=True)
    damage.notes += notes
    calls.describe(damage)
    _count_lost(recorder, damage)
    return Run(events, damage, status, read, written, completeness=shown, through_maps=mapped.bytes)


def _count_lost(recorder: CallRecorder, damage: Damage) -> None:
    lost, foreign = recorder.lost()
    if lost:
        damage.gaps.append(f"{counted(lost, 'call')} came faster than they could be recorded (strace loses none)")
    if foreign:
        damage.gaps.append(f"{counted(foreign, 'call')} of 32-bit programs are missing (strace records them)")
    damage.missing |= bool(lost or foreign)
    damage.complete = not damage.gaps


class _Waiting:
    """Records that are out of the ring and not processed yet: in memory if they are few, else in a file.

    finished: what bpf.finished does.
    """

    def __init__(self, recorder: CallRecorder, file: IO[bytes], finished: Callable[[bytes | memoryview], int]) -> None:
        self._recorder, self._file, self._finished = recorder, file, finished
        self._begin = self._end = 0

    @property
    def length(self) -> int:
        """B that wait."""
        return self._end - self._begin

    def fill(self) -> None:
        """Empty the ring."""
        self._recorder.drain(self._keep)

    def _keep(self, there: memoryview) -> int:
        self._file.seek(self._end)
        kept = self._file.write(there[: self._finished(there)])
        self._end += kept
        return kept

    def next(self) -> bytes:
        """Remove and return some records."""
        self._file.seek(self._begin)
        taken = self._file.read(min(_AT_ONCE, self.length))
        taken = taken[: self._finished(taken)]
        self._begin += len(taken)
        if self._begin == self._end and self._begin:
            self._begin = self._end = self._file.seek(0)
            self._file.truncate()
        return taken
