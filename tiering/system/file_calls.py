"""System calls on files that Python's os module lacks.

renameat2(2) renames without replacing anything by accident. syncfs(2) makes many files durable at once.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

_AT_FDCWD: Final = -100
_NOREPLACE: Final = 1
_EXCHANGE: Final = 2

#: Errors of a kernel or file system that does not support these renames.
UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


def rename_new(source: Path, target: Path) -> None:
    """Rename a file or directory to a new name.

    Raises FileExistsError if the name is taken, OSError with an errno of UNSUPPORTED if the file system cannot do this.
    """
    _rename(source, target, _NOREPLACE)


def exchange(one: Path, other: Path) -> None:
    """Swap the names of two files or directories in one step; both must exist.

    Raises FileNotFoundError, and OSError with an errno of UNSUPPORTED if the file system cannot do this.
    """
    _rename(one, other, _EXCHANGE)


def _rename(source: Path, target: Path, flags: int) -> None:
    renameat2 = _renameat2()
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target))
    if renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


@cache
def _renameat2() -> Any:
    """Return the C library's renameat2 (glibc 2.28, musl 1.2.4 and later), or None."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
        function.restype = ctypes.c_int
    return function


def sync_file_system(path: Path) -> None:
    """Write all pending data of a path's file system to its device. Raises OSError if that fails.

    Use it for trees of many small files, where one sync per file is slow. If the C library lacks syncfs, it syncs every
    file system.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)
