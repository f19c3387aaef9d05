"""Watch a job that is already running, and record what it reads and writes as a trace."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from tiering.errors import UsageError, from_os_error
from tiering.storage.scratch import temporary_directory
from tiering.system.signals import passing_on, remembered
from tiering.trace.capturing.running import held, require_command
from tiering.trace.parquet_writer import TraceWriter
from tiering.trace.waiting import Waiting
from tiering.trace.watching.data_files import DataFiles
from tiering.trace.watching.observation import Observation, SourceUse
from tiering.trace.watching.recorder import Recorder
from tiering.trace.watching.target import found_process

_FROM_OUTSIDE = "it was watched from outside, which shows a part of a run"


@dataclass(frozen=True, slots=True)
class Watched:
    """The result of watching a job.

    Attributes:
        path: The trace; None if none was asked for.
        status: Exit status of a command that was started, 128 + n if signal n ended it; None of another target, and of
            a command that still ran at the end.
        seconds: How long it was watched, s.
        sources: Every source of evidence: what it shows and lacks, and whether the system allowed it.
        events: How many events the trace has.
        bytes_read, bytes_written: B in these events.
        notes: Remarks for the user; the trace has them as well.
        watcher_share: The share of one core that watching took.
        waiting: Where the processes spent their time; None if the job ended before the first look.
        interruption: The signal that ended the watching, or None.
    """

    path: Path | None
    status: int | None
    seconds: float
    sources: tuple[SourceUse, ...]
    events: int
    bytes_read: int
    bytes_written: int
    notes: list[str]
    watcher_share: float
    waiting: Waiting | None = None
    interruption: KeyboardInterrupt | None = None


def watch(
    target: int | str | Sequence[str],
    output: str | os.PathLike[str] | None = "trace.parquet",
    *,
    seconds: float | None = None,
    dataset: str | os.PathLike[str] | None = None,
    warm_maps: bool = False,
    on_look: Callable[[Observation], None] | None = None,
) -> Watched:
    """Watch a running process with all its descendants, and record a trace. The process is neither stopped nor changed.

    Args:
        target: The number of a process; a regular expression that its command line matches; or a command with its
            arguments, which is started with this process's standard streams.
        output: The Parquet file to write, or None. It appears whole or not at all.
        seconds: s to watch; by default until the last process of the tree ends, or Ctrl-C.
        dataset: A directory or file whose files are data, even if they look like those of a library. What is touched
            is then counted of its files alone.
        warm_maps: Also watch mapped files that stay in memory, by the accessed bits of their pages. This resets these
            bits, which the kernel uses to find memory that it can free.
        on_look: Called after each look with what it saw, in the calling thread. Its time counts as the watcher's. An
            exception that it raises ends the watching; the trace of what was seen so far is written before.

    Returns:
        What was recorded, by which sources, and what it cost.

    Raises:
        UsageError: There is no such process or command, or several match; or no directory for the output.
        MachineError: The process belongs to somebody else, or the trace cannot be written.

    Example:
        >>> watch(4711, "train.parquet", seconds=600)  # doctest: +SKIP
    """
    to = None if output is None else Path(output)
    if to is not None and not to.absolute().parent.is_dir():
        raise UsageError(str(to), rule="needs a directory to write to", action="Make it first.")
    if not isinstance(target, int | str):
        require_command(target, "watch")
    files = DataFiles(None if dataset is None else Path(dataset))
    try:
        with temporary_directory(None if to is None else to.absolute().parent) as work:
            events = TraceWriter(work)
            with ExitStack() as around, ExitStack() as attached:
                # A command waits until it is watched.
                with nullcontext(target) if isinstance(target, int | str) else held(target) as process:
                    command = process if isinstance(process, Popen) else None
                    root = found_process(process.pid if isinstance(process, Popen) else process)
                    if command is not None:
                        around.enter_context(passing_on(lambda: root.pid))
                    signals = around.enter_context(remembered(passed_on=command is not None))
                    recorder = attached.enter_context(Recorder(root, files, warm_maps=warm_maps))
                try:
                    recorder.run(events.add, seconds, on_look, signals)
                finally:
                    status = None if command is None else command.poll()
                    # Before the trace is written: that is not watching, and the notes say the same share.
                    share, notes = recorder.share, recorder.notes()
                    uses, shown = recorder.uses(), recorder.completeness()
                    attached.close()
                    if to is not None:
                        events.finish(to, notes, [_FROM_OUTSIDE], waiting=recorder.waiting, completeness=shown)
    except OSError as error:
        raise from_os_error(error) from error
    return Watched(
        to,
        status if status is None or status >= 0 else 128 - status,
        recorder.seconds,
        uses,
        events.events,
        events.bytes_read,
        events.bytes_written,
        notes,
        share,
        recorder.waiting,
        signals.interruption,
    )
