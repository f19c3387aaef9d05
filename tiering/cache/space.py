"""CacheSpace: a directory that holds a cache: a pool of extents, and a slot table for each dataset."""

from __future__ import annotations

import hashlib
import os
import uuid
import warnings
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final, Self

from tiering.cache import files
from tiering.cache.directory import (
    DATASETS,
    EXTENTS,
    LEAST,
    MARKER,
    NOTES_BYTES,
    datasets_in,
    holds_only_ours,
    in_use,
    locked,
    locks_work,
    prepare,
    read_marker,
    remove_dataset,
    unfinished_in,
)
from tiering.cache.extents import CacheFullWarning, Extent, ExtentPool
from tiering.cache.free_space import FreeSpace, free_in_memory, free_on_disk
from tiering.errors import MachineError, UsageError
from tiering.units import format_bytes

#: The directory of caches in memory.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the memory file system, which is what it is for


class CacheSpace:
    """A directory that holds a cache, and nothing else.

    directory: made where it is missing. size: the bound in bytes, of everything in it. force: take a directory on a
    network file system, too. volatile: nothing stays when the last process lets go of it. shared: let the group of a
    new directory use it, too.
    Raises UsageError for a directory that holds something else, lies on a network file system, is used with another
    size just now, or a size below 1 MiB or above 64 TiB.
    """

    def __init__(
        self, directory: Path, size: int, *, force: bool = False, volatile: bool = False, shared: bool = False
    ) -> None:
        marker = prepare(directory, size, force=force, shared=shared)
        self.directory, self.size, self.volatile = directory, size, volatile
        room = free_in_memory if volatile else free_on_disk
        self.pool = ExtentPool(directory / EXTENTS, marker.extent_bytes, marker.extents, room)
        self._datasets = directory / DATASETS
        self._locks = locks_work(directory)

    def __repr__(self) -> str:
        return f"CacheSpace({str(self.directory)!r}, {format_bytes(self.size)})"

    @classmethod
    def at(cls, directory: Path, *, volatile: bool = False) -> Self:
        """Open a cache that is there. Raises UsageError where there is none."""
        marker = read_marker(directory / MARKER)
        if marker is None:
            raise UsageError(
                str(directory), expected=f"a cache directory (it holds {MARKER})", found="none",
                action="Check `directory`.",
            )  # fmt: skip
        return cls(directory, marker.size, force=True, volatile=volatile)

    @classmethod
    def in_memory(cls, beside: Path, size: int) -> Self:
        """Open the cache in memory that goes with a cache directory; warn if there is less room than its bound.

        Raises UsageError if this system has no such place, MachineError if it is full or cannot be written.
        """
        directory = memory_of(beside)
        if not _MEMORY.is_dir():
            raise UsageError(
                "ram", expected=f"a file system in memory at {_MEMORY}", found="none on this machine",
                action="Leave it out: the system's page cache holds what was read last.",
            )  # fmt: skip
        try:
            _make_in_memory(directory, beside)
            room = free_in_memory(directory)
            # All processes that share it compute the same bound; the extents of a larger one would not fit.
            bound = min(size, max(room.most, LEAST))
            space = cls(directory, bound, volatile=True)
        except (OSError, MachineError) as error:
            raise _no_memory(directory, error) from error
        if space.capacity < size:
            warnings.warn(_little_memory(directory, size, space.capacity, room), CacheFullWarning, stacklevel=3)
        return space

    @property
    def capacity(self) -> int:
        """Bytes that the cache can hold: its bound, or less if a volatile cache has less room now."""
        return min(self.size, self.used_bytes() + free_in_memory(self.directory).left) if self.volatile else self.size

    def dataset(self, name: str) -> Path:
        """Return the directory of a dataset's table and notes."""
        return self._datasets / name

    def datasets(self) -> list[Path]:
        """Return the directories of all datasets, the one used last at the end."""
        return sorted(datasets_in(self.directory), key=last_used)

    def used_bytes(self) -> int:
        """Count the bytes of everything in the directory."""
        return sum(_size(Path(at, name)) for at, _, names in os.walk(self.directory) for name in names)

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock of the directory, to add or remove datasets."""
        return locked(self.directory)

    def tidy(self) -> None:
        """Remove leftovers of processes that were killed while they changed a dataset. Call it under the lock."""
        if self._locks:
            for left in unfinished_in(self.directory):
                remove_dataset(left)

    def room_for_table(self, size: int) -> bool:
        """Make room for a table of this many bytes, evicting other datasets if needed. Return whether it fits."""
        room = self.size - self.pool.extents * self.pool.extent_bytes - NOTES_BYTES
        while size <= room:
            there = sum(_size(path / "slots") for path in self.datasets())
            if there + size <= room:
                return True
            if not self._evict():
                break
        return False

    def claim(self, header: bytes, but: frozenset[int] = frozenset()) -> Extent | None:
        """Own an extent of the dataset that its owner left, or a free one, preallocated.

        Returns None if there is neither and no unused dataset to evict, or if the disk refuses. header:
        HEADER_BYTES that name the dataset; but: extents that are not wanted.
        """
        if self._locks and (left := self.pool.adopt(header, but)) is not None:
            return left
        while (made := self.pool.create(header)) is None and not self.pool.frozen:
            with self.locked():
                if not self._evict():
                    break
        return made

    def forget(self, name: str) -> None:
        """Remove a dataset and its extents; processes that have them open can read them until they close them."""
        gone = self.dataset(name)
        if holds_only_ours(gone):
            # Readers see it vanish in one step. Not with foreign files in it: they would vanish, too.
            gone = gone.rename(self._datasets / f".gone-{uuid.uuid4().hex}")
        self.pool.remove(name)
        remove_dataset(gone)

    def leave(self) -> None:
        """Note that a process closed a dataset: a volatile cache removes all datasets that are not in use."""
        if self.volatile and self._locks:
            with self.locked():
                while self._evict():
                    pass

    def _evict(self) -> bool:
        """Remove the least recently used idle dataset, or else orphaned extents; return whether any was."""
        if not self._locks:
            return False
        for dataset in self.datasets():
            if not in_use(dataset):
                self.forget(dataset.name)
                return True
        return self.pool.remove_strays({path.name for path in self.datasets()})


def memory_of(beside: Path) -> Path:
    """Return the directory of the cache in memory that belongs to a cache directory."""
    digest = hashlib.sha256(os.fsencode(beside.resolve())).hexdigest()
    return _MEMORY / f"tiering-{digest[:16]}"


def _make_in_memory(directory: Path, beside: Path) -> None:
    """Make the directory of a cache in memory, shared if the cache beside it is.

    Raises UsageError if another user owns the directory.
    """
    group = files.is_shared(beside)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        if group:
            os.chown(directory, -1, beside.stat().st_gid)
            files.share(directory)
    found = directory.lstat()
    ours = found.st_uid == os.geteuid() or (
        group and found.st_gid == beside.stat().st_gid and files.is_shared(directory)
    )
    if directory.is_symlink() or not ours:
        raise UsageError(str(directory), expected="a directory of this user", found="one of another user")


def _no_memory(directory: Path, error: Exception) -> MachineError:
    found = error.found if isinstance(error, MachineError) else str(getattr(error, "strerror", None) or error).lower()
    return MachineError(
        str(directory), expected=f"room for a cache in memory ({directory.parent})", found=found,
        action="Leave out `ram`, or give the file system more room (docker run --shm-size=8g).",
    )  # fmt: skip


def _little_memory(directory: Path, size: int, room: int, where: FreeSpace) -> str:
    return (
        f"{directory}: `ram` asks for {format_bytes(size)} and there is room for {format_bytes(room)}: {where} "
        "(such as tensors of PyTorch's workers). The cache takes what it can."
    )


def last_used(dataset: Path) -> float:
    """Return when a dataset was used last, s since 1970; 0 if unknown."""
    try:
        return (dataset / "in-use").stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return max(found.st_size, found.st_blocks * 512)
