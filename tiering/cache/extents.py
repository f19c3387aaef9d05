"""Extents: numbered files of one size, which bound a cache without a lock.

The number of extents is fixed, all have one size, and the process that creates the file of a number owns it. So the
files never exceed the bound, even on file systems where locks do nothing. Only the owner of an extent writes to it, one
payload after another, and it never overwrites anything.

An extent is only created while the file system has enough free space left for others (`FreeSpace`).
"""

from __future__ import annotations

import errno
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tiering.cache.files import lock_of, open_file
from tiering.io_sizes import PAGE_BYTES
from tiering.system.control_groups import memory_bound
from tiering.units import format_bytes

HEADER_BYTES: Final = 64
_NAME_BYTES: Final = 32

#: The name of a dataset.
NAME: Final = "[0-9a-f]{32}"

#: Disk space left free: this share of the disk, but at most this many bytes.
_DISK_SHARE: Final = 0.05
_MOST_OF_DISK: Final = 10 << 30

#: Memory left free: half of the file system, and half of what the control group allows, but at most this many bytes
#: each. PyTorch's workers hand their batches over in /dev/shm: 8 workers with 2 batches each of 256 images of 224 x 224
#: in float32 need 2.5 GB. A container has 64 MB there by default, and a cache must not take all of them.
_MEMORY_SHARE: Final = 0.5
_MOST_OF_MEMORY: Final = 4 << 30


class CacheFullWarning(UserWarning):
    """A cache admits nothing more, because its disk is full or failed, or it has less memory than asked for."""


@dataclass(frozen=True, slots=True)
class Extent:
    """An extent that this process owns while its descriptor is open: the descriptor holds the lock of the file.

    Attributes:
        number: Its number in the pool.
        descriptor: The file, open for writing.
        begun: Whether another process, which has ended, wrote into it.
    """

    number: int
    descriptor: int
    begun: bool


class ExtentPool:
    """All extents of one cache directory.

    A foreign file with the name of an extent stays, and its number counts as taken.

    Args:
        directory: The directory of the extents.
        extent_bytes: The size of each.
        extents: How many there may be; they are numbered from 0.
        in_memory: Whether the directory is in /dev/shm rather than on a disk.
    """

    def __init__(self, directory: Path, extent_bytes: int, extents: int, *, in_memory: bool) -> None:
        self.extent_bytes, self.extents = extent_bytes, extents
        self.frozen = False
        self._directory, self._in_memory = directory, in_memory

    def paths(self) -> list[Path]:
        """Return the path of each extent, by number, whether the file exists or not."""
        return [self._directory / f"{number:05d}" for number in range(self.extents)]

    def free_space(self) -> FreeSpace:
        """Return the free space of the file system that the extents are on."""
        return (free_in_memory if self._in_memory else _free_on_disk)(self._directory.parent)

    def create(self, header: bytes) -> Extent | None:
        """Create an extent with a free number, its space preallocated.

        If the disk is full or fails, the pool is frozen: it admits nothing more.

        Args:
            header: HEADER_BYTES that name the dataset, from `header_of`.

        Returns:
            The extent, owned by this process; None if all numbers are taken, or the pool is frozen.
        """
        taken = {name for name in os.listdir(self._directory) if not name.startswith(".")}  # noqa: PTH208 - names only
        for path in self.paths():
            if self.frozen:
                break
            if path.name not in taken and (found := self._create(path, header)) is not None:
                return found
        return None

    def adopt(self, header: bytes, but: frozenset[int]) -> Extent | None:
        """Take over an extent with this header whose owner has ended: its lock is free. Needs working locks.

        but: numbers of extents that are not wanted.
        """
        for number, path in enumerate(self.paths()):
            if number in but:
                continue
            try:
                descriptor = open_file(path, os.O_RDWR)
            except (FileNotFoundError, PermissionError):
                continue
            if os.pread(descriptor, HEADER_BYTES, 0) == header and lock_of(descriptor):
                return Extent(number, descriptor, begun=True)
            os.close(descriptor)
        return None

    def remove(self, name: str) -> None:
        """Remove the extents of a dataset. Processes that have them open can still read them."""
        for path in self.paths():
            if _owner_of(path) == name.encode():
                path.unlink(missing_ok=True)

    def remove_strays(self, names: set[str]) -> bool:
        """Remove the extents of all datasets except these; return whether there were any."""
        known = {name.encode() for name in names}
        strays = [path for path in self.paths() if (owner := _owner_of(path)) is not None and owner not in known]
        for path in strays:
            path.unlink(missing_ok=True)
        return bool(strays)

    def freeze(self, error: OSError) -> None:
        """Admit nothing more, and warn once."""
        if not self.frozen:
            self.frozen = True
            warnings.warn(
                f"{self._directory.parent}: {error.strerror or str(error)}. The cache keeps what it holds "
                "and admits nothing more; epochs continue.",
                CacheFullWarning,
                stacklevel=2,
            )

    def _create(self, path: Path, header: bytes) -> Extent | None:
        free = self.free_space()
        if free.left < self.extent_bytes:
            self.freeze(OSError(errno.ENOSPC, str(free)))
            return None
        try:
            descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return None
        except OSError as error:
            self.freeze(error)
            return None
        try:
            lock_of(descriptor)
            os.posix_fallocate(descriptor, 0, self.extent_bytes)
            os.pwrite(descriptor, header, 0)
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            self.freeze(error)
            return None
        return Extent(int(path.name), descriptor, begun=False)


