"""The processors, memory and open files that this process may use."""

from __future__ import annotations

import ctypes
import math
import os
from functools import cache
from pathlib import Path
from typing import Any, Final

from tiering.system.control_groups import memory_bound, processor_share

_ROOT: Final = Path("/")


def usable_cores(root: Path = _ROOT, process: int = 0) -> int:
    """Return the number of processors that a process may use, at least 1; 0 is this process.

    Affinity and cpusets decide which ones; the quotas of its control groups, rounded up, limit how many.
    root: the directory that holds /proc and the control groups.
    """
    try:
        cores = len(os.sched_getaffinity(process))
    except (AttributeError, ProcessLookupError):
        # A system without affinity, or a process that has ended.
        cores = os.cpu_count() or 1
    share = processor_share(root, process or "self")
    return cores if share is None else max(1, min(cores, math.ceil(share)))


def usable_memory(root: Path = _ROOT) -> int:
    """Return the memory of this machine in bytes, or less if the control groups of this process allow less.

    root: the directory that holds /proc and the control groups.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    bound = memory_bound(root)
    return memory if bound is None else min(memory, bound.limit)


def half_of_memory(root: Path = _ROOT) -> int:
    """Return half of the usable memory, in bytes. Advice assumes it for caching and leaves the rest to the training."""
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


#: More than tiering ever needs. Unlimited would be too much: some programs close all possible descriptors one by one.
_ENOUGH: Final = 65_536


def raise_descriptor_limit() -> bool:
    """Raise the soft limit on open files towards the hard one. Returns whether it was raised.

    Call it when a process has reached the limit. The soft limit is usually 1,024 (for select(2)), the hard one far
    higher.
    """
    import resource  # noqa: PLC0415 - only on Unix; elsewhere `require_linux` has the message

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return False
    return True
