"""Events of perf_event_open(2): the calls, the ring buffers that the kernel fills, and the records in them.

Only page faults are asked for, which are software events: they need no hardware, no kernel module and no privilege.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import struct
import time
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tiering.system.machine import libc_syscall

_PAGE: Final = mmap.PAGESIZE
_CALL: Final = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "loongarch64": 241, "ppc64le": 319, "s390x": 331}
_SOFTWARE: Final = 1
#: Kinds of software events.
MINOR_FAULTS, MAJOR_FAULTS, DUMMY = 5, 6, 9
_CLOSE_ON_EXEC: Final = 8
_SET_OUTPUT: Final = 0x2405
_ENABLE, _DISABLE = 0x2400, 0x2401
_ID: Final = 0x80082407
#: sample_type: identifier, thread, time and address.
_SAMPLE: Final = 1 << 16 | 1 << 1 | 1 << 2 | 1 << 3
_INHERIT, _NO_KERNEL, _NO_HYPERVISOR, _MMAP, _COMM, _TASK = 1 << 1, 1 << 5, 1 << 6, 1 << 8, 1 << 9, 1 << 13
_WATERMARK, _MMAP_DATA, _SAMPLE_ID_ALL = 1 << 14, 1 << 17, 1 << 18
_MMAP2, _COMM_EXEC, _USE_CLOCK = 1 << 23, 1 << 24, 1 << 25
_ATTRIBUTES: Final = struct.Struct("=IIQQQQQIIQQQQIiQIHH")
#: Types of records, and the flag of a change of program.
_LOST, _COMM_RECORD, _EXIT, _FORK, _FAULT, _MMAP2_RECORD, _IS_EXEC = 2, 3, 4, 7, 9, 10, 1 << 13
#: Words of 8 B: where head and tail of a ring are in its first page.
_HEAD, _TAIL = 128, 129
#: Words of a sample: header, identifier, process and thread, time, address.
_WORDS: Final = 5
#: B at the end of every other record: process and thread, time, identifier.
_TRAILER: Final = 24


class Faults(NamedTuple):
    """Page faults, one value per fault. time: ns of the monotonic clock. event: the number of the kernel's event."""

    time: npt.NDArray[np.uint64]
    pid: npt.NDArray[np.int32]
    thread: npt.NDArray[np.int32]
    address: npt.NDArray[np.uint64]
    event: npt.NDArray[np.uint64]


class Mapped(NamedTuple):
    """A process maps memory. Sizes and offset in B."""

    time: int
    pid: int
    start: int
    size: int
    offset: int
    is_writable: bool
    is_executable: bool
    is_shared: bool
    path: str


class Forked(NamedTuple):
    """A process or thread begins. Its events are inherited."""

    time: int
    pid: int
    parent: int
    thread: int


class Executed(NamedTuple):
    """A process becomes another program, and loses its maps."""

    time: int
    pid: int


class Ended(NamedTuple):
    """A thread ends."""

    time: int
    pid: int
    thread: int


Change = Mapped | Forked | Executed | Ended


class Records(NamedTuple):
    """What a ring held. lost: how many records did not fit into it."""

    faults: list[Faults]
    changes: list[Change]
    lost: int


def open_event(
    kind: int,
    thread: int,
    processor: int,
    *,
    inherit: bool = False,
    kernel: bool = False,
    changes: bool = False,
    wake: int = 0,
) -> int:
    """Ask for an event of a thread, on one processor or all (-1). Returns a descriptor. Raises OSError.

    inherit: threads and processes that it begins later are included. kernel: so are faults within the kernel. changes:
    maps, forks, programs and ends are recorded. wake: B in the ring that wake a reader, for the event that owns it.
    """
    flags = _NO_HYPERVISOR | _SAMPLE_ID_ALL | _USE_CLOCK | _WATERMARK
    flags |= (_INHERIT if inherit else 0) | (0 if kernel else _NO_KERNEL)
    flags |= _MMAP | _MMAP_DATA | _MMAP2 | _COMM | _COMM_EXEC | _TASK if changes else 0
    period, size = 1, _ATTRIBUTES.size
    packed = _ATTRIBUTES.pack(
        _SOFTWARE, size, kind, period, _SAMPLE, 0, flags, wake, 0, 0, 0, 0, 0, 0, time.CLOCK_MONOTONIC, 0, 0, 0, 0
    )
    call, number = libc_syscall(), _CALL.get(platform.machine())
    if call is None or number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    found = call(
        number, ctypes.create_string_buffer(packed, size), thread, processor, -1, ctypes.c_ulong(_CLOSE_ON_EXEC)
    )
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(found)


