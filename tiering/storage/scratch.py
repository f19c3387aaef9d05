"""A directory for temporary files, below TMPDIR or beside the file that is being made.

A process that is killed leaves its directory there. So each directory is locked by the process that uses it, and a
later process removes those that are not locked. The kernel drops the locks of a process that ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

from tiering.errors import MachineError, from_os_error

#: Errors that mean that another directory is needed.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_OF_THE_DIRECTORY: Final = (*_FULL, errno.EACCES, errno.EPERM)

#: Locks do not always reach other machines, so each machine removes only directories of its own.
_PREFIX: Final = f"tiering-{re.sub('[^A-Za-z0-9.-]', '', platform.node())[:64]}-"
#: Names that tempfile makes of it; those beside a user's files are hidden.
_OURS: Final = re.compile(rf"\.?{re.escape(_PREFIX)}[a-z0-9_]{{8}}")
#: Most entries of a directory that are looked at: it may be the user's, with millions of files behind a network.
_LISTED: Final = 100_000

#: A directory that was made or changed less than this ago may not be locked yet, s.
_YOUNG: Final = 60.0


@contextmanager
def temporary_directory(within: Path | None = None) -> Iterator[Path]:
    """Make a directory that is removed when the block ends, or by a later process if this one is killed.

    within: where to make it, hidden; by default below TMPDIR. A later process must use the same place.
    """
    place = tempfile.gettempdir() if within is None else str(within.absolute())
    _remove_abandoned(place)
    directory = tempfile.TemporaryDirectory(dir=place, prefix=_PREFIX if within is None else f".{_PREFIX}")
    with _held(directory.name), directory as name:
        yield Path(name)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make a directory as temporary_directory does.

    If it is full or cannot be written, raises MachineError that says how to choose another directory.
    """
    directory = ""
    try:
        directory = tempfile.gettempdir()
        with temporary_directory() as name:
            yield name
    except MachineError as error:
        # A download failed because there was no room here.
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FULL:
            raise _elsewhere(directory, cause) from error
        raise
    except OSError as error:
        if not directory:
            raise _elsewhere("TMPDIR", error) from error
        # If a write fails, the system names no file; all writes in the block go to this directory.
        inside = error.filename is None or str(os.fsdecode(error.filename)).startswith(directory)
        if inside and error.errno in _OF_THE_DIRECTORY:
            raise _elsewhere(directory, error) from error
        raise


def _elsewhere(directory: str, error: OSError) -> MachineError:
    return MachineError(
        directory, expected="room for temporary files", found=from_os_error(error).found,
        action="Name a directory with room: TMPDIR=/path/to/it",
    )  # fmt: skip


@contextmanager
def _held(directory: str) -> Iterator[None]:
    """Lock a directory while it is used."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Without locks, as on some network file systems, no process removes the directories of another.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@cache
def _remove_abandoned(directory: str) -> None:
    """Remove the directories that killed processes left in another one, once in the life of this process."""
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in islice(entries, _LISTED):
            if _OURS.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    _remove_if_abandoned(entry.path)


def _remove_if_abandoned(path: str) -> None:
    """Remove a directory of this user that is not locked. Raises OSError if it is."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if about.st_uid == os.geteuid() and time.time() - about.st_mtime > _YOUNG:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)
