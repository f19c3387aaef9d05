"""Which pages of its memory a process used, by the accessed bits that the processor sets.

Reading them changes nothing. Clearing them does: the kernel takes them for a hint which memory it can free first. They
say whether a page was used since they were cleared, not how often.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Final, NamedTuple

from tiering.system.process_files import read_bytes
from tiering.system.process_maps import plain_path

#: A map of a file in /proc/PID/smaps: its rights and path, and what is resident and referenced of it, in KiB.
_MAP: Final = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ ([rwxsp-]{4}) [0-9a-f]+ \S+ \d+ +(/[^\n]*)\n"
    rb"(?:(?!Rss:)[^\n]*\n)*Rss: +(\d+) kB\n(?:(?!Referenced:)[^\n]*\n)*Referenced: +(\d+) kB"
    rb"(?:\n(?!FilePmdMapped:|[0-9a-f]+-)[^\n]*)*(?:\nFilePmdMapped: +(\d+) kB)?",
    re.MULTILINE,
)
#: What /proc/PID/clear_refs understands: the bits of mapped files.
_OF_FILES: Final = b"3"


class UsedMap(NamedTuple):
    """A mapped file.

    resident, used: B of it in the process's memory, and B used since the bits were cleared. huge: B that are mapped in
    pieces of 2 MiB, with one page fault each.
    """

    path: str
    resident: int
    used: int
    huge: int


def used_maps(pid: int) -> list[UsedMap]:
    """Return the mapped files of a process; none if it is gone. Raises PermissionError."""
    text = read_bytes(f"/proc/{pid}/smaps") or b""
    return [
        UsedMap(plain_path(path), int(resident) * 1024, int(used) * 1024, int(huge or 0) * 1024)
        for _, path, resident, used, huge in _MAP.findall(text)
    ]


def clear_accessed(pid: int) -> None:
    """Clear the accessed bits of a process's mapped files, if it is still there. Raises OSError: PermissionError."""
    with suppress(FileNotFoundError, ProcessLookupError):
        descriptor = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, _OF_FILES)
        finally:
            os.close(descriptor)
