"""What calls in strace's output act on: processes, descriptors and files; and the events that they make."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.readers.processes import File, Files, OpenFile, Process, ProcessTree, unescape

#: B; leaves room to add an offset and a size in 64 bits.
_MOST = 1 << 61

#: Events that wait for one before them at most.
_MOST_HELD = 100_000

FORKS = frozenset({"fork", "vfork", "clone", "clone2", "clone3"})


class Line(NamedTuple):
    """A complete call as strace prints it; times are s.

    fd and fd_path: the first argument where that is a descriptor (else -1 and None), and its path under -yy;
    arguments: the text of the others; result_path: the path that -yy shows for a descriptor returned.
    """

    tid: int
    when: float
    fd: int
    fd_path: str | None
    arguments: str
    result: int
    result_path: str | None
    duration: float | None


class Calls:
    """The state that calls act on, and the events they have made."""

    def __init__(self) -> None:
        self.files = Files()
        self.tree = ProcessTree(self.files)
        # One flat list, row after row: a tuple for each event would keep the garbage collector busy (a fifth
        # of the time to read a trace).
        self.cells: list[object] = []
        self._held = pl.DataFrame(schema=EVENT_SCHEMA)
        #: What threads are about to close.
        self.closing: dict[int, OpenFile] = {}
        #: Calls that have no end in the trace though their thread went on.
        self.lost = 0
        #: Whether strace let go of a process that went on.
        self.detached = False
        #: Calls that move data of which the trace shows nothing.
        self.unseen: set[str] = set()

    def add(
        self,
        line: Line,
        op: str,
        file: File,
        process: Process,
        *,
        offset: int | None = None,
        size: int = 0,
        flags: str | None = None,
    ) -> None:
        """Note an event."""
        pid, group = process.pid, process.group
        self.cells += (line.when, op, file.identity, offset, size, pid, group, line.duration, file.path, flags)

    def __len__(self) -> int:
        """Count the events noted and not yet taken."""
        return len(self.cells) // len(EVENT_SCHEMA)

    def take(self, until: float = float("inf")) -> pl.DataFrame:
        """Take the events noted before a time (s), in order of time, and forget them.

        A call that was interrupted is complete, and noted, later than it began. What comes after it waits for it,
        unless that is most of what there is: a call may wait for hours.
        """
        width = len(EVENT_SCHEMA)
        columns = {name: self.cells[place::width] for place, name in enumerate(EVENT_SCHEMA)}
        self.cells.clear()
        fresh = pl.DataFrame(columns, schema=EVENT_SCHEMA)
        table = pl.concat([self._held, fresh]).sort("time", maintain_order=True)
        sure = int(table["time"].search_sorted(until, side="left"))
        if len(table) - sure > _MOST_HELD:
            sure = len(table)
        self._held = table[sure:]
        return table[:sure]

    def gaps(self) -> list[str]:
        """Say why the trace cannot hold the whole run, so far."""
        return [
            *self.tree.gaps(),
            *(["strace was detached from it"] * self.detached),
            *([f"{self.lost} of its calls have a beginning and no end in the trace"] * bool(self.lost)),
            *(f"{name} moves data that the trace does not show" for name in sorted(self.unseen)),
        ]

    def resolve(self, process: Process, fd: str | int | None, annotation: str | None, name: str) -> File:
        """Find the file of a name as it was passed, relative to a directory where the trace shows which."""
        path = unescape(name)
        if path.startswith("/"):
            return self.files.named(posixpath.normpath(path))
        directory = ""
        if annotation is not None:
            directory = self.files.annotated(annotation).path
        elif fd is not None and int(fd) in process.descriptors:
            directory = process.descriptors[int(fd)].file.path
        return self.files.named(posixpath.normpath(posixpath.join(directory, path)) if path else directory)


#: What a call means. Raises ValueError where its arguments make no sense.
Call = Callable[[Calls, Process, Line], None]


def advance(opened: OpenFile, op: str, moved: int, explicit: int | None = None) -> int | None:
    """Say where the bytes begin, and move the position on."""
    if explicit is not None:
        offset: int | None = explicit
    elif op == "write" and opened.append:
        offset = opened.file.size
        opened.offset = None if offset is None else offset + moved
    else:
        offset = opened.offset
        if offset is not None:
            opened.offset = offset + moved
    if moved > _MOST or (offset is not None and offset > _MOST):
        raise ValueError("more bytes than a file can have")
    size = opened.file.size
    if op == "write" and offset is not None and size is not None and offset + moved > size:
        opened.file.size = offset + moved
    return offset
