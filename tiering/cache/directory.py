"""The directory of a cache: its marker file, its permissions and its locks."""

from __future__ import annotations

import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tiering.cache import files
from tiering.cache.extents import NAME, remove_extents
from tiering.cache.files import lock_of
from tiering.errors import MachineError, UsageError, from_os_error
from tiering.io_sizes import PAGE_BYTES
from tiering.system.mounts import NETWORK, filesystem_of

MARKER: Final = "tiering-cache.json"
EXTENTS: Final = "extents"
DATASETS: Final = "datasets"

#: The files in the directory of a dataset. Anything else in a cache is foreign: it is skipped, and never removed.
PARTS: Final = ("about.json", "slots", "in-use")

#: The size of an extent is a 64th of the cache within these bounds: small enough that the space wasted behind the last
#: payload is small, large enough that a few hundred maps show all of it.
_LEAST_EXTENT: Final = 2 << 20
_MOST_EXTENT: Final = 1 << 30
_EXTENTS: Final = 64

#: Room for the slot tables, the marker and the notes: this share of the cache, but at least this many bytes.
_TABLES_SHARE: Final = 256
_LEAST_TABLES: Final = 64 << 10
LEAST: Final = 1 << 20
#: Extents are numbered with five digits, and each has a place in a table: 64 TiB are 65,536 of them.
MOST: Final = 64 << 40
_MOST_MARKER: Final = 4096

#: Of that, for the marker and the notes.
NOTES_BYTES: Final = 32 << 10


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


def prepare(directory: Path, size: int, *, force: bool, shared: bool = False) -> Marker:
    """Make a directory a cache of a size, or open it as one; change its size if no process uses it.

    force: accept a directory on a network file system; shared: let its group use it. Raises UsageError as CacheSpace
    does, and MachineError if the disk fails.
    """
    if not LEAST <= size <= MOST:
        raise UsageError("the cache's size", expected="1 MiB to 64 TiB", found=f"{size:,} bytes")
    try:
        _create(directory, force=force, shared=shared)
        with locked(directory):
            return _agree(directory, size)
    except OSError as error:
        named = from_os_error(error)
        action = f"{named.action} Or choose another `directory`.".strip()
        raise MachineError(named.where, found=named.found, action=action) from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a cache directory."""
    descriptor = files.open_file(directory / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_marker(path: Path) -> Marker | None:
    """Return a directory's marker; None where it has none, or a damaged one."""
    try:
        with os.fdopen(files.open_file(path, os.O_RDONLY), "rb") as file:
            found = Marker(**json.loads(file.read(_MOST_MARKER)))
            sound = LEAST <= found.size <= MOST and found.extent_bytes == _extent_bytes(found.size)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if sound else None


def is_cache(directory: Path) -> bool:
    """Return whether a directory is a cache."""
    return read_marker(directory / MARKER) is not None


def locks_work(directory: Path) -> bool:
    """Return whether file locks work in a directory; on some network file systems they do nothing."""
    path = directory / f".lock-{uuid.uuid4().hex}"
    first = files.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    second = files.open_file(path, os.O_RDWR)
    try:
        path.unlink()
        return lock_of(first) and not lock_of(second)
    finally:
        os.close(first)
        os.close(second)


def in_use(dataset: Path) -> bool:
    """Return whether a process uses a dataset."""
    try:
        descriptor = files.open_file(dataset / "in-use", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not lock_of(descriptor)
    finally:
        os.close(descriptor)


def datasets_in(directory: Path) -> list[Path]:
    """Return the directories of the datasets of a cache, damaged ones included."""
    return [path for path in _directories(directory, NAME) if any(files.is_plain(path / name) for name in PARTS)]


def unfinished_in(directory: Path) -> list[Path]:
    """Return the leftovers of datasets that were being made or removed."""
    return _directories(directory, rf"\.(new|gone)-{NAME}")


def _directories(directory: Path, names: str) -> list[Path]:
    found = (directory / DATASETS).iterdir()
    return [path for path in found if re.fullmatch(names, path.name) and path.is_dir() and not path.is_symlink()]


def holds_only_ours(dataset: Path) -> bool:
    """Return whether a dataset's directory holds only files that belong there."""
    return dataset.is_dir() and all(path.name in PARTS for path in dataset.iterdir())


def remove_dataset(dataset: Path) -> None:
    """Remove a dataset's own files. Foreign files stay, and so does the directory then."""
    for name in PARTS:
        with suppress(OSError):
            (dataset / name).unlink()
    with suppress(OSError):
        dataset.rmdir()


def _create(directory: Path, *, force: bool, shared: bool) -> None:
    new = not directory.exists()
    directory.parent.mkdir(parents=True, exist_ok=True)
    files.make_directory(directory, shared=shared)
    kind = filesystem_of(directory)
    if kind in NETWORK and not force:
        raise UsageError(
            str(directory), expected="a local disk for the cache", found=f"a network file system ({kind})",
            action="Choose another `directory`, or say `force`.",
        )  # fmt: skip
    if not (directory / MARKER).exists():
        # Files that another process may have created before it was killed, or is creating now.
        ours = {directory / name for name in ("lock", EXTENTS, DATASETS)}
        others = [path.name for path in directory.iterdir() if path not in ours and not path.name.startswith(".")]
        others += [
            f"{path.parent.name}/{path.name}" for name in (EXTENTS, DATASETS) for path in (directory / name).glob("*")
        ]
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
    files.make_directory(directory / EXTENTS)
    files.make_directory(directory / DATASETS)


def _agree(directory: Path, size: int) -> Marker:
    """Check the size of the cache, or change it if no process uses it."""
    path = directory / MARKER
    wanted = Marker(1, size, _extent_bytes(size))
    if read_marker(path) == wanted:
        return wanted
    scratch = directory / f".{MARKER}.{uuid.uuid4().hex}"
    files.write_file(scratch, json.dumps(asdict(wanted)).encode())
    try:
        with suppress(FileExistsError):
            path.hardlink_to(scratch)
        marker = read_marker(path)
        if marker != wanted:
            if any(in_use(each) for each in datasets_in(directory)):
                held = f"{marker.size:,} bytes, and in use" if marker else "a damaged marker, and in use"
                raise UsageError(
                    str(directory), expected=f"a cache of {size:,} bytes", found=held,
                    action="Use the same size, or another `directory`.",
                )  # fmt: skip
            if marker is None or marker.extent_bytes != wanted.extent_bytes or size < marker.size:
                for each in datasets_in(directory):
                    remove_dataset(each)
                remove_extents(directory / EXTENTS)
            scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return wanted


def _for_extents(size: int) -> int:
    return size - max(_LEAST_TABLES, size // _TABLES_SHARE)


def _extent_bytes(size: int) -> int:
    """Return the size of extents, in whole pages, so that hardly anything is left over."""
    room = _for_extents(size)
    count = max(1, min(_EXTENTS, room // _LEAST_EXTENT), -(-room // _MOST_EXTENT))
    return room // count // PAGE_BYTES * PAGE_BYTES
