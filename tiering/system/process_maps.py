"""The files that a process has mapped, from /proc/PID/maps: where in its memory, and which part of each file."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tiering.system.process_files import read_bytes

#: A line of /proc/PID/maps that names a file: addresses, rights, offset, device, inode, path.
_LINE: Final = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) ([rwxsp-]{4}) ([0-9a-f]+) \S+ \d+ +(/.*)$", re.MULTILINE)


class MappedFile(NamedTuple):
    """A part of a file in the memory of a process. start, end: addresses; offset: B into the file, of `start`."""

    start: int
    end: int
    offset: int
    path: str
    is_writable: bool
    is_executable: bool
    is_shared: bool


def mapped_files(pid: int) -> list[MappedFile]:
    """Return the files that a process has mapped, by address; none if it is gone. Raises PermissionError."""
    text = read_bytes(f"/proc/{pid}/maps") or b""
    return [
        MappedFile(
            int(start, 16),
            int(end, 16),
            int(offset, 16),
            plain_path(path),
            *(each in rights for each in (b"w", b"x", b"s")),
        )
        for start, end, rights, offset, path in _LINE.findall(text)
    ]


def plain_path(path: bytes) -> str:
    r"""Return a path from the kernel's lists, which write \012 for a line end, and mark a file that was removed."""
    plain = path.replace(rb"\012", b"\n")
    return plain.removesuffix(b" (deleted)").decode("utf-8", "backslashreplace")
