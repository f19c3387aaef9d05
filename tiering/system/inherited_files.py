"""The files that a process has open, by /proc/PID/fd and fdinfo."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tiering.system.process_files import link_of


class OpenFile(NamedTuple):
    """An open file: its name as the kernel has it ("/a/b", "pipe:[7]"), its position in B, and its flags of open(2)."""

    name: str
    offset: int
    flags: int


def open_files_of(pid: int, most: int | None = None, *, only: int | None = None) -> dict[int, OpenFile]:
    """Look up the open files of a process by descriptor. What cannot be read, or is closed meanwhile, is left out.

    most: only descriptors below this. only: this descriptor alone.
    """
    fds = Path(f"/proc/{pid}/fd")
    found: dict[int, OpenFile] = {}
    numbers: Iterable[int] = (only,) if only is not None else range(most or 0)
    with suppress(OSError):
        if most is None and only is None:
            numbers = (int(each.name) for each in fds.iterdir())
        for fd in numbers:
            with suppress(OSError, ValueError, KeyError):
                name = link_of(f"/proc/{pid}/fd/{fd}")
                if name is None:
                    continue
                lines = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines()
                fields = dict(line.split(":", 1) for line in lines)
                found[fd] = OpenFile(name, int(fields["pos"]), int(fields["flags"], 8))
    return found


def exists(pid: int) -> bool:
    """Return whether there is a process with this number."""
    return Path(f"/proc/{pid}").exists()


def processor_seconds(pid: int) -> float:
    """Return the s of processor time that a process has used, without its children; 0 if it cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0.0
