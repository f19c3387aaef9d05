"""Recording: what a program reads, told by the program itself, as a trace.

A tracer watches calls from outside. A loader knows each read exactly, and telling costs next to nothing: `add` keeps a
reference to the numbers of a batch. A thread later looks up where the samples are, and encodes them (parquet_rows.py).

A trace is a directory. Each process writes files of its own into it, so ranks and workers need no agreement:

    run.parquet/
    |-- 4711-5f0c3a9e12ab-00000.parquet    process 4711: its first part, full
    |-- 4711-5f0c3a9e12ab-00001.parquet    its newest part, replaced every half minute
    `-- 4712-08d1c6b73f55-00000.parquet    another worker, or rank

A part appears whole or not at all. So a process that is killed leaves what it had told half a minute before, and
nothing broken. Its last part then says "part", not "yes", in `tiering.whole`, and the trace counts as unfinished.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.util import Finalize
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

from tiering.errors import UsageError, from_os_error
from tiering.storage.location import Location
from tiering.storage.parquet_rows import RowGroup, parquet_file
from tiering.trace.parquet_writer import FAILED, GAPS, MISSING, WHOLE
from tiering.trace.recorded_reads import Places, Told, encoded

T = TypeVar("T")

#: Reads that wait to be encoded: 1 MiB of numbers. A row group has about as many.
_WAITING: Final = 1 << 17
#: Bytes of a part: about a million reads. A newer part is in memory until then.
_PART_BYTES: Final = 8 << 20
#: How much a process that is killed has not written yet, s.
_SECONDS: Final = 30.0

_log: Final = logging.getLogger("tiering")


class Recorder(Generic[T]):
    """Records the reads of this process as a trace; a process that is forked from it writes files of its own.

    If the trace cannot be written, a warning says so, and the program goes on.

    Args:
        directory: The trace. It may hold parts of other processes, and of an earlier run that this one continues.
        locate: Returns the places of what was told: for each read one, in order. If each has several, such as an image
            and its mask, they come as several Places of the same length. Reads of no bytes are left out. It is called
            on another thread.
        note: A remark for readers of the trace.
        timed: Whether durations are told.

    Raises:
        UsageError: For a URL, or for a name that something other than a directory has.
        MachineError: If the directory cannot be made.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        locate: Callable[[list[T]], Sequence[Places]],
        note: str,
        *,
        timed: bool = False,
    ) -> None:
        place = _trace_directory(directory)
        self._arguments = place, locate, note, timed
        self._lock, self._process = threading.Lock(), os.getpid()
        self._running: _Recording[T] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments: another process writes files of its own."""
        directory, locate, note, timed = self._arguments
        return partial(Recorder, timed=timed), (directory.url, locate, note)

    def add(self, what: T, count: int, duration: float = 0.0) -> None:
        """Tell of reads that have just ended, on any thread. This costs about 1 us.

        Args:
            what: What was read, as `locate` takes it. Do not change it afterwards.
            count: How many reads.
            duration: How long they took, s.
        """
        if self._process != os.getpid():
            # A fork: the thread, and what was told before, belong to the parent.
            self._lock, self._process, self._running = threading.Lock(), os.getpid(), None
        with self._lock:
            if self._running is None:
                self._running = _Recording(*self._arguments)
                # At the end of the process, also of a worker, and when nothing refers to this recorder any more.
                self._end = Finalize(self, self._running.end, exitpriority=1)
            self._running.add(Told(what, count, time.time(), duration))

    def close(self, error: BaseException | None = None) -> None:
        """Write what is left. Reads that are told later begin another file.

        Args:
            error: What ended the program's work early, if anything did.
        """
        if self._process != os.getpid():
            return
        with self._lock:
            if (running := self._running) is not None:
                self._running = None
                self._end.cancel()
                running.end(error)
                running.thread.join()


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a recording: what ended the program's work early, if anything did."""

    error: BaseException | None


