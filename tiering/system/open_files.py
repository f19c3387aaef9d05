"""The files that a process has open, and how far it has read them, from /proc/PID/fd and /proc/PID/fdinfo."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from tiering.system.process_files import link_of, read_bytes

#: Bits of the flags of an open file: how it is accessed.
_ACCESS: Final = 3


class OpenFile(NamedTuple):
    """A file that a process has open. position: B; reads by pread(2) leave it where it is."""

    descriptor: int
    path: str
    position: int
    is_read: bool
    is_written: bool


def open_files(pid: int, wanted: Callable[[str], bool]) -> list[OpenFile]:
    """Return the files that a process has open, of those whose path is wanted; none if it is gone or not readable."""
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - without an object for each
    except OSError:
        return []
    found = []
    for descriptor in descriptors:
        link = link_of(f"/proc/{pid}/fd/{descriptor}")
        if link is None or not link.startswith("/"):
            continue
        path = link.removesuffix(" (deleted)")
        if wanted(path) and (file := _described(pid, int(descriptor), path)) is not None:
            found.append(file)
    return found


class Pipes(NamedTuple):
    """The pipes that a process has open, by name: to read from them, and to write to them."""

    read: set[str]
    written: set[str]


def pipes_of(pid: int) -> Pipes:
    """Return the pipes that a process has open; none if it is gone or not readable."""
    found = Pipes(set(), set())
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - without an object for each
    except OSError:
        return found
    for descriptor in descriptors:
        path = f"/proc/{pid}/fd/{descriptor}"
        link = link_of(path)
        if link is not None and link.startswith("pipe:"):
            with suppress(OSError):
                # What the process may do with it is what the link's owner may.
                mode = os.lstat(path).st_mode
                found.read.update([link] * bool(mode & stat.S_IRUSR))
                found.written.update([link] * bool(mode & stat.S_IWUSR))
    return found


def _described(pid: int, descriptor: int, path: str) -> OpenFile | None:
    try:
        text = read_bytes(f"/proc/{pid}/fdinfo/{descriptor}")
    except OSError:
        return None
    fields = dict(line.split(b":", 1) for line in (text or b"").splitlines() if b":" in line)
    if b"pos" not in fields or b"flags" not in fields:
        return None
    access = int(fields[b"flags"], 8) & _ACCESS
    position = int(fields[b"pos"])
    return OpenFile(descriptor, path, position, access in {os.O_RDONLY, os.O_RDWR}, access in {os.O_WRONLY, os.O_RDWR})
