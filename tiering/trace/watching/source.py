"""A source of evidence on a running job: the seam between the loop that watches and what the kernel shows.

A source is opened for a job, asked at each look for what happened since the look before, and closed. One that the
system does not allow is a source too: it says why, and gives no events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from tiering.system.process_files import Counters
from tiering.system.process_tree import TreeLook
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.watching.observation import SourceUse

NO_EVENTS = pl.DataFrame(schema=EVENT_SCHEMA)


@dataclass(frozen=True, slots=True)
class Look:
    """What the loop knows at a look.

    Attributes:
        time: s since the epoch.
        seconds: s since the look before.
        tree: The processes of the job.
        counts: What each process read and wrote since the look before, by pid; also of those that ended since. Without
            those whose counts may not be read.
        job: The number of the process with which the job began: the `group` of all events.
        events: What the sources before this one found at this look, of calls that the kernel counts: no mapped reads.
    """

    time: float
    seconds: float
    tree: TreeLook
    counts: Mapping[int, Counters]
    job: int
    events: pl.DataFrame = field(default_factory=lambda: NO_EVENTS)


class Source(Protocol):
    """Evidence on a job."""

    @property
    def counted(self) -> bool:
        """Whether its reads and writes are calls that /proc/PID/io counts. Reads of mapped files are not."""

    def use(self) -> SourceUse:
        """Return whether the source is used, what it shows and what it lacks; as it is known by now."""

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable when `drain` should be called before the next look, or None."""

    def drain(self) -> None:
        """Take what the kernel holds for this source, so that nothing is lost until the next look."""

    def take(self, look: Look) -> pl.DataFrame:
        """Return what happened since the look before (EVENT_SCHEMA)."""

    def notes(self) -> list[str]:
        """Return remarks for the user about what was seen: what was lost, and how sure it is."""

    def close(self) -> None:
        """Give everything back to the kernel."""


class KeptByKernel:
    """What the source of something that the kernel keeps until a look has to do in between: nothing."""

    def fileno(self) -> int | None:
        """Return None."""
        return None

    def drain(self) -> None:
        """Do nothing."""

    def notes(self) -> list[str]:
        """Return nothing."""
        return []

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Unavailable(KeptByKernel):
    """A source that the system does not allow."""

    reason: SourceUse
    counted: bool = False

    def use(self) -> SourceUse:
        """Return why it is not used."""
        return self.reason

    def take(self, look: Look) -> pl.DataFrame:  # noqa: ARG002
        """Return no events."""
        return NO_EVENTS


def moved_bytes(events: pl.DataFrame) -> dict[tuple[int, str], int]:
    """Return the B that events read and wrote, by process and operation."""
    moved = events.filter(pl.col("op").is_in(["read", "write"]))
    return {(pid, op): size for pid, op, size in moved.group_by("pid", "op").agg(pl.col("size").sum()).rows()}
