"""What the device below some files can do: random direct reads, many at a time."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from tiering.machine import libc_syscall
from tiering.order import IndexArray

#: As fio's rw=randread, bs=128k, iodepth=32, direct=1, ioengine=libaio.
REQUEST: Final = 128 << 10
DEPTH: Final = 32

#: Files that are opened; a device reads no faster for more of them.
_OPEN: Final = 256


class _Calls(NamedTuple):
    """The numbers of Linux's asynchronous I/O: io_setup(2) and its kin."""

    setup: int
    destroy: int
    getevents: int
    submit: int


_CALLS: Final = {"x86_64": _Calls(206, 207, 208, 209), "aarch64": _Calls(0, 1, 4, 2)}

#: struct iocb and struct io_event of linux/aio_abi.h, on a little-endian machine.
_REQUEST: Final = np.dtype("<u8, <u4, <i4, <u2, <i2, <u4, <u8, <u8, <i8, (2,)<u8")
_REQUEST.names = ("slot", "key", "flags", "code", "priority", "file", "memory", "bytes", "offset", "reserved")
_EVENT: Final = np.dtype([("slot", "<u8"), ("request", "<u8"), ("result", "<i8"), ("result2", "<i8")])


def random_read_bandwidth(files: Sequence[Path], seconds: float = 1.0) -> float | None:
    """Measure random reads of REQUEST bytes past the page cache, DEPTH of them at a time.

    files: to read in; those shorter than a request are left out. seconds: how long to measure.
    Returns bytes/s, or None where it cannot be measured: no file is long enough, the file system has no direct reads
    (tmpfs), or the system is not Linux on x86-64 or ARM64. One thread of the interpreter does it, since threads that
    take turns at its lock reach three quarters of what the device can do.
    """
    long = [(path, count) for path in files if (count := path.stat().st_size // REQUEST)][:_OPEN]
    calls, syscall = _CALLS.get(platform.machine()), libc_syscall()
    if not long or calls is None or syscall is None:
        return None
    memory = mmap.mmap(-1, DEPTH * REQUEST)  # direct reads go to whole pages
    requests = np.zeros(DEPTH, dtype=_REQUEST)
    requests["slot"] = np.arange(DEPTH)
    requests["memory"] = np.frombuffer(memory, dtype=np.uint8).ctypes.data + np.arange(DEPTH) * REQUEST
    requests["bytes"] = REQUEST
    events = np.zeros(DEPTH, dtype=_EVENT)
    addresses = requests.ctypes.data + np.arange(DEPTH, dtype=np.uint64) * np.uint64(_REQUEST.itemsize)
    context = ctypes.c_ulong(0)
    with ExitStack() as stack:
        try:
            opened = np.array([stack.enter_context(_direct(path)) for path, _ in long])
        except OSError:
            return None
        if syscall(calls.setup, DEPTH, ctypes.byref(context)) != 0:
            return None
        stack.callback(syscall, calls.destroy, context)  # waits for what is under way
        drawn = _drawn(np.array([count for _, count in long]))
        free, done, began = np.arange(DEPTH), 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            for slot, (file, begin) in zip(free.tolist(), drawn, strict=False):
                requests["file"][slot], requests["offset"][slot] = opened[file], begin
            given = np.ascontiguousarray(addresses[free])
            if syscall(calls.submit, context, ctypes.c_long(len(free)), ctypes.c_void_p(given.ctypes.data)) != len(
                free
            ):
                return None
            at = ctypes.c_void_p(events.ctypes.data)
            got = syscall(calls.getevents, context, ctypes.c_long(1), ctypes.c_long(DEPTH), at, None)
            if got < 1 or (events["result"][:got] != REQUEST).any():
                return None
            free, done = events["slot"][:got].astype(np.int64), done + got
        return done * REQUEST / passed


def _drawn(counts: IndexArray) -> Iterator[tuple[int, int]]:
    """Draw for ever requests in files of so many each: (file, offset)."""
    ends, generator = np.cumsum(counts), np.random.default_rng(0)
    while True:
        picks = generator.integers(0, ends[-1], 1024)
        files = np.searchsorted(ends, picks, side="right")
        yield from zip(files.tolist(), ((picks - (ends - counts)[files]) * REQUEST).tolist(), strict=True)


@contextmanager
def _direct(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
