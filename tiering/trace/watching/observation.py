"""What one look at a running job saw: its processes, its files, and the events since the look before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

#: What a thread does at a look. disk: waits for storage: state D, or the server of a mounted file system (the kernel
#: waits for a FUSE server in state S: request_wait_answer). lock: waits in futex, or for a lock on a file. pipe: waits
#: for a pipe or a local socket. network: waits for a socket to another host. sleeping: sleeps, or waits for something
#: unknown. A thread that is ready and waits for a processor counts as running.
ThreadState = Literal["running", "disk", "lock", "pipe", "network", "sleeping"]


@dataclass(frozen=True, slots=True)
class ProcessLook:
    """One process between two looks; figures are differences since the look before, or since the process started.

    Attributes:
        pid, started: Its number, and when it started in clock ticks since boot: together they name one process for
            ever, as numbers are given away again (proc(5), /proc/PID/stat, field 22).
        parent: The pid of its parent.
        command: The name of its program, safe to print.
        seconds: s between the looks.
        processor, queued: s that its threads ran, and that they were ready and waited for a processor.
        kernel: The part of `processor` that was spent in the kernel, s: copying, opening, page faults.
        samples: How often the states of its threads were sampled between the looks.
        threads: How many of its threads were in each state, as a mean over these samples.
        main: The share of these samples in which its first thread was in each state; empty without a sample.
        opening: How many of the threads that wait for a disk or a server do so to open, look up or list files, rather
            than to read, as a mean over the samples; None where the system does not say (/proc/PID/syscall needs the
            right to trace).
        bytes_read, bytes_written, reads, writes: B and calls of read and write, of any file, pipe or socket.
        device_read, device_written: B that reached or came from storage; None where the kernel does not tell.
        major_faults, minor_faults: Page faults that waited for storage, and others.
        resident: B of memory in use.
    """

    pid: int
    started: int
    parent: int
    command: str
    seconds: float
    processor: float
    queued: float
    kernel: float
    samples: int
    threads: Mapping[ThreadState, float]
    main: Mapping[ThreadState, float]
    opening: float | None
    bytes_read: int
    bytes_written: int
    reads: int
    writes: int
    device_read: int | None
    device_written: int | None
    major_faults: int
    minor_faults: int
    resident: int


@dataclass(frozen=True, slots=True)
class MemoryLook:
    """What one look saw of the memory that a job may use; counts are differences since the look before.

    Attributes:
        limit: B that the job's control groups allow, the tightest of all levels; None without a limit.
        used: B in use in that group, page cache included; None without a limit.
        limited: How often the group was held at its limit: throttled, or made to free memory (memory.events high and
            max; memory.failcnt in version 1); None without a limit.
        refaulted: B of pages of files that were read again although they had been in memory a short while before: of
            the group, or of the whole machine without a limit; None where the kernel does not count them.
        stalled: s in which some process waited for memory (pressure stall information, "some"): of the group where
            the kernel has it for groups, else of the whole machine; None where it is not built in.
    """

    limit: int | None
    used: int | None
    limited: int | None
    refaulted: int | None
    stalled: float | None


@dataclass(frozen=True, slots=True)
class AcceleratorLook:
    """One accelerator that the job's machine has, at one look.

    Attributes:
        name: Its model.
        busy: Share of the time in which it computed, in [0, 1].
        memory_used: B.
        ours: Whether a process of the job uses it; None where the driver does not say.
    """

    name: str
    busy: float
    memory_used: int
    ours: bool | None


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a job.

    Attributes:
        time: s since the epoch.
        seconds: s since the look before.
        processes: Every process of the job that was alive at this look, or ended since the look before.
        events: What the look adds to the trace (EVENT_SCHEMA).
        files: Data files that are open or mapped.
        touched, touched_again: B of data files read for the first time and again in this interval, where a source
            shows which bytes; None where none does. With a dataset, of its files alone.
        watcher: s of processor time that the watcher itself used since the look before.
        mapped: B of mapped data files that the job was seen to use in this interval; None where no source shows it.
        memory: The memory that the job may use; None where nothing is known of it.
        accelerators: The accelerators of this machine; empty if it has none, or none that the system shows.
    """

    time: float
    seconds: float
    processes: tuple[ProcessLook, ...]
    events: pl.DataFrame
    files: int
    touched: int | None
    touched_again: int | None
    watcher: float
    mapped: int | None = None
    memory: MemoryLook | None = None
    accelerators: tuple[AcceleratorLook, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceUse:
    """A source of evidence: whether the system allowed it, what it shows, and what it cannot show.

    Attributes:
        name: Such as "page faults".
        used: Whether it was used.
        shows, lacks: Each a clause.
        reason: Why it was not used; "" if it was.
    """

    name: str
    used: bool
    shows: str
    lacks: str
    reason: str = ""