def number_of(event: int) -> int:
    """Return the number by which records name an event; inherited ones have that of the first."""
    number = ctypes.c_uint64()
    fcntl.ioctl(event, _ID, number)
    return number.value


def switch(event: int, *, on: bool) -> None:
    """Switch an event on or off, with all that were inherited from it."""
    fcntl.ioctl(event, _ENABLE if on else _DISABLE, 0)


class Ring:
    """A ring buffer that the kernel fills with the records of events. `pages`: a power of two. Raises OSError.

    It belongs to an event that never happens, so that it outlives those that are directed to it.
    """

    def __init__(self, thread: int, processor: int, pages: int) -> None:
        self.descriptor = open_event(DUMMY, thread, processor, wake=pages * _PAGE // 2)
        try:
            self._memory = mmap.mmap(self.descriptor, (1 + pages) * _PAGE)
        except BaseException:
            os.close(self.descriptor)
            raise
        words = np.frombuffer(self._memory, dtype=np.uint64)
        self._header, self._data = words[: _PAGE // 8], words[_PAGE // 8 :]

    def direct(self, event: int) -> None:
        """Let an event of the same processor write to this ring. Raises OSError."""
        fcntl.ioctl(event, _SET_OUTPUT, self.descriptor)

    def records(self) -> Records:
        """Take what the ring holds."""
        head, tail = int(self._header[_HEAD]), int(self._header[_TAIL])
        if head == tail:
            return Records([], [], 0)
        size = len(self._data)
        first, count = tail // 8 % size, (head - tail) // 8
        words = np.concatenate([self._data[first : first + count], self._data[: max(0, first + count - size)]])
        self._header[_TAIL] = head
        return parse(words)

    def close(self) -> None:
        """Give the memory back."""
        self._header = self._data = np.empty(0, np.uint64)
        self._memory.close()
        os.close(self.descriptor)


def parse(words: npt.NDArray[np.uint64]) -> Records:
    """Parse records. words: uint64 (n,), whole records. Runs of faults cost 20 ns each, any other record 5 us."""
    faults: list[Faults] = []
    changes: list[Change] = []
    lost = at = 0
    while at < len(words):
        header = int(words[at])
        kind, size = header & 0xFFFFFFFF, (header >> 48) // 8
        if kind == _FAULT and size == _WORDS:
            end = at + _run(words[at:], header) * _WORDS
            faults.append(_faults(words[at:end].reshape(-1, _WORDS)))
            at = end
            continue
        if size == 0:
            break
        record = words[at : at + size].tobytes()
        if kind == _LOST:
            lost += struct.unpack_from("=Q", record, 16)[0]
        elif (change := _change(kind, header >> 32 & 0xFFFF, record)) is not None:
            changes.append(change)
        at += size
    return Records(faults, changes, lost)


def _run(words: npt.NDArray[np.uint64], header: int) -> int:
    """Return how many faults with the same header follow each other."""
    headers = words[: len(words) // _WORDS * _WORDS : _WORDS]
    other = headers != header
    return int(other.argmax()) if other.any() else len(headers)


def _faults(rows: npt.NDArray[np.uint64]) -> Faults:
    pids = (rows[:, 2] & 0xFFFFFFFF).astype(np.int32)
    return Faults(rows[:, 3], pids, (rows[:, 2] >> 32).astype(np.int32), rows[:, 4], rows[:, 1])


def _change(kind: int, misc: int, record: bytes) -> Change | None:
    moment = struct.unpack_from("=Q", record, len(record) - 16)[0]
    if kind == _MMAP2_RECORD:
        pid, _, start, size, offset = struct.unpack_from("=IIQQQ", record, 8)
        protection, flags = struct.unpack_from("=II", record, 64)
        path = record[72:-_TRAILER].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
        is_writable, is_executable, is_shared = bool(protection & 2), bool(protection & 4), bool(flags & 1)
        return Mapped(moment, pid, start, size, offset, is_writable, is_executable, is_shared, path)
    if kind in {_FORK, _EXIT}:
        pid, parent, thread, _ = struct.unpack_from("=IIII", record, 8)
        return Forked(moment, pid, parent, thread) if kind == _FORK else Ended(moment, pid, thread)
    if kind == _COMM_RECORD and misc & _IS_EXEC:
        return Executed(moment, struct.unpack_from("=I", record, 8)[0])
    return None
