"""What surrounds a job at a look: the memory that it may use, and the machine's accelerators."""

from __future__ import annotations

from collections.abc import Collection
from typing import Self

from tiering.system.accelerators import Accelerators
from tiering.system.memory_pressure import MemoryCounts, MemoryGroup
from tiering.trace.watching.observation import AcceleratorLook, MemoryLook, SourceUse


class Surroundings:
    """Looks at the memory and the accelerators of a job. Use it as a context manager.

    Args:
        pid: A process of the job; its control groups are those of the job.
    """

    def __init__(self, pid: int) -> None:
        self._group = MemoryGroup(pid)
        self._before = self._group.counts()
        self._accelerators = Accelerators()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._accelerators.__exit__(*reason)

    def use(self) -> SourceUse:
        """Return what is seen of accelerators."""
        missing = self._accelerators.missing
        return SourceUse(
            "NVML", not missing, "how busy NVIDIA's accelerators are", "accelerators of other makers", missing
        )

    def memory(self) -> MemoryLook:
        """Return what the memory did since the call before."""
        now, before = self._group.counts(), self._before
        self._before = now
        return MemoryLook(
            limit=now.limit,
            used=now.used,
            limited=_more(before.limited, now.limited),
            refaulted=_more(before.refaulted, now.refaulted),
            stalled=_stalled(before, now),
        )

    def accelerators(self, pids: Collection[int]) -> tuple[AcceleratorLook, ...]:
        """Return the accelerators. pids: the processes of the job."""
        return tuple(
            AcceleratorLook(
                each.name,
                each.busy,
                each.memory_used,
                None if each.pids is None else not each.pids.isdisjoint(pids),
            )
            for each in self._accelerators.look()
        )


def _more(before: int | None, now: int | None) -> int | None:
    """Return the difference of two counts; one that became smaller was reset."""
    return None if before is None or now is None else max(0, now - before)


def _stalled(before: MemoryCounts, now: MemoryCounts) -> float | None:
    return None if before.stalled is None or now.stalled is None else max(0.0, now.stalled - before.stalled)
