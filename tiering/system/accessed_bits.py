"""Which pages of its memory a process used, by the accessed bits that the processor sets.

Reading them changes nothing. Clearing them does: the kernel takes them for a hint which memory it can free first. They
say whether a page was used since they were cleared, not how often.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from tiering.system.process_files import read_bytes, readable
from tiering.system.process_maps import mapped_files, plain_path

#: A map of a file in /proc/PID/smaps: its rights and path, and what is resident and referenced of it, in KiB.
_MAP: Final = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ ([rwxsp-]{4}) [0-9a-f]+ \S+ \d+ +(/[^\n]*)\n"
    rb"(?:(?!Rss:)[^\n]*\n)*Rss: +(\d+) kB\n(?:(?!Referenced:)[^\n]*\n)*Referenced: +(\d+) kB"
    rb"(?:\n(?!ShmemPmdMapped:|FilePmdMapped:|[0-9a-f]+-)[^\n]*)*"
    rb"(?:\nShmemPmdMapped: +(\d+) kB)?(?:\nFilePmdMapped: +(\d+) kB)?",
    re.MULTILINE,
)
#: The first line of a map in a part of that file: where it starts.
_HEADER: Final = re.compile(rb"^([0-9a-f]+)-[0-9a-f]+ [rwxsp-]{4} ", re.MULTILINE)
_HUGE_MAPS: Final = re.compile(rb"^thp_file_mapped (\d+)$", re.MULTILINE)
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


def used_maps(pid: int, wanted: Callable[[str], bool]) -> list[UsedMap]:
    """Return the mapped files of a process whose paths are wanted; none if it is gone. Raises PermissionError.

    The kernel visits each page of a map to write its part of /proc/PID/smaps, in order of the addresses: it is read
    only as far as the last wanted map.
    """
    end = max((each.end for each in mapped_files(pid) if wanted(each.path)), default=0)
    if not end:
        return []

    def is_behind(part: bytes) -> bool:
        header = _HEADER.search(part)
        return header is not None and int(header[1], 16) >= end

    text = read_bytes(f"/proc/{pid}/smaps", is_behind) or b""
    found = [
        UsedMap(plain_path(path), int(resident) * 1024, int(used) * 1024, (int(memory or 0) + int(file or 0)) * 1024)
        for _, path, resident, used, memory, file in _MAP.findall(text)
    ]
    return [each for each in found if wanted(each.path)]


def huge_file_maps() -> int:
    """Return how often this machine has mapped a piece of a file of 2 MiB as a whole, since it started."""
    found = _HUGE_MAPS.search(readable("/proc/vmstat"))
    return int(found[1]) if found else 0


def clear_accessed(pid: int) -> None:
    """Clear the accessed bits of a process's mapped files, if it is still there. Raises OSError: PermissionError."""
    with suppress(FileNotFoundError, ProcessLookupError):
        descriptor = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, _OF_FILES)
        finally:
            os.close(descriptor)
