"""CacheDirectory: a directory that holds a cache: a pool of extents, and a slot table for each dataset."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from tiering.cache import files
from tiering.cache.cached_datasets import datasets_in, holds_only_ours, in_use, remove_dataset, unfinished_in
from tiering.cache.extents import Extent, ExtentPool, remove_extents
from tiering.errors import MachineError, UsageError, from_os_error
from tiering.io_sizes import PAGE_BYTES
from tiering.system.mounts import NETWORK, filesystem_of
from tiering.units import format_bytes

MARKER: Final = "tiering-cache.json"
_EXTENTS: Final = "extents"
_DATASETS: Final = "datasets"

#: The size of an extent is a 64th of the cache within these bounds: small enough that the space wasted behind the last
#: payload is small, large enough that a few hundred maps show all of it.
_LEAST_EXTENT: Final = 2 << 20
_MOST_EXTENT: Final = 1 << 30
_USUAL_EXTENTS: Final = 64

#: Space for the slot tables, the marker and the notes: this share of the cache, but at least this many bytes.
_TABLES_SHARE: Final = 256
_LEAST_TABLES: Final = 64 << 10
#: Of that, for the marker and the notes.
_NOTES_BYTES: Final = 32 << 10

#: The size of a cache in bytes. The names of extents have five digits; 64 TiB are 65,536 extents.
LEAST: Final = 1 << 20
_MOST: Final = 64 << 40
_MOST_MARKER: Final = 4096


@dataclass(frozen=True, slots=True)
class Marker:
    """The contents of tiering-cache.json, which marks a directory as a cache. size: its bound in bytes."""

    version: int
    size: int
    extent_bytes: int

    @property
    def extents(self) -> int:
        """How many extents there may be."""
        return _for_extents(self.size) // self.extent_bytes


class CacheDirectory:
    """A directory that holds a cache, and nothing else.

    Args:
        path: The directory; it is made if it is missing.
        size: The bound in bytes, for everything in it. If no process uses the cache, a new size replaces the old one.
        force: Accept a directory on a network file system.
        volatile: Remove datasets when the last process closes them.
        shared: Let the group of a new directory use it.

    Raises:
        UsageError: For a directory that holds something else, is on a network file system, or is in use with another
            size; for a size below 1 MiB or above 64 TiB.
        MachineError: If the disk fails or refuses.
    """

    def __init__(
        self, path: Path, size: int, *, force: bool = False, volatile: bool = False, shared: bool = False
    ) -> None:
        if not LEAST <= size <= _MOST:
            raise UsageError("the cache's size", rule="must be 1 MiB to 64 TiB", found=f"{size:,} bytes")
        self.path, self.size, self.volatile = path, size, volatile
        self._datasets = path / _DATASETS
        try:
            _make(path, force=force, shared=shared)
            with self.locked():
                marker = self._agreed()
        except OSError as error:
            named = from_os_error(error)
            action = f"{named.action} Or choose another `directory`.".strip()
            raise MachineError(named.where, found=named.found, action=action) from error
        self.pool = ExtentPool(path / _EXTENTS, marker.extent_bytes, marker.extents, in_memory=volatile)
        self._locks = _locks_work(path)

    def __repr__(self) -> str:
        return f"CacheDirectory({str(self.path)!r}, {format_bytes(self.size)})"

    @classmethod
    def at(cls, path: Path, *, volatile: bool = False) -> Self:
        """Open an existing cache. Raises UsageError if there is none."""
        marker = read_marker(path)
        if marker is None:
            raise UsageError(
                str(path), rule=f"needs a cache directory (it holds {MARKER})", action="Check `directory`."
            )
        return cls(path, marker.size, force=True, volatile=volatile)

    @property
    def capacity(self) -> int:
        """Bytes that the cache can hold: its bound, or less if a volatile cache has less free space now."""
        return min(self.size, self.used_bytes() + self.pool.free_space().left) if self.volatile else self.size

    def dataset(self, name: str) -> Path:
        """Return the directory of a dataset."""
        return self._datasets / name

    def datasets(self) -> list[Path]:
        """Return the directories of all datasets, the one used last at the end."""
        return datasets_in(self._datasets)

    def used_bytes(self) -> int:
        """Count the bytes of everything in the directory."""
        return sum(_size(Path(at, name)) for at, _, names in os.walk(self.path) for name in names)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the directory, to add or remove datasets."""
        descriptor = files.open_file(self.path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def tidy(self) -> None:
        """Remove leftovers of processes that were killed while they changed a dataset. Call it under the lock."""
        if self._locks:
            for left in unfinished_in(self._datasets):
                remove_dataset(left)

    def fits_table(self, size: int) -> bool:
        """Return whether a slot table of this many bytes fits, evicting other datasets if needed."""
        free = self.size - self.pool.extents * self.pool.extent_bytes - _NOTES_BYTES
        while size <= free:
            taken = sum(_size(path / "slots") for path in self.datasets())
            if taken + size <= free:
                return True
            if not self._evict():
                break
        return False

    def claim(self, header: bytes, but: frozenset[int] = frozenset()) -> Extent | None:
        """Take over an extent of a dataset whose owner has ended, or create one, evicting an idle dataset if needed.

        Args:
            header: HEADER_BYTES that name the dataset.
            but: Numbers of extents that are not wanted.

        Returns:
            The extent; None if there is none to take over, none to create and nothing to evict, or if the disk is full.
        """
        if self._locks and (left := self.pool.adopt(header, but)) is not None:
            return left
        while (made := self.pool.create(header)) is None and not self.pool.frozen:
            with self.locked():
                if not self._evict():
                    break
        return made

    def forget(self, name: str) -> None:
        """Remove a dataset and its extents. Processes that have them open can still read them."""
        gone = self.dataset(name)
        if holds_only_ours(gone):
            # Readers see it vanish in one step. Foreign files must not vanish with it.
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

    def _agreed(self) -> Marker:
        """Return the marker for the wanted size; change the size of the cache if no process uses it."""
        wanted = Marker(1, self.size, _extent_bytes(self.size))
        if read_marker(self.path) == wanted:
            return wanted
        scratch = self.path / f".{MARKER}.{uuid.uuid4().hex}"
        files.write_file(scratch, json.dumps(asdict(wanted)).encode())
        try:
            with suppress(FileExistsError):
                (self.path / MARKER).hardlink_to(scratch)
            marker = read_marker(self.path)
            if marker != wanted:
                if any(in_use(each) for each in self.datasets()):
                    held = f"{marker.size:,} bytes, and in use" if marker else "a damaged marker, and in use"
                    raise UsageError(
                        str(self.path), expected=f"a cache of {self.size:,} bytes", found=held,
                        action="Use the same size, or another `directory`.",
                    )  # fmt: skip
                if marker is None or marker.extent_bytes != wanted.extent_bytes or self.size < marker.size:
                    for each in self.datasets():
                        remove_dataset(each)
                    remove_extents(self.path / _EXTENTS)
                scratch.replace(self.path / MARKER)
        finally:
            scratch.unlink(missing_ok=True)
        return wanted


def read_marker(directory: Path) -> Marker | None:
    """Return the marker of a cache directory; None if it has none, or a damaged one."""
    try:
        with os.fdopen(files.open_file(directory / MARKER, os.O_RDONLY), "rb") as file:
            found = Marker(**json.loads(file.read(_MOST_MARKER)))
            sound = LEAST <= found.size <= _MOST and found.extent_bytes == _extent_bytes(found.size)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if sound else None


def _make(directory: Path, *, force: bool, shared: bool) -> None:
    """Make a directory and those in it, unless it holds anything else. Checks the file system and the group."""
    new = not directory.exists()
    directory.parent.mkdir(parents=True, exist_ok=True)
    files.make_directory(directory, shared=shared)
    kind = filesystem_of(directory)
    if kind in NETWORK and not force:
        raise UsageError(
            str(directory), found=f"a cache needs a local disk, and this is a network file system ({kind})",
            action="Choose another `directory`, or say `force`.",
        )  # fmt: skip
    if not (directory / MARKER).exists():
        # Files that another process may have created before it was killed, or is creating now.
        ours = {directory / name for name in ("lock", _EXTENTS, _DATASETS)}
        others = [path.name for path in directory.iterdir() if path not in ours and not path.name.startswith(".")]
        inner = [path for name in (_EXTENTS, _DATASETS) for path in (directory / name).glob("*")]
        others += [str(path.relative_to(directory)) for path in inner]
        if others and not (directory / MARKER).exists():
            raise UsageError(
                str(directory), expected=f"an empty directory, or a cache ({MARKER})", found=min(others),
                action="Choose another `directory`: nothing is deleted that this cache did not create.",
            )  # fmt: skip
        if shared and not new:
            files.share(directory)
    if shared and not files.is_shared(directory):
        raise UsageError(
            str(directory), expected="a cache for its group (`shared_group`)", found="one for its owner alone",
            action="Choose another `directory`, or remove this one.",
        )  # fmt: skip
    files.make_directory(directory / _EXTENTS)
    files.make_directory(directory / _DATASETS)


def _locks_work(directory: Path) -> bool:
    """Return whether file locks work in a directory; on some network file systems they do nothing."""
    path = directory / f".lock-{uuid.uuid4().hex}"
    first = files.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    second = files.open_file(path, os.O_RDWR)
    try:
        path.unlink()
        return files.lock_of(first) and not files.lock_of(second)
    finally:
        os.close(first)
        os.close(second)


def _for_extents(size: int) -> int:
    return size - max(_LEAST_TABLES, size // _TABLES_SHARE)


def _extent_bytes(size: int) -> int:
    """Return the size of extents, in whole pages, chosen so that hardly any space is left over."""
    free = _for_extents(size)
    count = max(1, min(_USUAL_EXTENTS, free // _LEAST_EXTENT), -(-free // _MOST_EXTENT))
    return free // count // PAGE_BYTES * PAGE_BYTES


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return max(found.st_size, found.st_blocks * 512)
