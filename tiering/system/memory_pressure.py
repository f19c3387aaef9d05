"""What holds back the memory of a process: limits of its control groups, pages read again, and stalls.

See the kernel's documents cgroup-v2 (memory.events, memory.stat, memory.pressure), cgroup-v1/memory and accounting/psi.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tiering.system.control_groups import levels

_ROOT: Final = Path("/")
#: B. Version 1 writes a limit of nearly 2^63 where there is none.
_NO_LIMIT: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class MemoryCounts:
    """Counts since the group or the machine started; None where the kernel does not tell.

    Attributes:
        limit, used: B that the tightest control group allows, and that are in use in it.
        limited: How often that group was held at its limit.
        refaulted: B of file pages that were read again shortly after they had been dropped: of the process's own group,
            or of the machine.
        stalled: s in which some process waited for memory: of the group, or of the machine.
    """

    limit: int | None
    used: int | None
    limited: int | None
    refaulted: int | None
    stalled: float | None


class MemoryGroup:
    """The memory counts that concern a process, read again and again.

    Args:
        pid: The process. Its groups are found once: it hardly ever moves.
        root: The directory that holds /proc and the control groups.
    """

    def __init__(self, pid: int | str = "self", root: Path = _ROOT) -> None:
        self._root = root
        self._levels = list(levels("memory", root, pid))

    def counts(self) -> MemoryCounts:
        """Return the counts now. It costs about 0.1 ms."""
        bounds = [(limit, level) for level in self._levels if (limit := _limit(level)) is not None]
        limit, tightest = min(bounds, default=(None, None))
        stats = _numbers(self._levels[0] / "memory.stat") if self._levels else {}
        pages = stats.get("total_workingset_refault_file", stats.get("workingset_refault_file"))
        if pages is None:
            pages = _numbers(self._root / "proc/vmstat").get("workingset_refault_file")
        pressures = [level / "memory.pressure" for level in self._levels[:1]] + [self._root / "proc/pressure/memory"]
        return MemoryCounts(
            limit=limit,
            used=_first(tightest, ("memory.current", "memory.usage_in_bytes")) if tightest else None,
            limited=_limited(tightest) if tightest else None,
            refaulted=None if pages is None else pages * os.sysconf("SC_PAGE_SIZE"),
            stalled=next((found for each in pressures if (found := _stalled(each)) is not None), None),
        )


def _limit(level: Path) -> int | None:
    found = [_first(level, (name,)) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    return min((each for each in found if each is not None and each < _NO_LIMIT), default=None)


def _limited(level: Path) -> int | None:
    events = _numbers(level / "memory.events")
    if "high" in events or "max" in events:
        return events.get("high", 0) + events.get("max", 0)
    return _first(level, ("memory.failcnt",))


def _first(level: Path, names: Iterable[str]) -> int | None:
    """Return the number in the first of some files that holds one."""
    for name in names:
        text = _text(level / name).strip()
        if text.isdecimal():
            return int(text)
    return None


def _numbers(path: Path) -> dict[str, int]:
    """Read a file of names and numbers, a pair a line."""
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _stalled(path: Path) -> float | None:
    """Return the s of the line "some avg10=0.00 avg60=0.00 avg300=0.00 total=MICROSECONDS"."""
    for line in _text(path).splitlines():
        kind, _, rest = line.partition(" ")
        total = rest.rpartition("total=")[2]
        if kind == "some" and total.isdecimal():
            return int(total) / 1e6
    return None


def _text(path: Path) -> str:
    """Return the text of a small file; "" if it cannot be read, as pressure cannot where the kernel has it off."""
    try:
        return path.read_text(errors="surrogateescape")
    except OSError:
        return ""
