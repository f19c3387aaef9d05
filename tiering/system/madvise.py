"""Announce reads to the kernel: many ranges of mapped memory with one system call, or a whole file."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.system.machine import libc_syscall

_PROCESS_MADVISE: Final = 440  # the same number on every architecture (Linux 5.10)
_WILLNEED: Final = 3
_RANGES_A_CALL: Final = 1024  # UIO_MAXIOV

#: The kernel reads at most the larger of the device's read-ahead and its largest request of a range, and silently
#: ignores the rest. Hardly any device has less than this.
_PIECE: Final = 128 << 10

U64Array = npt.NDArray[np.uint64]


def will_need(begin: U64Array, length: U64Array) -> bool:
    """Start reading ranges of this process's maps into memory, without waiting for them.

    One process_madvise(2) covers a thousand ranges and releases the interpreter lock once. A thousand calls of madvise
    would compete for the lock a thousand times.

    Args:
        begin: uint64 (n,), addresses, multiples of the page size.
        length: uint64 (n,), bytes.

    Returns:
        False if the system does not offer this call, or a signal interrupted it. Then advise the ranges one by one.
    """
    syscall = libc_syscall()
    if syscall is None or not hasattr(os, "pidfd_open"):
        return False
    ranges = _pieces(begin, length)
    try:
        # Opened for each call, because after a fork an old descriptor would name the parent.
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


def will_need_file(path: str | bytes | Path) -> None:
    """Start reading a whole file into the page cache, without waiting for it. A missing file is ignored."""
    if not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            for begin in range(0, os.fstat(descriptor).st_size, _PIECE):
                os.posix_fadvise(descriptor, begin, _PIECE, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def _pieces(begin: U64Array, length: U64Array) -> U64Array:
    """Cut ranges into pieces of at most _PIECE bytes: uint64 (k, 2), begin and length."""
    count = np.maximum((length + np.uint64(_PIECE - 1)) // np.uint64(_PIECE), 1).astype(np.int64)
    of = np.repeat(np.arange(len(begin)), count)
    nth = np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count)
    skipped = (nth * _PIECE).astype(np.uint64)
    return np.stack([begin[of] + skipped, np.minimum(length[of] - skipped, np.uint64(_PIECE))], axis=1)
