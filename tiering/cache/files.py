"""Files and directories of a cache: private to its owner, or shared with its group.

A directory is shared if it has the set-group-id bit and its group can write to it. New files in a shared directory are
shared, too. Every process decides by the modes on the disk, so all do the same. No link is followed, and only plain
files are opened.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from tiering.errors import UsageError

_SHARED_DIRECTORY: Final = 0o2770
_SHARED_FILE: Final = 0o660
_OWN_DIRECTORY: Final = 0o700
_OWN_FILE: Final = 0o600
_SAFELY: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def is_shared(directory: Path) -> bool:
    """Return whether new files in a directory are shared with its group."""
    mode = directory.stat().st_mode
    return bool(mode & stat.S_ISGID and mode & stat.S_IWGRP)


def make_directory(path: Path, *, shared: bool | None = None) -> None:
    """Make a directory; an existing one stays as it is.

    Args:
        path: The directory.
        shared: Whether to share it with its group; by default like its parent.

    Raises:
        OSError: If it cannot be made.
    """
    for_group = is_shared(path.parent) if shared is None else shared
    try:
        path.mkdir(mode=_OWN_DIRECTORY)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    # The directory may inherit the set-group-id bit of its parent, and so be shared against the user's wish.
    path.chmod(_SHARED_DIRECTORY if for_group else _OWN_DIRECTORY)


def share(directory: Path) -> None:
    """Let a directory's group use it."""
    directory.chmod(_SHARED_DIRECTORY)


def open_file(path: Path, flags: int) -> int:
    """Open a plain file and return its descriptor. A new file is shared if its directory is.

    Args:
        path: The file.
        flags: As for os.open.

    Raises:
        FileNotFoundError: If there is no file, or something else: a link, a directory, a device.
        OSError: If it cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | _SAFELY, _OWN_FILE)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENOTDIR):
            raise FileNotFoundError(errno.ENOENT, "not a plain file", str(path)) from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "not a plain file", str(path))
    if flags & os.O_CREAT and found.st_uid == os.geteuid() and is_shared(path.parent):
        os.fchmod(descriptor, _SHARED_FILE)  # whatever the umask says
    return descriptor


def is_plain(path: Path) -> bool:
    """Return whether a path is a plain file, and not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def write_file(path: Path, data: bytes) -> None:
    """Write a new file. Raises FileExistsError if there is one."""
    with os.fdopen(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(data)


def allocate(path: Path, size: int) -> None:
    """Make a file of zeros, with its space allocated on the disk. Raises an OSError that names the file."""
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def lock_of(descriptor: int) -> bool:
    """Try to lock an open file; return False if it is locked already."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def default_directory() -> Path:
    """Return the default directory for caches: tiering's directory below the user's cache directory.

    Raises UsageError if the user has none: no HOME, and no entry in the system's list of users.
    """
    try:
        found = user_cache_path("tiering")
    except (RuntimeError, KeyError):
        found = Path()
    if not found.is_absolute():
        raise UsageError(
            "the cache's directory", found="this user has no home directory (HOME)",
            action="Name a directory: `directory`",
        )  # fmt: skip
    return found
