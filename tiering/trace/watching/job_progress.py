"""What a running job does now, and what it has done since the watch began: sums over looks, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp
from typing import Final

from tiering.trace.watching.epoch_estimate import EpochEstimate, EpochEstimator
from tiering.trace.watching.observation import (
    AcceleratorLook,
    MemoryLook,
    Observation,
    ProcessLook,
    ThreadState,
)

#: s over which rates and states are averaged.
_AVERAGED: Final = 5.0

_OF_FIRST_THREAD: Final[tuple[ThreadState, ...]] = ("lock", "pipe", "network", "sleeping")
_STATES: Final[tuple[ThreadState, ...]] = ("running", "disk", *_OF_FIRST_THREAD)
_FLOWS: Final = ("read", "written", "mapped", "storage_read", "storage_written")


@dataclass(frozen=True, slots=True)
class Flow:
    """Bytes that move in one way.

    Attributes:
        bytes: B since the watch began.
        bytes_per_s: B/s in the last seconds.
        requests: Calls since the watch began; for mapped files, page faults that waited for storage. None where they
            are not counted.
        requests_per_s: Requests a second in the last seconds.
    """

    bytes: int
    bytes_per_s: float
    requests: int | None
    requests_per_s: float | None


@dataclass(frozen=True, slots=True)
class ProcessProgress:
    """One process of a job in the last seconds.

    A process runs while any of its threads does, and waits for the disk while any does and none runs. Otherwise it
    does what its first thread does.

    Attributes:
        pid, started: Its number, and when it started in clock ticks since boot.
        parent: The pid of its parent.
        command: The name of its program.
        threads: How many it has.
        processor: Processors that it uses: 1.5 is one and a half.
        queued: Threads that were ready, and waited for a processor, on average.
        running, disk, lock, pipe, network, sleeping: The share of the time in each state; together 1, or all 0 if its
            threads were never looked at.
        read_per_s, written_per_s: B/s of its read and write calls.
        resident: B of memory in use.
    """

    pid: int
    started: int
    parent: int
    command: str
    threads: int
    processor: float
    queued: float
    running: float
    disk: float
    lock: float
    pipe: float
    network: float
    sleeping: float
    read_per_s: float
    written_per_s: float
    resident: int

    @property
    def busy(self) -> tuple[int, float]:
        """What the busiest process is chosen by: what it does or waits for, in steps of 5 %, and what it moves."""
        active = self.processor + self.queued + self.disk + self.network
        return round(20 * active), self.read_per_s + self.written_per_s


@dataclass(frozen=True, slots=True)
class JobProgress:
    """What a job does now, and what it has done since the watch began.

    Attributes:
        time: s since the epoch.
        seconds: s since the watch began.
        look_seconds: s between the last two looks.
        root: The pid of the process that is watched, with all that it started.
        command: The name of its program.
        read, written: By calls of read and write, of any file, pipe or socket.
        mapped: Of mapped data files; None where no source shows it.
        storage_read, storage_written: What came from and went to storage; None where the kernel does not tell.
        files: Data files that are open or mapped.
        touched: B of data files that were read at least once; None where no source shows it.
        touched_share: The share of the dataset that was touched; None where that is not known.
        reread_share: The share of the bytes read of data files that were read again; None where no source shows it.
        epoch: None while it cannot be estimated.
        processes: Those that are alive, the busiest first.
        watcher: Processors that the watcher itself uses.
        memory: The memory that the job may use, at this look; None where nothing is known of it.
        accelerators: The accelerators of this machine, at this look.
    """

    time: float
    seconds: float
    look_seconds: float
    root: int
    command: str
    read: Flow
    written: Flow
    mapped: Flow | None
    storage_read: Flow | None
    storage_written: Flow | None
    files: int
    touched: int | None
    touched_share: float | None
    reread_share: float | None
    epoch: EpochEstimate | None
    processes: tuple[ProcessProgress, ...]
    watcher: float
    memory: MemoryLook | None
    accelerators: tuple[AcceleratorLook, ...]


class _Recent:
    """Sums over the last seconds: older ones count less and less."""

    __slots__ = ("_seconds", "_sums")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._sums: dict[str, float] = {}

    def add(self, seconds: float, values: dict[str, float]) -> None:
        kept = exp(-seconds / _AVERAGED)
        self._seconds = self._seconds * kept + seconds
        self._sums = {name: sum_ * kept for name, sum_ in self._sums.items()}
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def rate(self, name: str) -> float:
        """Return an amount for each second."""
        return self._sums.get(name, 0.0) / self._seconds if self._seconds else 0.0


class _Sum:
    """A flow: all of it, and the last seconds."""

    def __init__(self) -> None:
        self._bytes = self._requests = 0
        self._counted = True
        self._recent: _Recent | None = None

    def add(self, seconds: float, size: int | None, requests: int | None) -> None:
        """Add a look. size: None if it is not known."""
        if size is None:
            return
        if self._recent is None:
            self._recent = _Recent()
        self._bytes += size
        self._requests += requests or 0
        self._counted = requests is not None
        self._recent.add(seconds, {"bytes": size, "requests": requests or 0})

    def flow(self) -> Flow | None:
        """Return the flow, or None if it was never known."""
        if self._recent is None:
            return None
        size = self._recent.rate("bytes")
        if not self._counted:
            return Flow(self._bytes, size, None, None)
        return Flow(self._bytes, size, self._requests, self._recent.rate("requests"))


class ProgressTally:
    """Sums up looks at a job. Its memory is that of the processes that are alive.

    Args:
        from_start: Whether the watch began with the job.
        dataset_bytes: B of the dataset that the job reads; None if there is none to go by.

    Example:
        >>> tally = ProgressTally()
        >>> tiering.watch(4242, on_look=tally.add)  # doctest: +SKIP
        >>> tally.progress().read.bytes_per_s  # doctest: +SKIP
        182034432.0
    """

    def __init__(self, *, from_start: bool = False, dataset_bytes: int | None = None) -> None:
        self._epochs = EpochEstimator(from_start=from_start, dataset_bytes=dataset_bytes)
        self._sums = {name: _Sum() for name in _FLOWS}
        self._processes: dict[tuple[int, int], tuple[ProcessLook, _Recent]] = {}
        self._watcher = _Recent()
        #: s since the watch began.
        self.seconds = 0.0
        self._last: Observation | None = None
        self._root: tuple[int, str] | None = None

    def add(self, look: Observation) -> None:
        """Take note of a look."""
        self.seconds += look.seconds
        self._epochs.add(look)
        self._watcher.add(look.seconds, {"seconds": look.watcher})
        each = look.processes
        if self._root is None and each:
            self._root = each[0].pid, each[0].command
        faults = sum(process.major_faults for process in each)
        for name, size, requests in (
            ("read", sum(process.bytes_read for process in each), sum(process.reads for process in each)),
            ("written", sum(process.bytes_written for process in each), sum(process.writes for process in each)),
            ("mapped", look.mapped, faults),
            ("storage_read", _known(process.device_read for process in each), None),
            ("storage_written", _known(process.device_written for process in each), None),
        ):
            self._sums[name].add(look.seconds, size, requests)
        before, now = self._processes, {}
        for process in each:
            key = process.pid, process.started
            recent = before[key][1] if key in before else _Recent()
            recent.add(process.seconds, _amounts(process))
            now[key] = process, recent
        # Replaced as a whole: another thread may read it, for Prometheus.
        self._processes = now
        self._last = look

    def progress(self) -> JobProgress | None:
        """Return what was seen so far; None before the first look at a process."""
        if self._last is None or self._root is None:
            return None
        flows = {name: each.flow() for name, each in self._sums.items()}
        nothing = Flow(0, 0.0, 0, 0.0)
        moved = self._epochs.touched + self._epochs.touched_again
        processes = (_process(look, recent) for look, recent in self._processes.values())
        return JobProgress(
            time=self._last.time,
            seconds=self.seconds,
            look_seconds=self._last.seconds,
            root=self._root[0],
            command=self._root[1],
            read=flows["read"] or nothing,
            written=flows["written"] or nothing,
            mapped=flows["mapped"],
            storage_read=flows["storage_read"],
            storage_written=flows["storage_written"],
            files=self._last.files,
            touched=self._epochs.touched if self._epochs.shows_bytes else None,
            touched_share=self._epochs.touched_share,
            reread_share=self._epochs.touched_again / moved if moved and self._epochs.shows_bytes else None,
            epoch=self._epochs.estimate(),
            processes=tuple(sorted(processes, key=lambda each: (each.busy, -each.pid), reverse=True)),
            watcher=self._watcher.rate("seconds"),
            memory=self._last.memory,
            accelerators=self._last.accelerators,
        )


def _known(sizes: Iterable[int | None]) -> int | None:
    found = [size for size in sizes if size is not None]
    return sum(found) if found else None


def _amounts(process: ProcessLook) -> dict[str, float]:
    """Return what is summed over the last seconds: seconds in each state, and what moved."""
    amounts = {
        "processor": process.processor,
        "queued": process.queued,
        "read": process.bytes_read,
        "written": process.bytes_written,
        "sampled": process.seconds if process.samples else 0.0,
    }
    if process.samples:
        running = min(1.0, process.threads.get("running", 0.0))
        disk = min(1.0 - running, process.threads.get("disk", 0.0))
        waits = {state: process.main.get(state, 0.0) for state in _OF_FIRST_THREAD}
        if not any(waits.values()):
            waits["sleeping"] = 1.0
        scale = (1.0 - running - disk) / sum(waits.values())
        shares = {"running": running, "disk": disk, **{state: scale * share for state, share in waits.items()}}
        amounts |= {state: share * process.seconds for state, share in shares.items()}
    return amounts


def _process(look: ProcessLook, recent: _Recent) -> ProcessProgress:
    sampled = recent.rate("sampled")
    shares = {state: recent.rate(state) / sampled if sampled else 0.0 for state in _STATES}
    return ProcessProgress(
        pid=look.pid,
        started=look.started,
        parent=look.parent,
        command=look.command,
        threads=max(1, round(sum(look.threads.values()))),
        processor=recent.rate("processor"),
        queued=recent.rate("queued"),
        read_per_s=recent.rate("read"),
        written_per_s=recent.rate("written"),
        resident=look.resident,
        **shares,
    )
