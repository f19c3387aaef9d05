"""Extents: numbered files of one size, which bound a cache without a lock.

The number of extents is fixed, all have one size, and the process that creates the file of a number owns it. So the
files never exceed the bound, even on file systems where locks do nothing. Only the owner of an extent writes to it, one
payload after another, and it never overwrites anything.
"""

from __future__ import annotations

import errno
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tiering.cache.files import lock_of, open_file
from tiering.cache.free_space import FreeSpace
from tiering.io_sizes import PAGE_BYTES

HEADER_BYTES: Final = 64
_NAME_BYTES: Final = 32

#: The name of a dataset.
NAME: Final = "[0-9a-f]{32}"


def header_of(name: str, filling: bytes) -> bytes:
    """Return the header of an extent of a dataset. name: up to 32 ASCII letters; filling: 16 bytes."""
    return name.encode().ljust(_NAME_BYTES, b"\0") + filling.ljust(HEADER_BYTES - _NAME_BYTES, b"\0")


def remove_extents(directory: Path) -> None:
    """Remove all extents in a directory, whatever their size. Other files stay."""
    for path in sorted(directory.iterdir()):
        if re.fullmatch("[0-9]{5}", path.name) and owner_of(path) is not None:
            path.unlink(missing_ok=True)


def owner_of(path: Path) -> bytes | None:
    """Return the dataset that an extent's header names; empty if a process died while it made the extent.

    None if there is no extent, if it is being made right now, or if the file is not an extent.
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


class CacheFullWarning(UserWarning):
    """Nothing more is admitted to a cache, because its disk refused."""


@dataclass(frozen=True, slots=True)
class Extent:
    """An extent that this process owns, as long as its descriptor, open for writing, holds the file's lock.

    begun: whether another process, gone now, has written into it.
    """

    number: int
    descriptor: int
    begun: bool


class ExtentPool:
    """Extents of extent_bytes, numbered from 0, at most `extents` of them.

    room: returns the room where the directory lies. A file that has the name of an extent but is none stays: its number
    counts as taken.
    """

    def __init__(self, directory: Path, extent_bytes: int, extents: int, room: Callable[[Path], FreeSpace]) -> None:
        self.extent_bytes, self.extents, self._room = extent_bytes, extents, room
        self.frozen = False
        self._directory = directory

    def paths(self) -> list[Path]:
        """Return the paths that extents have, by number, whether they are there or not."""
        return [self._directory / f"{number:05d}" for number in range(self.extents)]

    def create(self, header: bytes) -> Extent | None:
        """Own a free number, its extent preallocated; None where all are taken, or the disk refuses.

        header: HEADER_BYTES that say whose it is. A disk that refuses freezes the pool: it admits nothing more.
        """
        taken = {name for name in os.listdir(self._directory) if not name.startswith(".")}  # noqa: PTH208 - names only
        for path in self.paths():
            if self.frozen:
                break
            if path.name not in taken and (found := self._create(path, header)) is not None:
                return found
        return None

    def adopt(self, header: bytes, but: frozenset[int]) -> Extent | None:
        """Own an extent with that header whose owner is gone. Its lock tells, so only where locks work."""
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
        """Remove the extents of a dataset; processes that have them open can read them until they close them."""
        for path in self.paths():
            if owner_of(path) == name.encode():
                path.unlink(missing_ok=True)

    def remove_strays(self, names: set[str]) -> bool:
        """Remove the extents of all datasets except these; return whether there were any."""
        known = {name.encode() for name in names}
        strays = [path for path in self.paths() if (owner := owner_of(path)) is not None and owner not in known]
        for path in strays:
            path.unlink(missing_ok=True)
        return bool(strays)

    def freeze(self, error: OSError) -> None:
        """Admit nothing more, and say so once."""
        if not self.frozen:
            self.frozen = True
            warnings.warn(
                f"{self._directory.parent}: {error.strerror or str(error)}. The cache keeps what it holds "
                "and admits nothing more; epochs go on.",
                CacheFullWarning,
                stacklevel=2,
            )

    def _create(self, path: Path, header: bytes) -> Extent | None:
        room = self._room(self._directory.parent)
        if room.left < self.extent_bytes:
            self.freeze(OSError(errno.ENOSPC, str(room)))
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
