"""What /proc says of one process: each file is read in one call, and one of a process that has ended is None.

The files are in proc(5). Nothing here stops, traces or changes the process that is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tiering.text import shown

#: Clock ticks in a second, the unit of times in /proc/PID/stat.
TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
#: B of one read. /proc answers a short read with less, and a larger file with more reads.
_BLOCK: Final = 1 << 16


class Identity(NamedTuple):
    """A process for ever: its number, and when it started in clock ticks since boot. Numbers are given away again."""

    pid: int
    started: int


class Stat(NamedTuple):
    """What /proc/PID/stat says of a process. Times are in s, sizes in B; `started` in clock ticks since boot."""

    pid: int
    command: str
    state: str
    parent: int
    group: int
    minor_faults: int
    major_faults: int
    user: float
    system: float
    threads: int
    started: int
    resident: int

    @property
    def identity(self) -> Identity:
        """Number and start of the process."""
        return Identity(self.pid, self.started)

    @property
    def is_ended(self) -> bool:
        """Whether the process has ended, and only its parent has not asked for its status."""
        return self.state in "ZXx"


class Counters(NamedTuple):
    """What /proc/PID/io counts: calls and B of read and write of any kind, and B of storage devices.

    A process that waits for its ended children takes over their counts.
    """

    bytes_read: int
    bytes_written: int
    reads: int
    writes: int
    device_read: int
    device_written: int

    def minus(self, other: Counters) -> Counters:
        """Return the difference, which is never below 0."""
        return Counters(*(max(0, one - two) for one, two in zip(self, other, strict=True)))

    def plus(self, other: Counters) -> Counters:
        """Return the sum."""
        return Counters(*(one + two for one, two in zip(self, other, strict=True)))


NO_COUNTERS: Final = Counters(0, 0, 0, 0, 0, 0)


def read_bytes(path: str, is_enough: Callable[[bytes], bool] | None = None) -> bytes | None:
    """Read a file of /proc; None if the process or the file is gone. Raises OSError, such as PermissionError.

    is_enough: whether the file need not be read beyond a part of it, as the kernel writes it at one call.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return None
    try:
        parts = []
        while part := os.read(descriptor, _BLOCK):
            parts.append(part)
            if is_enough is not None and is_enough(part):
                break
        return b"".join(parts)
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)


def readable(path: str) -> bytes:
    """Read a whole file of /proc; b"" if the process or the file is gone, or may not be read."""
    try:
        return read_bytes(path) or b""
    except OSError:
        return b""


def stat_of(pid: int) -> Stat | None:
    """Read /proc/PID/stat; None if there is no such process, or none that this user may see (hidepid)."""
    text = readable(f"/proc/{pid}/stat")
    return parse_stat(text) if text else None


def parse_stat(text: bytes) -> Stat | None:
    """Parse /proc/PID/stat. The name of the program may hold spaces and brackets; it ends at the last bracket."""
    head, _, rest = text.rpartition(b") ")
    number, _, name = head.partition(b" (")
    fields = rest.split()
    try:
        return Stat(
            pid=int(number),
            command=shown(name.decode("utf-8", "backslashreplace")),
            state=chr(fields[0][0]),
            parent=int(fields[1]),
            group=int(fields[2]),
            minor_faults=int(fields[7]),
            major_faults=int(fields[9]),
            user=int(fields[11]) / TICKS,
            system=int(fields[12]) / TICKS,
            threads=int(fields[17]),
            started=int(fields[19]),
            resident=int(fields[21]) * _PAGE,
        )
    except (IndexError, ValueError):
        return None


def counters_of(pid: int) -> Counters | None:
    """Read /proc/PID/io; None if the process is gone. Raises PermissionError for a process of somebody else."""
    text = read_bytes(f"/proc/{pid}/io")
    if not text:
        return None
    fields = dict(line.split(b": ", 1) for line in text.splitlines() if b": " in line)
    names = (b"rchar", b"wchar", b"syscr", b"syscw", b"read_bytes", b"write_bytes")
    return Counters(*(int(fields.get(name, 0)) for name in names))


def process_numbers() -> list[int]:
    """Return the numbers of all processes that this one may see."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - without an object for each


def command_line(pid: int) -> str:
    """Return the command line of a process, safe to print; "" if it is gone or has none."""
    line = readable(f"/proc/{pid}/cmdline").rstrip(b"\0").replace(b"\0", b" ")
    return shown(line.decode("utf-8", "backslashreplace"))


def threads_of(pid: int) -> list[int]:
    """Return the threads of a process, the first thread first; empty if it is gone, or not this user's to see."""
    try:
        names = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - without an object for each
    except OSError:
        return []
    return sorted(map(int, names), key=lambda thread: thread != pid)


def queued_of(pid: int) -> float:
    """Return the s that the living threads of a process were ready and waited for a processor (schedstat)."""
    waited = 0
    for thread in threads_of(pid):
        fields = readable(f"/proc/{pid}/task/{thread}/schedstat").split()
        waited += int(fields[1]) if len(fields) > 1 else 0
    return waited / 1e9


def link_of(path: str) -> str | None:
    """Return where a link of /proc leads; None if it is gone or may not be read. What is not UTF-8 becomes escapes."""
    try:
        return os.readlink(path.encode()).decode("utf-8", "backslashreplace")  # noqa: PTH115 - Path is str
    except OSError:
        return None


def ignores_children(pid: int) -> bool:
    """Return whether a process ignores SIGCHLD, so that the kernel never adds its children's counts to its own."""
    for line in readable(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"SigIgn:"):
            return bool(int(line.split()[1], 16) >> 16 & 1)
    return False


def user_of(pid: int) -> int | None:
    """Return the number of the user that owns a process; None if it is gone."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None
