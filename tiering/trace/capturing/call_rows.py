"""Events of frequent system calls, which compiled code makes of their records: open, read, write, seek and close.

A record takes 0.2 us there, and 2 us in Python; 1.2 us more where its name is new (benchmarks/tracing.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from tiering.arrays import AnyArray
from tiering.system import bpf
from tiering.system import call_records as records
from tiering.trace.events import EVENT_SCHEMA, OPS
from tiering.trace.readers.processes import File, OpenFile
from tiering.trace.readers.strace_state import Calls

try:
    from tiering.trace.capturing import _calls
except ImportError:
    NATIVE = False
else:
    #: Whether the C extension is there.
    NATIVE = True

#: What `tiering.system.bpf.finished` does, in C if the extension is there.
finished: Callable[[bytes | memoryview], int] = _calls.finished if NATIVE else bpf.finished

#: What C writes. operation, mode, duration: places in OPERATIONS, MODES and DURATIONS. offset: the least number of all
#: if there is none.
ROW = np.dtype(
    [
        ("time", "<f8"),
        ("offset", "<i8"),
        ("size", "<i8"),
        ("file", "<u4"),
        ("pid", "<i4"),
        ("group", "<i4"),
        ("operation", "u1"),
        ("mode", "u1"),
        ("duration", "u1"),
        ("spare", "V1"),
    ]
)
OPERATIONS = pl.Series(OPS, dtype=EVENT_SCHEMA["op"])
#: What an open allows, by the last bits of its flags; and none.
MODES = pl.Series(["r", "w", "rw", "rw", None], dtype=pl.String())
_MODE_OF = {"r": 0, "w": 1, "rw": 2, None: 4}
#: How long calls took is not recorded; the read of a copy inside the kernel takes no time beside its write.
DURATIONS = pl.Series([None, 0.0], dtype=pl.Float64())
#: With more files than this, numbering starts again.
_MOST_FILES = 1 << 17
_NONE = np.iinfo(np.int64).min
#: B of a record with its header, at least.
_RECORD = (records.ARGUMENTS + 1) * 8 + 8
_NO_ARGUMENTS = [0] * 6
#: The bit of a header whose record is not finished.
_BUSY = 1 << 31


def words_of(taken: bytes | memoryview, words: memoryview, at: int) -> tuple[list[int], bytes]:
    """Return the first ten words of a record, and what it copied. at: where it begins in `words`, those of `taken`.

    Arguments that mean nothing, and so are not recorded, are 0.
    """
    length = words[at - 1] & 0x3FFFFFFF
    found = words[at : at + min(records.COPIED, length // 8)].tolist()
    if len(found) < records.ARGUMENTS or len(taken) < at * 8 + length:
        raise ValueError("expected whole records")
    copied = bytes(taken[(at + records.COPIED) * 8 : at * 8 + length])
    return found + _NO_ARGUMENTS[: records.COPIED - len(found)], copied


class CallRows:
    """Makes the events of records in compiled code, and knows the files in them by numbers of their own."""

    def __init__(self, calls: Calls) -> None:
        """Begin. calls: the state that calls change, which gets the events."""
        self._calls = calls
        self._forget()

    def add(
        self,
        taken: bytes | memoryview,
        directories: dict[int, str],
        begin: float,
        name: Callable[[str], File],
        handle: Callable[[list[int], bytes], None],
    ) -> int:
        """Add the events of records, as `CallRecorder.drain` hands them over. Return how many B of them are finished.

        directories: where each process is. begin: s since the epoch when the clock of the records was 0. name: adds a
        path to `calls.files.written`. handle: takes the words of a record that C leaves over, and what it copied, and
        adds its events to `calls`.
        """
        if len(self._files) > _MOST_FILES:
            self._forget()
        rows, words = np.empty(len(taken) // _RECORD, ROW), memoryview(taken).cast("Q")
        members, written = self._calls.tree.members, self._calls.files.written
        numbers, files = self._numbers, self._files
        at = used = 0
        while True:
            at, used = _calls.add(
                taken, at, members, directories, written, name, numbers, files, OpenFile, begin, rows, used
            )
            if at >= len(taken) or words[at // 8] & _BUSY:
                break
            handle(*words_of(taken, words, at // 8 + 1))
            at += 8 + -(-(words[at // 8] & 0x3FFFFFFF) // 8) * 8
            if cells := self._calls.cells:
                fresh = self._rows(cells)
                if len(rows) - used - len(fresh) < (len(taken) - at) // _RECORD:
                    # Some calls make two events.
                    rows = np.append(rows, np.empty(len(rows) + len(fresh), ROW))
                rows[used : used + len(fresh)] = fresh
                used += len(fresh)
                cells.clear()
        if used:
            self._calls.add_events(self._events(_in_order(rows[:used])))
        return at

    def _forget(self) -> None:
        #: The files of rows, and the number of each by its identity; and identities and paths of those used so far.
        self._files: list[File] = []
        self._numbers: dict[int, int] = {}
        self._identities, self._paths = np.empty(0, np.uint64), pl.Series(dtype=pl.String())

    def _rows(self, cells: list[Any]) -> AnyArray:
        """Return events that `handle` made as rows. Their cells are in the order of EVENT_SCHEMA."""
        rows = []
        for at in range(0, len(cells), len(EVENT_SCHEMA)):
            when, op, identity, offset, size, pid, group, duration, path, flags = cells[at : at + len(EVENT_SCHEMA)]
            number = self._numbers.setdefault(identity, len(self._files))
            if number == len(self._files):
                self._files.append(File(path, identity))
            place = _NONE if offset is None else offset
            rest = OPS.index(op), _MODE_OF[flags], int(duration is not None), b""
            rows.append((when, place, size, number, pid, group, *rest))
        return np.array(rows, ROW)

    def _events(self, rows: AnyArray) -> pl.DataFrame:
        """Return rows as events (EVENT_SCHEMA)."""
        if fresh := self._files[len(self._identities) :]:
            self._identities = np.append(self._identities, np.array([each.identity for each in fresh], np.uint64))
            more = pl.Series([each.path for each in fresh], dtype=pl.String())
            self._paths = pl.concat([self._paths, more], rechunk=True)
        offset, file = pl.Series(rows["offset"]), rows["file"]
        columns = {
            "time": rows["time"],
            "op": OPERATIONS.gather(rows["operation"]),
            "file": self._identities[file],
            "offset": offset.set(offset == _NONE, None),
            "size": rows["size"],
            "pid": rows["pid"],
            "group": rows["group"],
            "duration": DURATIONS.gather(rows["duration"]),
            "path": self._paths.gather(file),
            "flags": MODES.gather(rows["mode"]),
        }
        return pl.DataFrame(columns, schema=EVENT_SCHEMA)


def _in_order(rows: AnyArray) -> AnyArray:
    """Return rows by time. Records of two processors are out of order by some microseconds."""
    time = rows["time"]
    if (time[1:] >= time[:-1]).all():
        return rows
    # As whole words they are copied twenty times as fast.
    words = rows.view(np.uint64).reshape(len(rows), -1)
    return words[np.argsort(time, kind="stable")].reshape(-1).view(ROW)
