"""The state that calls in strace's output change (processes, descriptors and files), and the resulting events."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from tiering.trace.events import EVENT_SCHEMA, in_order
from tiering.trace.readers.processes import File, Files, OpenFile, Process, ProcessTree, unescape

#: B; leaves space to add an offset and a size in 64 bits.
_MOST = 1 << 61

#: How many names to keep. Beyond that, files that no process has open lose theirs: two a file, 0.2 kB each. To open
#: such a file again takes 2 us more.
_NAMES = 1 << 18

#: How many events may wait for an earlier one.
_MOST_HELD = 100_000

FORKS = frozenset({"fork", "vfork", "clone", "clone2", "clone3"})


class Line(NamedTuple):
    """A complete call as strace prints it. Times are s.

    fd, fd_path: the first argument if it is a descriptor (else -1 and None), and its path under -yy. arguments: the
    text of the others. result_path: the path that -yy shows for a returned descriptor.
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
    """The state that calls change, and the events they have made."""

    def __init__(self) -> None:
        self.files = Files()
        self._most_names = _NAMES
        self.tree = ProcessTree(self.files)
        # One flat list, row after row. With a tuple per event, the garbage collector takes a fifth of the time.
        self.cells: list[object] = []
        self._held = pl.DataFrame(schema=EVENT_SCHEMA)
        #: Events that were added as tables.
        self._tables: list[pl.DataFrame] = []
        #: Open files that threads are about to close.
        self.closing: dict[int, OpenFile] = {}
        #: Calls without an end in the trace, although their thread continued.
        self.lost = 0
        #: Whether strace detached from a process that continued.
        self.detached = False
        #: Calls that move data which the trace does not show.
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
        """Record an event."""
        pid, group = process.pid, process.group
        self.cells += (line.when, op, file.identity, offset, size, pid, group, line.duration, file.path, flags)

    def __len__(self) -> int:
        """Return the number of recorded events that were not taken yet."""
        return self.waiting + sum(map(len, self._tables))

    @property
    def waiting(self) -> int:
        """The number of events in `cells`."""
        return len(self.cells) // len(EVENT_SCHEMA)

    def take_waiting(self) -> pl.DataFrame:
        """Remove and return the events in `cells`."""
        width = len(EVENT_SCHEMA)
        columns = {name: self.cells[number::width] for number, name in enumerate(EVENT_SCHEMA)}
        self.cells.clear()
        return pl.DataFrame(columns, schema=EVENT_SCHEMA)

    def add_events(self, events: pl.DataFrame) -> None:
        """Record a table of events (EVENT_SCHEMA). Those in `cells` must be taken before, and come later otherwise."""
        self._tables.append(events)

    def take(self, until: float = float("inf")) -> pl.DataFrame:
        """Remove and return the events before a time (s), in order of time.

        An interrupted call is complete, and recorded, later than it began. Later events wait for it, unless they are
        most of what there is, since a call may take hours.
        """
        table = in_order(pl.concat([self._held, *self._tables, *([self.take_waiting()] if self.cells else [])]))
        self._tables.clear()
        sure = int(table["time"].search_sorted(until, side="left"))
        if len(table) - sure > _MOST_HELD:
            sure = len(table)
        self._held = table[sure:]
        return table[:sure]

    def forget_names(self) -> None:
        """Forget the files that no process has open, once there are many. A job may read each sample from its own file.

        Their sizes are lost, so that appending to one of them has no offset until its size is seen again.
        """
        if len(self.files) > self._most_names:
            processes = self.tree.members.values()
            self.files.forget(opened.file for process in processes for opened in process.descriptors.values())
            self._most_names = max(_NAMES, 2 * len(self.files))

    def gaps(self) -> list[str]:
        """Return reasons, so far, why the trace cannot contain the whole run."""
        return [
            *self.tree.gaps(),
            *(["strace was detached from it"] * self.detached),
            *([f"{self.lost} of its calls have a beginning and no end in the trace"] * bool(self.lost)),
            *(f"{name} moves data that the trace does not show" for name in sorted(self.unseen)),
        ]

    def resolve(self, process: Process, fd: str | int | None, annotation: str | None, name: str) -> File:
        """Return the file of a name as it was passed, relative to a directory if the trace shows which."""
        path = unescape(name)
        if path.startswith("/"):
            return self.files.named(posixpath.normpath(path))
        directory = ""
        if annotation is not None:
            directory = self.files.annotated(annotation).path
        elif fd is not None and int(fd) in process.descriptors:
            directory = process.descriptors[int(fd)].file.path
        return self.files.named(posixpath.normpath(posixpath.join(directory, path)) if path else directory)


#: The effect of a call. Raises ValueError if its arguments make no sense.
Call = Callable[[Calls, Process, Line], None]


def advance(opened: OpenFile, op: str, moved: int, explicit: int | None = None) -> int | None:
    """Return where the bytes of a transfer begin, and advance the position."""
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
