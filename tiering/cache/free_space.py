"""Free space: how much a cache may still take, and how much it leaves free for others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tiering.system.control_groups import memory_bound
from tiering.units import format_bytes

#: Disk space left free: this share of it, but at most this many bytes.
_DISK_SHARE: Final = 0.05
_MOST_OF_DISK: Final = 10 << 30

#: Memory left free: half of the file system, and half of what the control group allows, but at most this many bytes
#: each. PyTorch's workers hand their batches over in /dev/shm: 8 workers with 2 batches each of 256 images of 224 x 224
#: in float32 need 2.5 GB. A container has 64 MB there by default, and a cache must not take all of them.
_MEMORY_SHARE: Final = 0.5
_MOST_OF_MEMORY: Final = 4 << 30


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Free space of one file system or control group, in bytes.

    Attributes:
        size: Its total size.
        free: How much of it is free now.
        kept: How much a cache leaves free for others.
        what: A phrase for messages, such as "on its disk".
    """

    size: int
    free: int
    kept: int
    what: str

    @property
    def most(self) -> int:
        """The most bytes that a cache may ever take: the same for all processes, however much is free now."""
        return self.size - self.kept

    @property
    def left(self) -> int:
        """Bytes that a cache may still take."""
        return max(0, self.free - self.kept)

    def __str__(self) -> str:
        free, size, kept = (format_bytes(each) for each in (self.free, self.size, self.kept))
        return f"{free} of {size} are free {self.what}, and {kept} stay free for others"


def free_on_disk(directory: Path) -> FreeSpace:
    """Return the room on a directory's disk."""
    size, free = _of_file_system(directory)
    return FreeSpace(size, free, min(_MOST_OF_DISK, int(size * _DISK_SHARE)), "on its disk")


def free_in_memory(directory: Path) -> FreeSpace:
    """Return the room in a directory's in-memory file system, or in the control group if that has less.

    Files there count as memory of the control group.
    """
    size, free = _of_file_system(directory)
    found = FreeSpace(size, free, _kept_in_memory(size), f"in {directory.parent}")
    bound = memory_bound()
    if bound is None:
        return found
    group = FreeSpace(bound.limit, bound.free, _kept_in_memory(bound.limit), "in its control group's memory")
    return min(found, group, key=lambda room: room.left)


def _kept_in_memory(size: int) -> int:
    return min(_MOST_OF_MEMORY, int(size * _MEMORY_SHARE))


def _of_file_system(directory: Path) -> tuple[int, int]:
    found = os.statvfs(directory)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
