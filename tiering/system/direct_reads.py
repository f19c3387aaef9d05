"""Many reads at a time past the page cache: Linux's asynchronous I/O, or threads where there is none."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tiering.system.machine import libc_syscall

#: A read to make: (descriptor, offset).
Target = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Reads:
    """Reads that were made: B of each, s that all took, and s of each from its submission to its end."""

    block: int
    seconds: float
    latencies: npt.NDArray[np.float64]

    @property
    def bandwidth(self) -> float:
        """B/s; 0 where nothing was read."""
        return len(self.latencies) * self.block / self.seconds if len(self.latencies) else 0.0


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
_EVENT: Final = np.dtype([("slot", "<i8"), ("request", "<u8"), ("result", "<i8"), ("result2", "<i8")])
_FILE_AT, _OFFSET_AT = 5, 5  # in words of 4 and of 8 bytes
_EVENT_WORDS, _RESULT_AT = 4, 2

#: The depth up to which threads are as good.
_FEW: Final = 1


@contextmanager
def opened_direct(path: str | Path) -> Iterator[int]:
    """Open a file for reads past the page cache. Raises OSError where its file system has none (EINVAL)."""
    if not hasattr(os, "O_DIRECT"):
        raise OSError(errno.EINVAL, "no direct reads on this system", str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def whole_pages(size: int) -> mmap.mmap:
    """Return memory that direct reads can go to. It lies as scattered as the page cache does, in pages of 4 KiB.

    A virtual disk may take twice as long for that as for huge pages (docs/benchmarks.md, "Probe").
    """
    return mmap.mmap(-1, size)


def read_many(targets: Iterable[Target], block: int, depth: int, seconds: float) -> Reads:
    """Read blocks with so many in flight, the way that costs the least at that depth; see read_at_once.

    One at a time is a plain read: a call instead of two.
    """
    way = read_on_threads if depth <= _FEW else read_at_once
    return way(targets, block, depth, seconds)


def read_at_once(targets: Iterable[Target], block: int, depth: int, seconds: float) -> Reads:
    """Read blocks with so many in flight, in one thread, until the targets or the seconds are used up.

    targets: descriptors opened with O_DIRECT, offsets in multiples of what the device asks for. block: B of one read.
    Returns what was read; all that was begun is waited for and counts. Raises OSError where a read fails or falls
    short, and ENOSYS where the system is not Linux on x86-64 or ARM64.

    One thread of the interpreter does it, for threads that take turns at its lock use three times the processor. A
    read costs it 3 to 7 us (docs/benchmarks.md, "Probe"), so that a device of some 200,000 reads/s is its limit.
    """
    calls, syscall = _CALLS.get(platform.machine()), libc_syscall()
    if calls is None or syscall is None:
        raise OSError(errno.ENOSYS, "no asynchronous reads on this system")
    memory = whole_pages(depth * block)
    requests = np.zeros(depth, dtype=_REQUEST)
    requests["slot"] = np.arange(depth)
    requests["memory"] = np.frombuffer(memory, dtype=np.uint8).ctypes.data + np.arange(depth) * block
    requests["bytes"] = block
    context = ctypes.c_ulong(0)
    with ExitStack() as stack:
        if syscall(calls.setup, depth, ctypes.byref(context)) != 0:
            raise _failed()
        stack.callback(syscall, calls.destroy, context)  # waits for what is under way
        return _read(iter(targets), requests, seconds, syscall, calls, context)


def _read(
    targets: Iterator[Target], requests: npt.NDArray[Any], seconds: float, syscall: Any, calls: _Calls, context: Any
) -> Reads:
    depth, block, address = len(requests), int(requests["bytes"][0]), requests.ctypes.data
    events = np.zeros(depth, dtype=_EVENT)
    given = np.zeros(depth, dtype=np.uint64)
    # Views of plain words: writing one costs 40 ns, a tenth of what a NumPy array takes. Nearly always few are done.
    # Arguments of system calls are made once, for the same reason.
    words, halves = requests.view(np.int64).data, requests.view(np.int32).data
    ended = events.view(np.int64).data
    submit, reap = (ctypes.c_long(number) for number in (calls.submit, calls.getevents))
    one, most, all_events = ctypes.c_long(1), ctypes.c_long(depth), ctypes.c_void_p(events.ctypes.data)
    given[:] = address + np.arange(depth, dtype=np.uint64) * np.uint64(_REQUEST.itemsize)
    pointers = [ctypes.c_void_p(given.ctypes.data + 8 * slot) for slot in range(depth)]
    free, begun, latencies, flying = list(range(depth)), [0.0] * depth, list[float](), 0
    clock = time.perf_counter
    now = start = clock()
    end, going = start + seconds, True
    while True:
        for slot in free if going else ():
            target = next(targets, None)
            if target is None:
                going = False
                break
            halves[slot * 16 + _FILE_AT], words[slot * 8 + _OFFSET_AT] = target
            begun[slot] = clock()
            # Each by itself, as fio does: neighbours that are given together become one larger read.
            if syscall(submit, context, one, pointers[slot]) != 1:
                raise _failed()
            flying += 1
        if not flying:
            break
        free = []
        got = syscall(reap, context, one, most, all_events, None)
        if got < 1:
            if ctypes.get_errno() == errno.EINTR:
                continue
            raise _failed()
        now = clock()
        for at in range(0, got * _EVENT_WORDS, _EVENT_WORDS):
            slot = ended[at]
            if ended[at + _RESULT_AT] != block:
                raise _short(ended[at + _RESULT_AT], block)
            latencies.append(now - begun[slot])
            free.append(slot)
        flying -= got
        going = going and now < end
    return Reads(block, now - start, np.array(latencies))


def read_on_threads(targets: Iterable[Target], block: int, depth: int, seconds: float) -> Reads:
    """Read blocks with so many in flight, a thread for each, until the targets or the seconds are used up.

    For descriptors of any kind; otherwise as read_at_once. Threads take turns at the interpreter's lock: past some
    50,000 reads/s they measure it, and not the device.
    """
    shared, stop = iter(list(targets)), Event()  # the iterator of a list may be shared by threads

    def work() -> list[float]:
        memory, spent = whole_pages(block), []
        for file, offset in shared:
            begun = time.perf_counter()
            got = os.preadv(file, [memory], offset)
            if got != block:
                raise _short(got, block)
            now = time.perf_counter()
            spent.append(now - begun)
            if now >= end or stop.is_set():
                break
        return spent

    if depth == 1:
        start = time.perf_counter()
        end = start + seconds
        spent = work()
        return Reads(block, time.perf_counter() - start, np.array(spent))
    with ThreadPoolExecutor(depth) as pool:
        start = time.perf_counter()
        end = start + seconds
        workers = [pool.submit(work) for _ in range(depth)]
        try:
            found = [each.result() for each in workers]
        finally:
            stop.set()  # an interruption of the one that waits here ends the others soon
    taken = time.perf_counter() - start
    return Reads(block, taken, np.array([one for each in found for one in each]))


def _failed() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _short(result: int, block: int) -> OSError:
    if result < 0:
        return OSError(-result, os.strerror(-result))
    return OSError(errno.EIO, f"a read of {block} bytes gave {result}")
