"""Page faults of running processes, with addresses, as the kernel sees them: nothing is stopped or changed.

On a machine with few processors there is one ring for each of them, and threads and processes that begin later are
included by the kernel. With many processors that would take an event for each thread on each of them, so there each
thread has a ring of its own, and new threads are included when they are seen.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from typing import Final, NamedTuple

from tiering.system.accessed_bits import huge_file_maps
from tiering.system.machine import raise_descriptor_limit
from tiering.system.perf_records import (
    MAJOR_FAULTS,
    MINOR_FAULTS,
    Change,
    Ended,
    Faults,
    Forked,
    Ring,
    number_of,
    open_event,
    switch,
)
from tiering.system.process_files import threads_of

#: Most processors for a ring each.
_FEW: Final = 8
#: Pages of a ring for a processor, and for a thread. The limit of a user's locked memory may allow fewer.
_PAGES: Final = (1024, 128, 64, 32, 16, 8)
_PAGES_OF_THREAD: Final = (16, 8, 4, 2, 1)


class Taken(NamedTuple):
    """What the rings held, each ring in order of time. lost: how many records did not fit into them."""

    faults: list[Faults]
    changes: list[Change]
    lost: int


class _Attached(NamedTuple):
    """The events of a thread. minor: those of them that count minor faults. majors: the numbers of the others."""

    events: list[int]
    minor: list[int]
    majors: list[int]


def attached_to(pid: int) -> PageFaultEvents | None:
    """Attach to a process, as early as it takes to load nothing else; None where the system does not allow it."""
    events = None
    try:
        events = PageFaultEvents()
        events.attach(pid)
    except OSError:
        if events is not None:
            events.close()
        return None
    return events


class PageFaultEvents:
    """Attaches to processes, and takes their page faults. Raises OSError if the system does not allow it."""

    def __init__(self, processors: Sequence[int] | None = None) -> None:
        """Prepare. processors: those with a ring each, or none for a ring of each thread; by default all, if few."""
        if processors is None:
            count = os.cpu_count() or 1
            processors = range(count) if count <= _FEW else ()
        self._processors = tuple(processors)
        #: By processor, or by thread.
        self._rings: dict[int, Ring] = {}
        #: By process and thread.
        self._attached: dict[tuple[int, int], _Attached] = {}
        self._seen: set[tuple[int, int]] = set()
        self._poll = select.epoll()
        self._kernel = self._minor_on = True
        #: Numbers of the events that count faults which waited for storage.
        self.majors: set[int] = set()
        #: Those of them whose threads have ended.
        self._former: set[int] = set()
        #: As `huge_file_maps` had it, before any fault was seen.
        self.huge_maps = huge_file_maps()
        #: Threads that could not be attached to, and the last reason.
        self.missed, self.reason = 0, ""
        raise_descriptor_limit()
        try:
            for processor in self._processors:
                self._add_ring(processor, 0, processor, _PAGES)
        except BaseException:
            self.close()
            raise

    @property
    def includes_new(self) -> bool:
        """Whether the kernel includes threads and processes that begin later."""
        return bool(self._processors)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when a ring is half full."""
        return self._poll.fileno()

    def attach(self, pid: int) -> None:
        """Attach to all threads of a process that the kernel does not include already.

        Raises OSError if that is not allowed for the first thread of all; later ones are counted in `missed`.
        """
        while fresh := [thread for thread in threads_of(pid) if (pid, thread) not in self._seen]:
            for thread in fresh:
                self._seen.add((pid, thread))
                try:
                    self._attach(pid, thread)
                except ProcessLookupError:
                    continue
                except OSError as error:
                    if not self._attached:
                        raise
                    self.missed, self.reason = self.missed + 1, os.strerror(error.errno or 0)

    def take(self) -> Taken:
        """Take what the rings hold."""
        records = [ring.records() for ring in self._rings.values()]
        changes = [change for each in records for change in each.changes]
        if self.includes_new:
            self._seen |= {(each.pid, each.thread) for each in changes if isinstance(each, Forked)}
        for each in changes:
            if isinstance(each, Ended):
                self._ended(each.pid, each.thread)
        faults = [fault for each in records for fault in each.faults]
        return Taken(faults, changes, sum(each.lost for each in records))

    def forget(self, pid: int) -> None:
        """Give back what a process needed that has ended, unless later ones inherit it. Take its records first."""
        for each in [each for each in self._seen if each[0] == pid]:
            self._ended(*each)

    def settle(self) -> None:
        """Forget the numbers of former events: the caller knows what all faults taken so far are."""
        self.majors -= self._former
        self._former.clear()

    def watch_minor(self, *, on: bool) -> None:
        """Switch the minor faults of all processes on or off."""
        self._minor_on = on
        for attached in self._attached.values():
            for event in attached.minor:
                switch(event, on=on)

    def close(self) -> None:
        """Detach from all processes."""
        for attached in self._attached.values():
            for event in attached.events:
                os.close(event)
        for ring in self._rings.values():
            ring.close()
        self._attached, self._rings = {}, {}
        self._poll.close()

    def _ended(self, pid: int, thread: int) -> None:
        """Forget a thread, and give back what it needed. On few processors later threads inherit its events."""
        self._seen.discard((pid, thread))
        if self.includes_new:
            return
        if (attached := self._attached.pop((pid, thread), None)) is not None:
            for event in attached.events:
                os.close(event)
            self._former.update(attached.majors)
        if (ring := self._rings.pop(thread, None)) is not None:
            self._poll.unregister(ring.descriptor)
            ring.close()

    def _attach(self, pid: int, thread: int) -> None:
        attached = _Attached([], [], [])
        try:
            if not self._processors:
                self._add_ring(thread, thread, -1, _PAGES_OF_THREAD)
            for processor in self._processors or (-1,):
                ring = self._rings[processor if self._processors else thread]
                attached.events.append(self._major(thread, processor))
                ring.direct(attached.events[-1])
                attached.majors.append(number_of(attached.events[-1]))
                self.majors.add(attached.majors[-1])
                attached.events.append(open_event(MINOR_FAULTS, thread, processor, inherit=self.includes_new))
                ring.direct(attached.events[-1])
                attached.minor.append(attached.events[-1])
                if not self._minor_on:
                    switch(attached.events[-1], on=False)
        finally:
            if attached.events:
                self._attached[pid, thread] = attached

    def _major(self, thread: int, processor: int) -> int:
        """Open the event of major faults, with those within the kernel where that is allowed."""
        if self._kernel:
            try:
                return open_event(MAJOR_FAULTS, thread, processor, inherit=self.includes_new, kernel=True, changes=True)
            except PermissionError:
                self._kernel = False
        return open_event(MAJOR_FAULTS, thread, processor, inherit=self.includes_new, changes=True)

    def _add_ring(self, key: int, thread: int, processor: int, sizes: Sequence[int]) -> None:
        """Add a ring, smaller where the limit on locked memory does not allow a large one."""
        for pages in sizes:
            try:
                self._rings[key] = Ring(thread, processor, pages)
            except PermissionError:
                if pages == sizes[-1]:
                    raise
            else:
                self._poll.register(self._rings[key].descriptor, select.EPOLLIN)
                return
