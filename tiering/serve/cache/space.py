"""CacheSpace: a directory of numbered extents, which bounds a cache without a lock.

There are only so many numbers, every extent has one size, and whoever creates the file of a number owns it: so the sum
of all files cannot pass the bound, whatever the processes do and whether or not the file system honours locks. Within
an extent its owner alone writes, one payload behind the other, and nothing is ever written twice.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from tiering.errors import UsageError
from tiering.store.filesystem import NETWORK, filesystem_of

MARKER: Final = "tiering-cache.json"

#: The size of an extent is a 64th of the cache within these bounds: small enough that what does not fit behind the last
#: payload weighs little, large enough that a few hundred maps show all of it.
_LEAST_EXTENT: Final = 2 << 20
_MOST_EXTENT: Final = 1 << 30
_EXTENTS: Final = 64

_PAGE: Final = 4096

#: Begins an extent: the dataset that it holds, and which filling of it.
HEADER_BYTES: Final = 64

#: Room for the slot tables, the marker and the notes: this part of the cache, but at least so many bytes.
_TABLES_SHARE: Final = 256
_LEAST_TABLES: Final = 64 << 10
_LEAST: Final = 1 << 20

#: Left free on the disk under a cache: this share of it, at most so many bytes.
_FLOOR_SHARE: Final = 0.05
_MOST_FLOOR: Final = 10 << 30


class CacheFullWarning(UserWarning):
    """Nothing more is admitted to a cache, because its disk refused."""


@dataclass(frozen=True, slots=True)
class Extent:
    """An extent that this process owns. descriptor: open for writing."""

    number: int
    descriptor: int


@dataclass(frozen=True, slots=True)
class _Marker:
    version: int
    size: int
    extent_bytes: int


class CacheSpace:
    """A directory that holds a cache, and nothing else.

    directory: made where it is missing. size: the bound in bytes, of everything in it. force: take a directory on a
    network file system, too.
    Raises UsageError for a directory that holds something else, lies on a network file system, is used with another
    size just now, or a size below 1 MiB.
    """

    def __init__(self, directory: Path, size: int, *, force: bool = False) -> None:
        if size < _LEAST:
            raise UsageError("the cache's size", expected="at least 1 MiB", found=f"{size:,} bytes")
        self.directory = directory
        self._extents, self._datasets = directory / "extents", directory / "datasets"
        self._create(force=force)
        with self.locked():
            self._agree(size)
        self.frozen = False

    @classmethod
    def at(cls, directory: Path) -> Self:
        """Open a cache that is there. Raises UsageError where there is none."""
        try:
            size = _Marker(**json.loads((directory / MARKER).read_text())).size
        except (OSError, ValueError, TypeError):
            raise UsageError(
                str(directory), expected=f"a cache directory (it holds {MARKER})", found="none",
                action="Check --cache-dir.",
            ) from None  # fmt: skip
        return cls(directory, size, force=True)

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

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the directory, for what is seldom done: datasets that come and go."""
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def room_for_table(self, size: int) -> bool:
        """Tell whether a table of so many bytes fits among those that are there, evicting others for it."""
        room = self.size - self.extents * self.extent_bytes - (_LEAST_TABLES // 2)
        while True:
            there = sum(_size(path) for path in self._datasets.glob("*/slots"))
            if there + size <= room:
                return True
            if not self._evict():
                return False

    def claim(self, header: bytes) -> Extent | None:
        """Own a free extent, preallocated; None where there is none, and none of a dataset that nobody uses.

        header: HEADER_BYTES that say whose it is. A disk that refuses freezes the cache: it admits nothing more.
        """
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
            with suppress(FileNotFoundError), path.open("rb") as file:
                if file.read(HEADER_BYTES)[:32].rstrip(b"\0") == name.encode():
                    path.unlink()
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

    def _create(self, *, force: bool) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        kind = filesystem_of(self.directory)
        if kind in NETWORK and not force:
            raise UsageError(
                str(self.directory), expected="a local disk for the cache", found=f"a network file system ({kind})",
                action="Choose another --cache-dir, or say --force.",
            )  # fmt: skip
        if not (self.directory / MARKER).exists():
            others = {path.name for path in self.directory.iterdir()} - {"lock", "extents", "datasets"}
            others = {name for name in others if not name.startswith(f".{MARKER}")}
            if others:
                raise UsageError(
                    str(self.directory), expected=f"an empty directory, or a cache ({MARKER})", found=min(others),
                    action="Choose another --cache-dir: nothing is deleted that this cache did not create.",
                )  # fmt: skip
        self._extents.mkdir(exist_ok=True)
        self._datasets.mkdir(exist_ok=True)

    def _agree(self, size: int) -> None:
        """Take the size that the directory has, or give it another one while nobody uses it."""
        path = self.directory / MARKER
        try:
            marker = _Marker(**json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            marker = None
        if marker is None or marker.size != size:
            if any(in_use(each) for each in self.datasets()):
                held = f"{marker.size:,} bytes, and in use" if marker else "a damaged marker, and in use"
                raise UsageError(
                    str(self.directory), expected=f"a cache of {size:,} bytes", found=held,
                    action="Use the same size, or another --cache-dir.",
                )  # fmt: skip
            extent = _extent_bytes(size)
            if marker is None or marker.extent_bytes != extent or size < marker.size:
                for dataset in self.datasets():
                    shutil.rmtree(dataset)
                for stray in self._extents.iterdir():
                    stray.unlink()
            marker = _Marker(1, size, extent)
            scratch = self.directory / f".{MARKER}.{uuid.uuid4().hex}"
            scratch.write_text(json.dumps(asdict(marker)))
            scratch.replace(path)
        self.size, self.extent_bytes = marker.size, marker.extent_bytes
        self.extents = _for_extents(size) // self.extent_bytes

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
            os.posix_fallocate(descriptor, 0, self.extent_bytes)
            os.pwrite(descriptor, header, 0)
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            self.freeze(error)
            return None
        return Extent(int(path.name), descriptor)

    def _evict(self) -> bool:
        """Remove the dataset used longest ago and not used now, or else extents of nobody; tell whether."""
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


def in_use(dataset: Path) -> bool:
    """Tell whether a process holds a dataset open."""
    try:
        descriptor = os.open(dataset / "in-use", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _for_extents(size: int) -> int:
    return size - max(_LEAST_TABLES, size // _TABLES_SHARE)


def _extent_bytes(size: int) -> int:
    """Return the size of extents, in whole pages, so that hardly anything is left over."""
    room = _for_extents(size)
    count = max(1, min(_EXTENTS, room // _LEAST_EXTENT), -(-room // _MOST_EXTENT))
    return room // count // _PAGE * _PAGE


def _owner(path: Path) -> bytes | None:
    """Return the dataset that an extent's header names; None for an extent that is not there, or just begins."""
    try:
        with path.open("rb") as file:
            name = file.read(HEADER_BYTES)[:32].rstrip(b"\0")
    except FileNotFoundError:
        return None
    return name or None


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
