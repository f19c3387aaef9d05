"""Files and directories of a cache: its owner's alone, or its group's.

A directory that has the set-group-id bit and is writable for its group is a shared one, and so is what is made in it:
the modes on the disk say it, so that every process does the same. No link is followed, and what is no plain file
is not opened.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Final

_SHARED_DIRECTORY: Final = 0o2770
_SHARED_FILE: Final = 0o660
_OWN_DIRECTORY: Final = 0o700
_OWN_FILE: Final = 0o600
_NEVER: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def is_shared(directory: Path) -> bool:
    """Tell whether what is made in a directory is for its group."""
    mode = directory.stat().st_mode
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def make_directory(path: Path, *, shared: bool | None = None) -> None:
    """Make a directory; one that is there stays as it is.

    shared: for its group, too; by default as the directory above it. Raises OSError.
    """
    for_group = is_shared(path.parent) if shared is None else shared
    try:
        path.mkdir(mode=_OWN_DIRECTORY)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    # A set-group-id bit from above would make the whole of it shared where that was not asked for.
    path.chmod(_SHARED_DIRECTORY if for_group else _OWN_DIRECTORY)


def share(directory: Path) -> None:
    """Make a directory one for its group."""
    directory.chmod(_SHARED_DIRECTORY)


def open_file(path: Path, flags: int) -> int:
    """Open a plain file and return its descriptor; with os.O_CREAT, make it for whom its directory is.

    Raises FileNotFoundError also for what is no plain file, for a link, or for one below what is no directory.
    """
    try:
        descriptor = os.open(path, flags | _NEVER, _OWN_FILE)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENOTDIR):
            raise FileNotFoundError(errno.ENOENT, "no plain file", str(path)) from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "no plain file", str(path))
    if flags & os.O_CREAT and found.st_uid == os.geteuid() and is_shared(path.parent):
        os.fchmod(descriptor, _SHARED_FILE)  # whatever the umask says
    return descriptor


def is_plain(path: Path) -> bool:
    """Tell whether a plain file is there, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def write_file(path: Path, data: bytes) -> None:
    """Write a whole file that must be new."""
    with os.fdopen(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(data)


def allocate(path: Path, size: int) -> None:
    """Make a file of zeros whose room on the disk is its own. Raises OSError that names it."""
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def lock_of(descriptor: int) -> bool:
    """Take the lock of an open file, if nobody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
