"""What this machine offers."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any


def usable_cores() -> int:
    """Return the number of processors that this process may run on, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def half_of_memory() -> int:
    """Return B: half of this machine's memory, what advice takes for caching; the rest is the training's own."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@cache
def libc_syscall() -> Any:
    """Return the C library's syscall(2), for calls that Python does not know; None where there is none.

    It returns a long, and releases the interpreter lock while it runs.
    """
    try:
        syscall = ctypes.CDLL(None, use_errno=True).syscall
    except (OSError, AttributeError):
        return None
    syscall.restype = ctypes.c_long
    return syscall
