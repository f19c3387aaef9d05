"""The loop that watches a job: it samples, looks, asks its sources, and keeps to its share of a processor."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

import polars as pl

from tiering.system.machine import usable_cores
from tiering.system.process_files import Identity
from tiering.system.process_tree import ProcessTree, TreeLook
from tiering.system.signals import Remembered
from tiering.trace.completeness import Completeness
from tiering.trace.waiting import Waiting
from tiering.trace.watching.data_files import DataFiles
from tiering.trace.watching.evidence import Evidence
from tiering.trace.watching.observation import Observation, SourceUse
from tiering.trace.watching.pace import LOOK_SECONDS, SHARE, Pace
from tiering.trace.watching.process_looks import ProcessLooks
from tiering.trace.watching.source import NO_EVENTS, Look
from tiering.trace.watching.surroundings import Surroundings
from tiering.trace.watching.waiting_sums import WaitingSums
from tiering.units import format_percent, format_seconds

#: s from the end of the first process to a further look, if others of its tree still run.
_SOONEST = 0.1
#: s to wait at least for what is due by the pace. Waking up costs, too, which moves it on a little each time.
_SHORTEST = 0.05


class Recorder:
    """Watches the tree of one process. Enter it to attach the sources; leave it to give them back."""

    def __init__(self, root: Identity, files: DataFiles, *, warm_maps: bool) -> None:
        self._root = root
        self._tree = ProcessTree([root])
        self._processes = ProcessLooks()
        self._pace = Pace()
        self._open = ExitStack()
        self._last: TreeLook = self._tree.look()
        self._processes.look(self._last, 0.0)
        self._used = self.seconds = 0.0
        self._waiting = WaitingSums(usable_cores(process=root.pid))
        self._surroundings = Surroundings(root.pid)
        self._evidence = Evidence(self._last, files, warm_maps=warm_maps)
        self._last_time = self._begin = time.monotonic()
        #: s from the monotonic clock to the epoch: a clock that is set later moves no event.
        self._apart = time.time() - self._begin
        self._first = NO_EVENTS
        #: s from the last look to the next one at most, once the first process has ended; each wait is twice the last.
        self._soon: float | None = None
        self._ending = self._open_ending(root.pid)

    def __enter__(self) -> Self:
        self._open.callback(self._evidence.close)
        self._open.enter_context(self._surroundings)
        # The first look is a rehearsal: what it costs to load libraries slows no later one.
        try:
            self._first = self._look().events
        except BaseException:
            self._open.close()
            raise
        self._pace.begin()
        self._last_time = self._begin = time.monotonic()
        return self

    def _open_ending(self, pid: int) -> int | None:
        """Return a descriptor that becomes readable when the first process ends; None before Linux 5.3."""
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return None
        self._open.callback(os.close, descriptor)
        return descriptor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def share(self) -> float:
        """The share of one core that the watcher has used."""
        return self._pace.share

    @property
    def waiting(self) -> Waiting | None:
        """Where the processes spent their time so far; None before the first look."""
        return self._waiting.waiting()

    def completeness(self) -> Completeness:
        """Return what the trace shows."""
        return self._evidence.completeness()

    def uses(self) -> tuple[SourceUse, ...]:
        """Return what each source shows and lacks."""
        return (*self._evidence.uses(), self._surroundings.use())

    def notes(self) -> list[str]:
        """Return remarks for the user."""
        notes = self._evidence.notes()
        if self._pace.slowest > 2 * LOOK_SECONDS:
            notes.append(
                f"The watcher looked every {self._pace.slowest:.1f} s at the slowest, so as to use no more than "
                f"{format_percent(SHARE)} of one core."
            )
        if self.share <= SHARE * 1.1:
            pass
        elif self._pace.for_events > 0.5 * self._pace.used:
            notes.append(
                f"The watcher used {format_percent(self.share, digits=1)} of one core, mostly for the many calls and "
                "page faults of the job, which looking less often does not lower."
            )
        else:
            notes.append(
                f"The watcher used {format_percent(self.share, digits=1)} of one core: to begin and to look for "
                f"the first time takes {format_seconds(self._pace.used - self._pace.for_events)} of processor time, "
                "however long the watch."
            )
        if self._processes.tells_waits is False:
            notes.append("The system does not say what sleeping threads wait for (/proc/PID/wchan and syscall).")
        if self._processes.hidden:
            notes.append(f"The counts of {len(self._processes.hidden)} processes of other users could not be read.")
        return notes

    def run(
        self,
        add: Callable[[pl.DataFrame], None],
        seconds: float | None,
        on_look: Callable[[Observation], None] | None,
        signals: Remembered,
    ) -> None:
        """Watch until the tree has ended, `seconds` have passed or a signal arrived. add: takes the events."""
        end = None if seconds is None else self._begin + seconds
        add(self._first)
        while True:
            self._wait(end, signals)
            observation = self._look()
            add(observation.events)
            self._waiting.add(observation)
            if on_look is not None:
                with self._costing("look"):
                    on_look(observation)
            self.seconds = time.monotonic() - self._begin
            if (
                not self._last.alive
                or signals.interruption is not None
                or (end is not None and time.monotonic() >= end)
            ):
                return

    def _wait(self, end: float | None, signals: Remembered) -> None:
        """Sample until the next look is due, and drain sources that ask for it."""
        while signals.interruption is None:
            now = time.monotonic()
            # The tree has probably ended with its first process, or is about to: look soon, whatever that costs.
            soon = float("inf") if self._soon is None else self._last_time + self._soon
            at_last, look, sample = min(soon, end or float("inf")), self._pace.next_look(), self._pace.next_sample()
            if now >= min(look, at_last):
                return
            if now >= sample:
                with self._costing("sample"):
                    self._processes.sample()
                continue
            self._poll(min(at_last, max(min(look, sample), now + _SHORTEST)) - now, signals)

    def _poll(self, seconds: float, signals: Remembered) -> None:
        waiting = select.poll()
        waiting.register(signals.fileno(), select.POLLIN)
        if self._ending is not None:
            waiting.register(self._ending, select.POLLIN)
        asking = {}
        for source in self._evidence.sources:
            if (descriptor := source.fileno()) is not None:
                waiting.register(descriptor, select.POLLIN)
                asking[descriptor] = source
        for descriptor, _ in waiting.poll(seconds * 1000):
            if descriptor in asking:
                before = self._pace.used
                asking[descriptor].drain()
                self._pace.drained(self._pace.used - before)
            if descriptor == self._ending:
                self._ending, self._soon = None, 0.0

    def _look(self) -> Observation:
        if self._soon is not None:
            self._soon = max(_SOONEST, 2 * self._soon)
        with self._costing("look"):
            now = time.monotonic()
            seconds, self._last_time = now - self._last_time, now
            for pid, begun in self._evidence.started():
                self._tree.adopt(pid, begun)
            self._last = self._tree.look()
            processes, counts = self._processes.look(self._last, seconds)
            at = time.monotonic() + self._apart
            found = self._evidence.take(Look(at, seconds, self._last, counts, self._root.pid))
            memory = self._surroundings.memory()
            accelerators = self._surroundings.accelerators(tuple(self._last.alive))
            before, self._used = self._used, self._pace.used
            return Observation(
                at,
                seconds,
                processes,
                found.events,
                found.files,
                found.touched,
                found.touched_again,
                self._used - before,
                found.mapped,
                memory=memory,
                accelerators=accelerators,
            )

    @contextmanager
    def _costing(self, what: str) -> Iterator[None]:
        before, events = self._pace.used, self._evidence.for_events
        try:
            yield
        finally:
            self._pace.did(what, self._pace.used - before, self._evidence.for_events - events)
