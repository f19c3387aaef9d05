"""The directory of a cache: what marks it, who may use it, and locks in it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tiering.errors import MachineError, StoreError, UsageError, from_os_error
from tiering.mounts import NETWORK, filesystem_of
from tiering.serve.cache.notes import read_note

MARKER: Final = "tiering-cache.json"
EXTENTS: Final = "extents"
DATASETS: Final = "datasets"

#: The size of an extent is a 64th of the cache within these bounds: small enough that what does not fit behind the last
#: payload weighs little, large enough that a few hundred maps show all of it.
_LEAST_EXTENT: Final = 2 << 20
_MOST_EXTENT: Final = 1 << 30
_EXTENTS: Final = 64
_PAGE: Final = 4096

#: Room for the slot tables, the marker and the notes: this part of the cache, but at least so many bytes.
_TABLES_SHARE: Final = 256
_LEAST_TABLES: Final = 64 << 10
_LEAST: Final = 1 << 20

#: 128 TiB: so that a list of its extents is no burden.
_MOST: Final = 1 << 47

#: Of that, for the marker and the notes.
NOTES_BYTES: Final = 32 << 10


@dataclass(frozen=True, slots=True)
class Marker:
    """tiering-cache.json: what makes a directory a cache. size: its bound in bytes."""

    version: int
    size: int
    extent_bytes: int

    @property
    def extents(self) -> int:
        """How many extents there may be."""
        return _for_extents(self.size) // self.extent_bytes


def prepare(directory: Path, size: int, *, force: bool) -> Marker:
    """Make a directory a cache of a size, or find that it is one; give it another size while nobody uses it.

    force: take a directory on a network file system, too. Raises UsageError as CacheSpace does,
    MachineError where the disk refuses.
    """
    if not _LEAST <= size <= _MOST:
        raise UsageError("the cache's size", expected="from 1 MiB to 128 TiB", found=f"{size:,} bytes")
    try:
        _create(directory, force=force)
        with locked(directory):
            return _agree(directory, size)
    except OSError as error:
        raise from_os_error(error) from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a cache directory."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_marker(path: Path) -> Marker | None:
    """Return a directory's marker; None where it has none, or a damaged one."""
    try:
        found = read_note(path, Marker)
    except (OSError, ValueError, StoreError, MachineError):
        return None
    sound = found.version == 1 and _LEAST <= found.size <= _MOST and found.extent_bytes == _extent_bytes(found.size)
    return found if sound else None


def is_cache(directory: Path) -> bool:
    """Tell whether a directory is a cache."""
    return read_marker(directory / MARKER) is not None


def lock_of(descriptor: int) -> bool:
    """Take the lock of an open file, if nobody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def locks_work(directory: Path) -> bool:
    """Tell whether locks keep anybody out there; on some network file systems they do nothing."""
    path = directory / f".lock-{uuid.uuid4().hex}"
    with path.open("wb") as first, path.open("rb") as second:
        path.unlink()
        return lock_of(first.fileno()) and not lock_of(second.fileno())


def in_use(dataset: Path) -> bool:
    """Tell whether a process holds a dataset open."""
    try:
        descriptor = os.open(dataset / "in-use", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not lock_of(descriptor)
    finally:
        os.close(descriptor)


def _create(directory: Path, *, force: bool) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    kind = filesystem_of(directory)
    if kind in NETWORK and not force:
        raise UsageError(
            str(directory), expected="a local disk for the cache", found=f"a network file system ({kind})",
            action="Choose another --cache-dir, or say --force.",
        )  # fmt: skip
    if not (directory / MARKER).exists():
        # What one who was killed here, or is at it now, may have made so far.
        ours = {directory / name for name in ("lock", EXTENTS, DATASETS)}
        others = [path.name for path in directory.iterdir() if path not in ours and not path.name.startswith(".")]
        others += [
            f"{path.parent.name}/{path.name}" for name in (EXTENTS, DATASETS) for path in (directory / name).glob("*")
        ]
        if others and not (directory / MARKER).exists():
            raise UsageError(
                str(directory), expected=f"an empty directory, or a cache ({MARKER})", found=min(others),
                action="Choose another --cache-dir: nothing is deleted that this cache did not create.",
            )  # fmt: skip
    (directory / EXTENTS).mkdir(exist_ok=True)
    (directory / DATASETS).mkdir(exist_ok=True)


def _agree(directory: Path, size: int) -> Marker:
    """Take the size that the directory has, or give it another one while nobody uses it."""
    path = directory / MARKER
    wanted = Marker(1, size, _extent_bytes(size))
    if read_marker(path) == wanted:
        return wanted
    scratch = directory / f".{MARKER}.{uuid.uuid4().hex}"
    scratch.write_text(json.dumps(asdict(wanted)))
    try:
        with suppress(FileExistsError):
            path.hardlink_to(scratch)
        marker = read_marker(path)
        if marker != wanted:
            if any(in_use(each) for each in (directory / DATASETS).iterdir()):
                held = f"{marker.size:,} bytes, and in use" if marker else "a damaged marker, and in use"
                raise UsageError(
                    str(directory), expected=f"a cache of {size:,} bytes", found=held,
                    action="Use the same size, or another --cache-dir.",
                )  # fmt: skip
            if marker is None or marker.extent_bytes != wanted.extent_bytes or size < marker.size:
                for about in (directory / DATASETS).glob("*/about.json"):
                    shutil.rmtree(about.parent)
                for extent in (directory / EXTENTS).glob("[0-9]" * 5):
                    extent.unlink()
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
    return room // count // _PAGE * _PAGE
