"""What this machine offers."""

from __future__ import annotations

import ctypes
import math
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

from tiering.system.control_groups import memory_bound, processor_share

_ROOT: Final = Path("/")


def usable_cores(root: Path = _ROOT) -> int:
    """Return the number of processors that this process may use, at least 1.

    These are the ones that it may run on (affinity and cpusets), limited by its control groups' quotas, rounded up.
    root: the directory that holds /proc and the control groups.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = processor_share(root)
    return cores if share is None else max(1, min(cores, math.ceil(share)))


def usable_memory(root: Path = _ROOT) -> int:
    """Return B: this machine's memory, or less if the control groups of this process allow less.

    root: the directory that holds /proc and the control groups.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    bound = memory_bound(root)
    return memory if bound is None else min(memory, bound.limit)


def half_of_memory(root: Path = _ROOT) -> int:
    """Return B: half of the usable memory, which advice assumes for caching; the training needs the rest."""
    return usable_memory(root) // 2


@cache
def libc_syscall() -> Any:
    """Return the C library's syscall(2), for calls that Python lacks; None if there is none.

    It returns a long, and releases the interpreter lock while it runs.
    """
    try:
        syscall = ctypes.CDLL(None, use_errno=True).syscall
    except (OSError, AttributeError):
        return None
    syscall.restype = ctypes.c_long
    return syscall
