"""Pool: a directory of numbered extents of one size, which bounds a cache without a lock.

There are only so many numbers, every extent has one size, and whoever creates the file of a number owns it: so the sum
of all files cannot pass the bound, whatever the processes do and whether or not the file system honours locks. Within
an extent its owner alone writes, one payload behind the other, and nothing is ever written twice.
"""

from __future__ import annotations

import errno
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tiering.serve.cache.directory import lock_of

#: Begins an extent: the dataset that it holds, and which filling of it.
HEADER_BYTES: Final = 64
_NAME_BYTES: Final = 32

#: Left free on the disk under a cache: this share of it, at most so many bytes.
_FLOOR_SHARE: Final = 0.05
_MOST_FLOOR: Final = 10 << 30


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


class Pool:
    """Extents of extent_bytes, numbered from 0, at most `extents` of them."""

    def __init__(self, directory: Path, extent_bytes: int, extents: int) -> None:
        self.extent_bytes, self.extents = extent_bytes, extents
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
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
            if os.pread(descriptor, HEADER_BYTES, 0) == header and lock_of(descriptor):
                return Extent(number, descriptor, begun=True)
            os.close(descriptor)
        return None

    def remove(self, name: str) -> None:
        """Remove the extents of a dataset; whoever still reads them keeps them until they are closed."""
        for path in self.paths():
            if _owner(path) == name.encode():
                path.unlink(missing_ok=True)

    def remove_strays(self, names: set[str]) -> bool:
        """Remove the extents of datasets that are none of these; tell whether there were any."""
        known = {name.encode() for name in names}
        strays = [path for path in self.paths() if (owner := _owner(path)) is not None and owner not in known]
        for path in strays:
            path.unlink(missing_ok=True)
        return bool(strays)

    def freeze(self, error: OSError) -> None:
        """Admit nothing more, and say so once."""
        if not self.frozen:
            self.frozen = True
            warnings.warn(
                f"{self._directory.parent}: {(error.strerror or str(error)).lower()}. The cache keeps what it holds "
                "and admits nothing more; epochs go on.",
                CacheFullWarning,
                stacklevel=2,
            )

    def _create(self, path: Path, header: bytes) -> Extent | None:
        space = os.statvfs(self._directory)
        floor = min(_MOST_FLOOR, int(space.f_blocks * space.f_frsize * _FLOOR_SHARE))
        if space.f_bavail * space.f_frsize - self.extent_bytes < floor:
            self.freeze(OSError(errno.ENOSPC, f"less than {floor:,} bytes would be left free"))
            return None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
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


def _owner(path: Path) -> bytes | None:
    """Return the dataset that an extent's header names; None for an extent that is not there, or is being made."""
    try:
        with path.open("rb") as file:
            name = file.read(HEADER_BYTES)[:_NAME_BYTES].rstrip(b"\0")
            return name if name or lock_of(file.fileno()) else None
    except FileNotFoundError:
        return None