class _Recording(Generic[T]):
    """One recording of one process: what waits, and the thread that encodes it and writes the parts.

    Memory is bounded by a part of 8 MiB and 400,000 reads, however long the run is.
    """

    def __init__(
        self, directory: Location, locate: Callable[[list[T]], Sequence[Places]], note: str, timed: bool
    ) -> None:
        self._directory, self._locate, self._note, self._timed = directory, locate, note, timed
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        #: Processes that record into one directory are one job.
        self._job = zlib.crc32(os.fsencode(directory.url)) >> 1
        self._told: list[Told[T]] = []
        self._count, self._due = 0, 0.0
        # Unlike a Queue, a SimpleQueue may be put to by a finalizer, which Python may run while this thread puts to it.
        self._queue: SimpleQueue[list[Told[T]] | _End] = SimpleQueue()
        self._room = threading.Semaphore(2)
        self._groups: list[RowGroup] = []
        self._part, self._written = 0, float("-inf")
        self.thread = threading.Thread(target=self._run, name="tiering-record", daemon=True)
        self.thread.start()
        # The thread is a daemon, because Python waits for others before it runs finalizers.
        Finalize(None, self.thread.join, exitpriority=0)

    def add(self, told: Told[T]) -> None:
        """Take what was told, and now and then hand it to the thread. Waits if the thread is far behind."""
        self._told.append(told)
        self._count += told.count
        if self._count >= _WAITING or told.time >= self._due:
            self._room.acquire()
            self._queue.put(self._told)
            self._told, self._count, self._due = [], 0, told.time + _SECONDS

    def end(self, error: BaseException | None = None) -> None:
        """Let the thread write the rest and end. error: what ended the program's work early."""
        self._queue.put(self._told)
        # Python keeps the exception that ends a program; an interactive one keeps those that it survived, too.
        ending = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        self._queue.put(_End(error or ending))

    def _run(self) -> None:
        sound = True
        while not isinstance(told := self._queue.get(), _End):
            sound = sound and self._succeeds(self._encode, told)
            self._room.release()
        if sound:
            self._succeeds(self._write, "no" if told.error else "yes", _ending(told.error))

    def _succeeds(self, step: Callable[..., None], *arguments: object) -> bool:
        """Do a step. If it fails, say so once: the last part that was written then says that it is not the end."""
        try:
            step(*arguments)
        except Exception as error:  # noqa: BLE001 - a program does not stop because it cannot be recorded
            _log.warning("The trace %s is incomplete from here on. The program goes on. %s", self._directory, error)
            return False
        return True

    def _encode(self, told: list[Told[T]]) -> None:
        """Encode reads, and write a part if it is full, or if the last one was written long ago."""
        if told and (group := encoded(told, self._locate, self._job, timed=self._timed)):
            if sum(len(each.data) for each in self._groups) >= _PART_BYTES:
                self._write("part")
                self._groups, self._part = [], self._part + 1
            self._groups.append(group)
        if time.monotonic() >= self._written + _SECONDS / 2:
            self._write("part")

    def _write(self, whole: str, gap: str = "") -> None:
        """Write the newest part, in place of its earlier version. whole, gap: for its metadata."""
        self._written = time.monotonic()
        if self._groups:
            metadata = {"tiering.notes": self._note, WHOLE: whole, GAPS: gap, FAILED: "", MISSING: "no"}
            part = self._directory / f"{self._name}-{self._part:05}.parquet"
            with part.writing() as file:
                file.write(parquet_file(self._groups, metadata))


def _ending(error: BaseException | None) -> str:
    return f"it ended with {type(error).__name__}" if error else ""


def _trace_directory(given: str | os.PathLike[str]) -> Location:
    """Make the directory of a trace if it is missing. Raises as the Recorder does."""
    text = os.fspath(given)
    if "://" in text:
        raise UsageError(
            "trace", expected="a local directory", found="a URL", action="Copy the trace there afterwards."
        )
    path = Path(text).resolve()
    if path.exists() and not path.is_dir():
        raise UsageError(
            "trace", expected="the name of a directory", found=f"{text}, which is a file",
            action="Each process writes a file of its own, so the trace is a directory. Choose another name.",
        )  # fmt: skip
    directory = Location.of(path)
    try:
        directory.make_directory()
    except OSError as error:
        raise from_os_error(error) from error
    return directory
