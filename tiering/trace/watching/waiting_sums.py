"""Sums the looks at a job to a Waiting. Nothing is kept of a look, or of a process that has ended."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tiering.trace.waiting import (
    STATES,
    AcceleratorWaiting,
    MemoryWaiting,
    ProcessWaiting,
    Role,
    RoleWaiting,
    States,
    Waiting,
)
from tiering.trace.watching.observation import MemoryLook, Observation, ProcessLook
from tiering.trace.watching.roles import Member, roles

_BUSIEST: Final = 8


class WaitingSums:
    """Adds up observations. Memory is bounded by the processes that are alive, and eight more.

    Args:
        cores: Processors that the job may use.

    Example:
        >>> sums = WaitingSums(cores=8)
        >>> sums.waiting() is None  # nothing watched yet
        True
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._seconds, self._looks, self._files = 0.0, 0, 0.0
        self._alive: dict[tuple[int, int], _Process] = {}
        self._roles: dict[Role, _Sums] = {}
        self._ended: list[_Ended] = []
        self._opens: int | None = None
        self._touched: int | None = None
        self._touched_again: int | None = None
        self._memory: _Memory | None = None
        self._accelerators: dict[int, _Accelerator] = {}

    def add(self, look: Observation) -> None:
        """Add one look."""
        self._seconds += look.seconds
        self._looks += 1
        self._files += look.files
        opens = int((look.events["op"] == "open").sum()) if len(look.events) else 0
        if opens or self._opens is not None:
            self._opens = (self._opens or 0) + opens
        self._touched = _plus(self._touched, look.touched)
        self._touched_again = _plus(self._touched_again, look.touched_again)
        self._add_processes(look)
        if look.memory is not None:
            self._memory = self._memory or _Memory()
            self._memory.add(look.memory)
        for number, accelerator in enumerate(look.accelerators):
            sums = self._accelerators.setdefault(number, _Accelerator(accelerator.name))
            sums.busy += accelerator.busy
            sums.looks += 1
            sums.ours = accelerator.ours if sums.ours is None else sums.ours or bool(accelerator.ours)

    def _add_processes(self, look: Observation) -> None:
        seen = {(each.pid, each.started): each for each in look.processes}
        for key in [key for key in self._alive if key not in seen]:
            self._keep(self._alive.pop(key))
        for key, each in seen.items():
            self._alive.setdefault(key, _Process(each)).add(each)
        found = roles([process.member() for process in self._alive.values()])
        for key, each in seen.items():
            process, role = self._alive[key], found[each.pid]
            sums = self._roles.setdefault(role, _Sums())
            sums.processes += role not in process.roles
            process.roles.add(role)
            process.role = role
            sums.add(each)

    def _keep(self, process: _Process) -> None:
        """Keep the figures of an ended process if it is one of the busiest."""
        heapq.heappush(self._ended, process.ended())
        if len(self._ended) > _BUSIEST:
            heapq.heappop(self._ended)

    def waiting(self) -> Waiting | None:
        """Return the sums so far; None before the first look that took any time."""
        if not self._looks or not self._seconds:
            return None
        busiest = heapq.nlargest(_BUSIEST, [*self._ended, *(each.ended() for each in self._alive.values())])
        made = {role: sums.waiting(self._looks) for role, sums in self._roles.items()}
        return Waiting(
            seconds=self._seconds,
            looks=self._looks,
            cores=self._cores,
            consumer=made.get("consumer"),
            workers=made.get("worker"),
            single=made.get("single"),
            others=made.get("other"),
            busiest=[each.process for each in busiest if each.work],
            files=self._files / self._looks,
            opens=self._opens,
            touched=self._touched,
            touched_again=self._touched_again,
            memory=self._memory and self._memory.waiting(),
            accelerators=[each.waiting() for each in self._accelerators.values()],
        )


class _Ended(NamedTuple):
    """An entry of the heap of busiest processes. The pid and the start make entries distinct."""

    work: float
    pid: int
    started: int
    process: ProcessWaiting


