"""Where the processes of a job spend their time, summed over all looks at it.

A sample finds each thread in one state. Over many samples the share in a state is the share of time in it, within about
1 / sqrt(samples). Sums are kept by role, so their size does not depend on how many processes come and go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

#: consumer: a process that takes batches from workers. worker: a process that reads for it. single: a process that
#: does both, perhaps with threads that read. other: the rest, such as launchers and trackers.
Role = Literal["consumer", "worker", "single", "other"]

STATES = ("running", "queued", "disk", "lock", "pipe", "network", "sleeping")


class States(BaseModel):
    """How much time is spent in each state: shares of one thread's time that sum to 1, or mean numbers of threads."""

    model_config = ConfigDict(frozen=True)

    running: float = Field(default=0.0, description="on a processor")
    queued: float = Field(default=0.0, description="ready, and waiting for a processor")
    disk: float = Field(default=0.0, description="waiting for storage, local or mounted")
    lock: float = Field(default=0.0, description="waiting for a lock, or for another thread's signal")
    pipe: float = Field(default=0.0, description="waiting for a pipe or a local socket")
    network: float = Field(default=0.0, description="waiting for another host")
    sleeping: float = Field(default=0.0, description="sleeping, or waiting for something unknown")

    @property
    def storage(self) -> float:
        """Waiting for storage, through a mount or a connection."""
        return self.disk + self.network

    @property
    def processor(self) -> float:
        """Running, or ready to run."""
        return self.running + self.queued


class RoleWaiting(BaseModel):
    """The processes that have one role in the job. Bytes and calls are sums, seconds are those of all processes."""

    model_config = ConfigDict(frozen=True)

    processes: int = Field(description="distinct processes that had this role")
    at_once: float = Field(description="mean number of them alive at a look")
    samples: int = Field(description="how often the states of a process were taken, added up over the processes")
    seconds: float = Field(description="s watched, added up over the processes")
    main: States = Field(description="shares of the first thread's time")
    threads: States = Field(description="mean number of a process's further threads in each state")
    processor: float = Field(description="s of processor time")
    kernel: float = Field(description="the part of it in the kernel: copying, opening files, page faults")
    bytes_read: int = Field(description="by calls, from files, pipes and sockets")
    bytes_written: int = Field(description="by calls, to files, pipes and sockets")
    reads: int = Field(description="calls")
    writes: int = Field(description="calls")
    device_read: int | None = Field(description="B that came from storage; null if the kernel does not tell")
    device_written: int | None = Field(description="B that went to storage; null if the kernel does not tell")
    major_faults: int = Field(description="page faults that waited for storage")
    minor_faults: int = Field(description="page faults that did not")
    opening: float | None = Field(
        description="of the waits for disks and mounts, the share in opening, looking up and listing files; null if "
        "the system does not tell"
    )

    @property
    def cores(self) -> float:
        """Processors that one of the processes keeps busy, on average."""
        return self.processor / self.seconds if self.seconds else 0.0


class ProcessWaiting(BaseModel):
    """One of the busiest processes."""

    model_config = ConfigDict(frozen=True)

    pid: int
    command: str
    role: Role
    seconds: float = Field(description="s watched")
    processor: float = Field(description="s of processor time")
    disk: float = Field(description="s in which its first thread waited for storage")
    bytes_read: int


class MemoryWaiting(BaseModel):
    """The memory that the job may use, over the time watched."""

    model_config = ConfigDict(frozen=True)

    limit: int | None = Field(description="B that the job's control groups allow; null without a limit")
    used: int | None = Field(description="most B in use in that group at a look, page cache included")
    limited: int | None = Field(description="how often the group was held at its limit; null without a limit")
    refaulted: int | None = Field(description="B of file pages read again shortly after they were dropped from memory")
    stalled: float | None = Field(description="s in which some process waited for memory")


class AcceleratorWaiting(BaseModel):
    """An accelerator of the machine, over the time watched."""

    model_config = ConfigDict(frozen=True)

    name: str
    busy: float = Field(description="mean share of the time in which it computed")
    ours: bool | None = Field(description="whether the job uses it; null if the driver does not tell")


class ProfiledSteps(BaseModel):
    """What a profiler inside the training process saw (torch.profiler). Times are s of the training thread."""

    model_config = ConfigDict(frozen=True)

    seconds: float = Field(description="s from the first span to the end of the last")
    batches: int = Field(description="batches that the training loop took from its DataLoader")
    loading: float = Field(description="s in which the training loop waited for its DataLoader")
    in_process: bool = Field(description="the DataLoader has no workers: it loads in the training process")
    optimizer: float = Field(description="s in optimizer steps")
    copying: float | None = Field(description="s of copies to an accelerator; null if the trace shows no accelerator")
    kernels: float | None = Field(description="s in which an accelerator computed; null if the trace shows none")


class Waiting(BaseModel):
    """Where the processes of a job spend their time. tiering.causes names what slows the job down.

    Missing figures are null, never 0: a role that no process had, and what the system does not tell.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float = Field(description="s watched")
    looks: int
    cores: int | None = Field(description="processors that the job may use; null if unknown")
    consumer: RoleWaiting | None = Field(default=None, description="the processes that take batches from workers")
    workers: RoleWaiting | None = Field(default=None, description="the processes that load for a consumer")
    single: RoleWaiting | None = Field(
        default=None, description="processes that load and train by themselves, or with threads"
    )
    others: RoleWaiting | None = Field(default=None, description="launchers, trackers and other processes")
    busiest: list[ProcessWaiting] = Field(default=[], description="the processes with most work, at most eight")
    files: float = Field(default=0.0, description="mean number of data files open or mapped at a look")
    opens: int | None = Field(default=None, description="files opened; null if no source shows opens")
    touched: int | None = Field(default=None, description="distinct B of data files read; null if no source shows it")
    touched_again: int | None = Field(default=None, description="B of data files read again; null if not known")
    memory: MemoryWaiting | None = None
    accelerators: list[AcceleratorWaiting] = []
    profiled: ProfiledSteps | None = Field(default=None, description="from a profiler's trace; null if watched")

    def roles(self) -> Mapping[Role, RoleWaiting]:
        """Return the roles that processes had."""
        found: dict[Role, RoleWaiting | None] = {
            "consumer": self.consumer,
            "worker": self.workers,
            "single": self.single,
            "other": self.others,
        }
        return {role: each for role, each in found.items() if each is not None}

    @property
    def demand(self) -> float:
        """Processors that the job's threads would keep busy: how many run or are ready to run, on average."""
        return _total(each.at_once * (each.main.processor + each.threads.processor) for each in self.roles().values())

    @property
    def device_read(self) -> int | None:
        """B that all processes read from storage; None if the kernel does not tell."""
        known = [each.device_read for each in self.roles().values() if each.device_read is not None]
        return sum(known) if known else None

    @property
    def accelerator_busy(self) -> float | None:
        """Share of the time in which the job's accelerators computed; None if it has none that is known."""
        mine = [each.busy for each in self.accelerators if each.ours] or [
            each.busy for each in self.accelerators if each.ours is None
        ]
        return _total(mine) / len(mine) if mine else None


def _total(values: Iterable[float]) -> float:
    return sum(values, 0.0)
