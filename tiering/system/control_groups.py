"""The processors and memory that the control groups of this process allow, in both versions and at every level.

/proc/self/cgroup says which group of each hierarchy a process is in. /proc/self/mountinfo says where that hierarchy is
mounted, and which group is the root of the mount. In a container the mount often shows only the container's own group,
and in a control group namespace paths begin at the namespace's root. So a path is taken relative to the root of its
mount; groups above it are not visible here. The limits of all levels up to the mount point apply, because a parent's
limit binds its children. See cgroups(7) and the kernel's cgroup-v1 and cgroup-v2 documents.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tiering.system.mounts import mounts_of

_ROOT: Final = Path("/")


@dataclass(frozen=True, slots=True)
class MemoryBound:
    """A memory limit. limit: bytes that the group may use. free: bytes that it may still allocate.

    File pages that can be dropped at once count as free. Files in /dev/shm count as used.
    """

    limit: int
    free: int


def processor_share(root: Path = _ROOT, process: int | str = "self") -> float | None:
    """Return how many processors' worth of time the quotas give a process; None without a quota.

    root: the directory that holds /proc and the mounts; a test can use another one.
    """
    shares = []
    for level in levels("cpu", root, process):
        quota, period = _quota(level)
        if quota > 0 and period > 0:
            shares.append(quota / period)
    return min(shares, default=None)


def memory_bound(root: Path = _ROOT) -> MemoryBound | None:
    """Return the tightest memory limit on this process; None if there is none.

    root: as for processor_share. `limit` and `free` may come from different levels.
    """
    bounds = [bound for level in levels("memory", root) if (bound := _bound(level)) is not None]
    if not bounds:
        return None
    return MemoryBound(min(each.limit for each in bounds), min(each.free for each in bounds))


def levels(controller: str, root: Path = _ROOT, process: int | str = "self") -> Iterator[Path]:
    """Yield the directories of a process's groups for a controller, from its own up to the mount point."""
    groups = _groups(root, process)
    for mount in mounts_of(_text(root / "proc/self/mountinfo") or ""):
        if mount.kind == "cgroup2":
            path = groups.get("")
        elif mount.kind == "cgroup" and controller in mount.options:
            path = groups.get(controller)
        else:
            continue
        if path is None:
            continue
        top = root / mount.point.lstrip("/")
        own = top / _below(path, mount.root)
        yield own
        if own != top:
            yield from (parent for parent in own.parents if parent == top or top in parent.parents)


def _groups(root: Path, process: int | str) -> dict[str, str]:
    """Return the path of a process's group for each controller; for version 2 the controller is an empty string."""
    found: dict[str, str] = {}
    for line in (_text(root / f"proc/{process}/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _below(path: str, mounted: str) -> str:
    """Return the path of a group below the root of its mount; the root itself if the group is elsewhere."""
    inside = os.path.relpath(path, mounted) if path.startswith("/") and mounted.startswith("/") else "."
    return "." if inside == ".." or inside.startswith("../") or "/../" in f"{path}/" else inside


def _quota(level: Path) -> tuple[int, int]:
    """Return a level's quota and period in microseconds; -1 if there is none."""
    both = (_text(level / "cpu.max") or "").split()
    if len(both) != 2:
        both = [(_text(level / f"cpu.cfs_{name}_us") or "").strip() for name in ("quota", "period")]
    quota, period = (_number(each) for each in both)
    return quota or -1, period or -1


def _bound(level: Path) -> MemoryBound | None:
    """Return a level's memory bound."""
    stat = dict(line.split(" ", 1) for line in (_text(level / "memory.stat") or "").splitlines() if " " in line)
    limits = [_text(level / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    # In version 1 this includes the groups above, even those that the mount does not show.
    limits.append(stat.get("hierarchical_memory_limit"))
    found = [number for text in limits if (number := _number(text)) is not None]
    if not found:
        return None
    used = _number(_text(level / "memory.current"))
    droppable = _number(stat.get("inactive_file")) or 0
    if used is None:
        used = _number(_text(level / "memory.usage_in_bytes")) or 0
        droppable = _number(stat.get("total_inactive_file")) or droppable
    limit = min(found)
    return MemoryBound(limit, max(0, limit - max(0, used - droppable)))


def _number(text: str | None) -> int | None:
    """Parse a number; None for "max", -1 and anything else."""
    stripped = (text or "").strip()
    return int(stripped) if stripped.isdecimal() and stripped.isascii() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="surrogateescape")
    except OSError:
        return None
