"""Tell the kernel about many ranges of mapped memory with one system call."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_PROCESS_MADVISE: Final = 440  # the same number on every architecture (Linux 5.10)
_WILLNEED: Final = 3
_RANGES_A_CALL: Final = 1024  # UIO_MAXIOV

U64Array = npt.NDArray[np.uint64]


def will_need(begin: U64Array, length: U64Array) -> bool:
    """Start reading ranges of this process's maps into memory, without waiting for them.

    begin: uint64 (n,), addresses, multiples of the page size; length: uint64 (n,), bytes.
    Returns False where the system does not offer this, or stopped on the way (a signal): advise them one by one then.
    One process_madvise(2) for a thousand ranges: the interpreter lock is free for the whole of it, which it would not
    be between a thousand calls of madvise.
    """
    syscall = _libc_syscall()
    if syscall is None or not hasattr(os, "pidfd_open"):
        return False
    ranges = np.stack([begin, length], axis=1)
    try:
        # Opened anew each time, because after a fork an old one would name the parent.
        itself = os.pidfd_open(os.getpid())
    except OSError:
        return False
    try:
        for first in range(0, len(ranges), _RANGES_A_CALL):
            piece = np.ascontiguousarray(ranges[first : first + _RANGES_A_CALL])
            at = ctypes.c_void_p(piece.ctypes.data)
            done = syscall(_PROCESS_MADVISE, itself, at, ctypes.c_size_t(len(piece)), _WILLNEED, 0)
            if done != int(piece[:, 1].sum()):
                return False
    finally:
        os.close(itself)
    return True


def _libc_syscall() -> Any:
    try:
        syscall = ctypes.CDLL(None).syscall
    except (OSError, AttributeError):
        return None
    syscall.restype = ctypes.c_long
    return syscall
