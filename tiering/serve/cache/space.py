"""CacheSpace: a directory of numbered extents, which bounds a cache without a lock.

There are only so many numbers, every extent has one size, and whoever creates the file of a number owns it: so the sum
of all files cannot pass the bound, whatever the processes do and whether or not the file system honours locks. Within
an extent its owner alone writes, one payload behind the other, and nothing is ever written twice.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
import warnings
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tiering.errors import UsageError
from tiering.serve.cache.directory import (
    DATASETS,
    EXTENTS,
    MARKER,
    NOTES_BYTES,
    in_use,
    lock_of,
    locked,
    locks_work,
    prepare,
    read_marker,
)

#: Begins an extent: the dataset that it holds, and which filling of it.
HEADER_BYTES: Final = 64

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


class CacheSpace:
    """A directory that holds a cache, and nothing else.

    directory: made where it is missing. size: the bound in bytes, of everything in it. force: take a directory on a
    network file system, too.
    Raises UsageError for a directory that holds something else, lies on a network file system, is used with another
    size just now, or a size below 1 MiB.
    """

    def __init__(self, directory: Path, size: int, *, force: bool = False) -> None:
        marker = prepare(directory, size, force=force)
        self.directory = directory
        self.size, self.extent_bytes, self.extents = size, marker.extent_bytes, marker.extents
        self._extents, self._datasets = directory / EXTENTS, directory / DATASETS
        self.frozen = False
        self._locks = locks_work(directory)

    @classmethod
    def at(cls, directory: Path) -> Self:
        """Open a cache that is there. Raises UsageError where there is none."""
        marker = read_marker(directory / MARKER)
        if marker is None:
            raise UsageError(
                str(directory), expected=f"a cache directory (it holds {MARKER})", found="none",
                action="Check --cache-dir.",
            )  # fmt: skip
        return cls(directory, marker.size, force=True)

    def paths(self) -> list[Path]:
        """Return the paths that extents have, by number, whether they are there or not."""
        return [self._extents / f"{number:05d}" for number in range(self.extents)]

    def dataset(self, name: str) -> Path:
        """Return the directory of a dataset's table and notes."""
        return self._datasets / name

    def datasets(self) -> list[Path]:
        """Return the directories of all datasets, the one used last at the end."""
        found = [path for path in self._datasets.iterdir() if not path.name.startswith(".")]
        return sorted(found, key=_used)

    def used_bytes(self) -> int:
        """Count the bytes of everything in the directory."""
        return sum(_size(Path(at, name)) for at, _, names in os.walk(self.directory) for name in names)

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock of the directory, for what is seldom done: datasets that come and go."""
        return locked(self.directory)

    def tidy(self) -> None:
        """Remove what those left behind who were killed while they made or removed a dataset. Under the lock."""
        if self._locks:
            for left in self._datasets.glob(".*"):
                shutil.rmtree(left, ignore_errors=True)

    def room_for_table(self, size: int) -> bool:
        """Tell whether a table of so many bytes fits among those that are there, evicting others for it."""
        room = self.size - self.extents * self.extent_bytes - NOTES_BYTES
        while size <= room:
            there = sum(_size(path) for path in self._datasets.glob("*/slots"))
            if there + size <= room:
                return True
            if not self._evict():
                break
        return False

    def claim(self, header: bytes, but: frozenset[int] = frozenset()) -> Extent | None:
        """Own an extent of the dataset that its owner left, or a free one, preallocated.

        None where there is neither, and none of a dataset that nobody uses. header: HEADER_BYTES that say whose it is.
        but: extents that are not wanted. A disk that refuses freezes the cache: it admits nothing more.
        """
        if self._locks and (left := self._adopt(header, but)) is not None:
            return left
        while not self.frozen:
            taken = {name for name in os.listdir(self._extents) if not name.startswith(".")}  # noqa: PTH208 - names only
            for path in self.paths():
                if path.name not in taken and (found := self._create_extent(path, header)) is not None:
                    return found
            with self.locked():
                if not self._evict():
                    return None
        return None

    def forget(self, name: str) -> None:
        """Remove a dataset and its extents; whoever still reads them keeps them until they are closed."""
        gone = self._datasets / f".gone-{uuid.uuid4().hex}"
        with suppress(FileNotFoundError):
            self.dataset(name).rename(gone)
        for path in self.paths():
            if _owner(path) == name.encode():
                path.unlink(missing_ok=True)
        shutil.rmtree(gone, ignore_errors=True)

    def freeze(self, error: OSError) -> None:
        """Admit nothing more, and say so once."""
        if not self.frozen:
            self.frozen = True
            warnings.warn(
                f"{self.directory}: {(error.strerror or str(error)).lower()}. The cache keeps what it holds and admits "
                "nothing more; epochs go on.",
                CacheFullWarning,
                stacklevel=2,
            )

    def _create_extent(self, path: Path, header: bytes) -> Extent | None:
        space = os.statvfs(self.directory)
        floor = min(_MOST_FLOOR, int(space.f_blocks * space.f_frsize * _FLOOR_SHARE))
        if space.f_bavail * space.f_frsize - self.extent_bytes < floor:
            self.freeze(OSError(errno.ENOSPC, f"less than {floor:,} bytes would be left free"))
            return None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
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

    def _adopt(self, header: bytes, but: frozenset[int]) -> Extent | None:
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

    def _evict(self) -> bool:
        """Remove the dataset used longest ago and not used now, or else extents of nobody; tell whether."""
        if not self._locks:
            return False
        for dataset in self.datasets():
            if not in_use(dataset):
                self.forget(dataset.name)
                return True
        known = {path.name.encode() for path in self.datasets()}
        strays = [path for path in self.paths() if (name := _owner(path)) is not None and name not in known]
        for path in strays:
            path.unlink(missing_ok=True)
        return bool(strays)


def header_of(name: str, filling: bytes) -> bytes:
    """Return the header of an extent of a dataset. name: up to 32 ASCII letters; filling: 16 bytes."""
    return name.encode().ljust(32, b"\0") + filling.ljust(HEADER_BYTES - 32, b"\0")


def _owner(path: Path) -> bytes | None:
    """Return the dataset that an extent's header names; None for an extent that is not there, or is being made."""
    try:
        with path.open("rb") as file:
            name = file.read(HEADER_BYTES)[:32].rstrip(b"\0")
            return name if name or lock_of(file.fileno()) else None
    except FileNotFoundError:
        return None


def _used(dataset: Path) -> float:
    try:
        return (dataset / "in-use").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return max(found.st_size, found.st_blocks * 512)
