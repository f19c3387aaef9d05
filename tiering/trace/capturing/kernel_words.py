"""Put the records of rare calls into the words of strace, whose reader knows what they mean."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable
from typing import NamedTuple

from tiering.system.call_records import ARGUMENTS, BLOCK, CALL, NAMES, RESULT

#: The first ten words of a record (tiering.system.call_records).
Row = list[int]

_FD = 0xFFFFFFFF
_ANONYMOUS, _SHARED, _DENY_WRITE, _WRITABLE = 0x20, 0x01, 0x800, 0x2
_DUPLICATES, _SET_FLAGS, _CLOSE_ON_EXEC = (0, 1030), 4, 4
_KERNEL_POLLS = 2  # IORING_SETUP_SQPOLL

MAKES_RING, RING = ("io_uring_setup",), "anon_inode:[io_uring]"


class Words(NamedTuple):
    """A call as strace prints it: its name, its arguments after a first descriptor, and the descriptors it uses."""

    name: str
    arguments: str
    uses: tuple[int, ...] = ()


def path_in(copied: bytes) -> str:
    """Return a path that was copied. Bytes that are not UTF-8 stay visible as escapes."""
    return copied.split(b"\0", 1)[0].decode("utf-8", errors="backslashreplace")


def signed(number: int) -> int:
    """Return an argument of 32 bits as the number it stands for, such as AT_FDCWD."""
    number &= _FD
    return number - (1 << 32) if number >> 31 else number


def how_it_ended(code: int) -> str:
    """Return how a process ended, as in Process.end, from its status as wait(2) has it."""
    if number := code & 0x7F:
        # Those for real time have no names of their own.
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"it was killed by {name}"
    status = code >> 8 & 0xFF
    return f"it ended with exit status {status}" if status else ""


def _first(row: Row) -> int:
    return row[ARGUMENTS] & _FD


def _plain(row: Row, _: bytes) -> Words:
    return Words(NAMES[row[CALL]], "", (_first(row),))


def _alone(row: Row, _: bytes) -> Words:
    return Words(NAMES[row[CALL]], "")


def _map(row: Row, _: bytes) -> Words | None:
    length, protection, flags, fd, offset = row[ARGUMENTS + 1 : ARGUMENTS + 6]
    if flags & _ANONYMOUS:
        return None
    rights = "PROT_WRITE" if protection & _WRITABLE else "PROT_READ"
    kind = "MAP_SHARED" if flags & _SHARED else "MAP_DENYWRITE" if flags & _DENY_WRITE else "MAP_PRIVATE"
    return Words("mmap", f"NULL, {length}, {rights}, {kind}, {fd & _FD}, {offset:#x}", (fd & _FD,))


def _control(row: Row, _: bytes) -> Words | None:
    if row[ARGUMENTS + 1] in _DUPLICATES:
        return Words("fcntl", ", F_DUPFD", (_first(row),))
    if row[ARGUMENTS + 1] == _SET_FLAGS:
        return Words("fcntl", ", F_SETFL, " + "O_APPEND" * bool(row[ARGUMENTS + 2] & os.O_APPEND), (_first(row),))
    return None


def _send(row: Row, copied: bytes) -> Words:
    other, count = row[ARGUMENTS + 1] & _FD, row[ARGUMENTS + 3]
    begin = _begin(row, row[ARGUMENTS + 2], copied, 0)
    return Words("sendfile", f", {other}, {begin}, {count}", (_first(row), other))


def _copy(row: Row, copied: bytes) -> Words:
    other, moved = row[ARGUMENTS + 2] & _FD, row[RESULT]
    begin, to = (_begin(row, row[ARGUMENTS + at], copied, place) for at, place in ((1, 0), (3, BLOCK)))
    return Words(NAMES[row[CALL]], f", {begin}, {other}, {to}, {moved}, 0", (_first(row), other))


def _begin(row: Row, pointer: int, copied: bytes, at: int) -> str:
    """Return where a copy inside the kernel began. The call has moved the position on, if there is one."""
    return f"[{max(0, struct.unpack_from('<q', copied, at)[0] - row[RESULT])}]" if pointer and copied else "NULL"


def _pair(row: Row, copied: bytes) -> Words | None:
    if not copied:
        return None
    one, other = struct.unpack_from("<II", copied)
    return Words(NAMES[row[CALL]], f"[{one}, {other}]")


def _named(row: Row, copied: bytes) -> Words:
    return Words(NAMES[row[CALL]], f'"{path_in(copied)}"')


def _bpf(row: Row, _: bytes) -> Words | None:
    return Words("bpf", "") if row[RESULT] else None


def _ring(_: Row, copied: bytes) -> Words:
    polled = not copied or struct.unpack_from("<I", copied, 8)[0] & _KERNEL_POLLS
    return Words("io_uring_setup", "" if polled else "flags=")


def _length(row: Row, _: bytes) -> Words:
    return Words("ftruncate", f", {row[ARGUMENTS + 1]}", (_first(row),))


def _range(row: Row, _: bytes) -> Words:
    return Words(
        "close_range", f", {row[ARGUMENTS + 1] & _FD}, " + "CLOEXEC" * bool(row[ARGUMENTS + 2] & _CLOSE_ON_EXEC)
    )


_NEW = (
    *("socket", "accept", "accept4", "epoll_create", "epoll_create1", "inotify_init", "inotify_init1", "eventfd"),
    *("eventfd2", "timerfd_create", "signalfd", "signalfd4", "fanotify_init", "userfaultfd", "pidfd_open"),
    "perf_event_open",
)

#: What to do for a call; None where it means nothing.
WORDS: dict[str, Callable[[Row, bytes], Words | None]] = {
    **dict.fromkeys(("dup", "dup2", "dup3", "fsync", "fdatasync", "sync_file_range"), _plain),
    **dict.fromkeys(("getdents", "getdents64"), _plain),
    **dict.fromkeys((*_NEW, "io_uring_enter", "io_submit", "recvmsg"), _alone),
    **dict.fromkeys(("pipe", "pipe2", "socketpair"), _pair),
    **dict.fromkeys(("copy_file_range", "splice"), _copy),
    "sendfile": _send, "mmap": _map, "fcntl": _control, "memfd_create": _named, "bpf": _bpf,
    "io_uring_setup": _ring, "ftruncate": _length, "close_range": _range,
}  # fmt: skip
