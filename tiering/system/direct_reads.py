"""Many reads in flight past the page cache: Linux's asynchronous I/O, or threads where it is missing."""

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
    """A finished series of reads.

    block: bytes of each read. seconds: of the whole series. latencies: float64 (n,), s from submission to completion.
    """

    block: int
    seconds: float
    latencies: npt.NDArray[np.float64]

    @property
    def bandwidth(self) -> float:
        """Bytes per second; 0 if nothing was read."""
        return len(self.latencies) * self.block / self.seconds if len(self.latencies) else 0.0


class _Calls(NamedTuple):
    """The system call numbers of Linux's asynchronous I/O: io_setup(2), io_destroy(2) and so on."""

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

#: Up to this depth, plain reads on threads are as good.
_THREADS_UP_TO: Final = 1


@contextmanager
def opened_direct(path: str | Path) -> Iterator[int]:
    """Open a file for reads past the page cache. Raises OSError (EINVAL) if its file system does not support them."""
    if not hasattr(os, "O_DIRECT"):
        raise OSError(errno.EINVAL, "no direct reads on this system", str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def whole_pages(size: int) -> mmap.mmap:
    """Return page-aligned memory for direct reads, scattered over pages of 4 KiB as the page cache is.

    A virtual disk may take twice as long to fill it as to fill huge pages (docs/benchmarks.md, "Probe").
    """
    return mmap.mmap(-1, size)


def read_many(targets: Iterable[Target], block: int, depth: int, seconds: float) -> Reads:
    """Read blocks with `depth` of them in flight, in the cheapest way for that depth; see read_at_once.

    At depth 1 this is a plain read: one system call instead of two.
    """
    read = read_on_threads if depth <= _THREADS_UP_TO else read_at_once
    return read(targets, block, depth, seconds)


def read_at_once(targets: Iterable[Target], block: int, depth: int, seconds: float) -> Reads:
    """Read blocks from one thread, with many in flight, until the targets or the time run out.

    Threads that take turns at the interpreter lock would use three times the processor. A read costs 3 to 7 us
    (docs/benchmarks.md, "Probe"), so this measures devices of up to about 200,000 reads/s.

    Args:
        targets: Descriptors opened with O_DIRECT, and offsets that are multiples of the device's block size.
        block: Bytes of one read.
        depth: Reads in flight.
        seconds: When to stop submitting reads. Reads in flight are waited for, and count.

    Returns:
        The reads that were made.

    Raises:
        OSError: A read failed or was short; ENOSYS if the system is not Linux on x86-64 or ARM64.
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
        stack.callback(syscall, calls.destroy, context)  # waits for the reads in flight
        return _read(iter(targets), requests, seconds, syscall, calls, context)


def _read(
    targets: Iterator[Target], requests: npt.NDArray[Any], seconds: float, syscall: Any, calls: _Calls, context: Any
) -> Reads:
    depth, block, address = len(requests), int(requests["bytes"][0]), requests.ctypes.data
    events = np.zeros(depth, dtype=_EVENT)
    addresses = np.zeros(depth, dtype=np.uint64)
    # Writing one word through a memoryview costs 40 ns, a tenth of NumPy's time, and few reads finish at a time.
    # The arguments of the system calls are made once, for the same reason.
    words, halves = requests.view(np.int64).data, requests.view(np.int32).data
    ended = events.view(np.int64).data
    submit, reap = (ctypes.c_long(number) for number in (calls.submit, calls.getevents))
    one, most, all_events = ctypes.c_long(1), ctypes.c_long(depth), ctypes.c_void_p(events.ctypes.data)
    addresses[:] = address + np.arange(depth, dtype=np.uint64) * np.uint64(_REQUEST.itemsize)
    pointers = [ctypes.c_void_p(addresses.ctypes.data + 8 * slot) for slot in range(depth)]
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
            # One submission per read, as fio does: the kernel merges neighbours that are submitted together.
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
    """Read blocks with one thread per read in flight, until the targets or the time run out.

    It takes descriptors of any kind, and is otherwise like read_at_once. Above about 50,000 reads/s the interpreter
    lock, at which threads take turns, is the limit instead of the device.
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
            stop.set()  # if this thread is interrupted, the workers end soon
    taken = time.perf_counter() - start
    return Reads(block, taken, np.array([one for each in found for one in each]))


def _failed() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _short(result: int, block: int) -> OSError:
    if result < 0:
        return OSError(-result, os.strerror(-result))
    return OSError(errno.EIO, f"a read of {block} bytes gave {result}")