def header_of(name: str, filling: bytes) -> bytes:
    """Return the header of an extent of a dataset. name: up to 32 ASCII letters; filling: 16 bytes."""
    return name.encode().ljust(_NAME_BYTES, b"\0") + filling.ljust(HEADER_BYTES - _NAME_BYTES, b"\0")


def remove_extents(directory: Path) -> None:
    """Remove all extents in a directory, whatever their size. Other files stay."""
    for path in sorted(directory.iterdir()):
        if re.fullmatch("[0-9]{5}", path.name) and _owner_of(path) is not None:
            path.unlink(missing_ok=True)


def _owner_of(path: Path) -> bytes | None:
    """Return the dataset that an extent's header names; empty if a process died while it made the extent.

    None if there is no extent, if a process is making it right now, or if the file is not an extent.
    """
    try:
        with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
            name = file.read(HEADER_BYTES)[:_NAME_BYTES].rstrip(b"\0")
            if name:
                return name if re.fullmatch(NAME.encode(), name) else None
            left = os.fstat(file.fileno()).st_size % PAGE_BYTES == 0
            return name if left and lock_of(file.fileno()) else None
    except (FileNotFoundError, PermissionError):
        return None


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Free space of one file system or control group, in bytes.

    Attributes:
        size: Its total size.
        free: How much of it is free now.
        kept: How much a cache leaves free for others.
        where: A phrase for messages, such as "on its disk".
    """

    size: int
    free: int
    kept: int
    where: str

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
        return f"{free} of {size} are free {self.where}, and {kept} stay free for others"


def free_in_memory(directory: Path) -> FreeSpace:
    """Return the free space of a directory's in-memory file system, or of the control group if that has less.

    Files there count as memory of the control group.
    """
    size, free = _of_file_system(directory)
    found = FreeSpace(size, free, _kept_in_memory(size), f"in {directory.parent}")
    bound = memory_bound()
    if bound is None:
        return found
    group = FreeSpace(bound.limit, bound.free, _kept_in_memory(bound.limit), "in its control group's memory")
    return min(found, group, key=lambda each: each.left)


def _free_on_disk(directory: Path) -> FreeSpace:
    size, free = _of_file_system(directory)
    return FreeSpace(size, free, min(_MOST_OF_DISK, int(size * _DISK_SHARE)), "on its disk")


def _kept_in_memory(size: int) -> int:
    return min(_MOST_OF_MEMORY, int(size * _MEMORY_SHARE))


def _of_file_system(directory: Path) -> tuple[int, int]:
    found = os.statvfs(directory)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