@dataclass(slots=True)
class _Process:
    """What is kept of a process while it is alive."""

    last: ProcessLook
    role: Role = "other"
    roles: set[Role] = field(default_factory=set)
    seconds: float = 0.0
    processor: float = 0.0
    disk: float = 0.0
    bytes_read: int = 0
    calls: int = 0
    faults: int = 0

    def add(self, look: ProcessLook) -> None:
        self.last = look
        self.seconds += look.seconds
        self.processor += look.processor
        self.disk += look.seconds * look.main.get("disk", 0.0)
        self.bytes_read += look.bytes_read
        self.calls += look.reads + look.writes
        self.faults += look.major_faults + look.minor_faults

    def member(self) -> Member:
        return Member(
            pid=self.last.pid,
            parent=self.last.parent,
            command=self.last.command,
            seconds=self.seconds,
            processor=self.processor,
            disk=self.disk,
            calls=self.calls,
            bytes_read=self.bytes_read,
        )

    def ended(self) -> _Ended:
        figures = {"seconds": self.seconds, "processor": self.processor, "disk": self.disk}
        last = self.last
        made = ProcessWaiting(pid=last.pid, command=last.command, role=self.role, bytes_read=self.bytes_read, **figures)
        return _Ended(self.processor + self.disk, last.pid, last.started, made)


_COUNTS: Final = ("bytes_read", "bytes_written", "reads", "writes", "major_faults", "minor_faults")
_DEVICE: Final = ("device_read", "device_written")


class _Sums:
    """The sums of one role."""

    def __init__(self) -> None:
        self.processes = self.looks = self.samples = 0
        self.sampled = self.seconds = self.processor = self.queued = self.kernel = 0.0
        self.main = dict.fromkeys(STATES, 0.0)
        self.threads = dict.fromkeys(STATES, 0.0)
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.device: dict[str, int | None] = dict.fromkeys(_DEVICE, None)
        self.opening = self.stored = 0.0
        self.shows_opening = False

    def add(self, look: ProcessLook) -> None:
        self.looks += 1
        self.samples += look.samples
        self.seconds += look.seconds
        self.processor += look.processor
        self.queued += look.queued
        self.kernel += look.kernel
        for name in _COUNTS:
            self.counts[name] += getattr(look, name)
        for name in _DEVICE:
            self.device[name] = _plus(self.device[name], getattr(look, name))
        if not look.samples:
            return
        self.sampled += look.seconds
        for state, share in look.main.items():
            self.main[state] += share * look.seconds
            self.threads[state] -= share * look.seconds
        for state, count in look.threads.items():
            self.threads[state] += count * look.seconds
        if look.opening is not None:
            self.shows_opening = True
            self.opening += look.opening * look.seconds
            self.stored += look.threads.get("disk", 0.0) * look.seconds

    def waiting(self, looks: int) -> RoleWaiting:
        return RoleWaiting(
            processes=self.processes,
            at_once=self.looks / looks,
            samples=self.samples,
            seconds=self.seconds,
            main=self._states(self.main),
            threads=self._states(self.threads),
            processor=self.processor,
            kernel=self.kernel,
            opening=min(1.0, self.opening / self.stored) if self.shows_opening and self.stored else None,
            **self.counts,
            **self.device,
        )

    def _states(self, seconds: Mapping[str, float]) -> States:
        """Divide seconds by those sampled. A sample cannot tell running from queued: the kernel's sums can."""
        shares = {name: max(0.0, each) / self.sampled if self.sampled else 0.0 for name, each in seconds.items()}
        ready = self.processor + self.queued
        queued = shares["running"] * self.queued / ready if ready else 0.0
        return States(**(shares | {"running": shares["running"] - queued, "queued": queued}))


@dataclass(slots=True)
class _Memory:
    limit: int | None = None
    used: int | None = None
    limited: int | None = None
    refaulted: int | None = None
    stalled: float | None = None

    def add(self, look: MemoryLook) -> None:
        self.limit = look.limit if look.limit is not None else self.limit
        self.used = max((each for each in (self.used, look.used) if each is not None), default=None)
        self.limited = _plus(self.limited, look.limited)
        self.refaulted = _plus(self.refaulted, look.refaulted)
        if look.stalled is not None:
            self.stalled = (self.stalled or 0.0) + look.stalled

    def waiting(self) -> MemoryWaiting:
        return MemoryWaiting(
            limit=self.limit, used=self.used, limited=self.limited, refaulted=self.refaulted, stalled=self.stalled
        )


@dataclass(slots=True)
class _Accelerator:
    name: str
    busy: float = 0.0
    looks: int = 0
    ours: bool | None = None

    def waiting(self) -> AcceleratorWaiting:
        return AcceleratorWaiting(name=self.name, busy=self.busy / self.looks, ours=self.ours)


def _plus(sum_: int | None, more: int | None) -> int | None:
    return sum_ if more is None else (sum_ or 0) + more
