"""Events of frequent system calls, which compiled code makes of their records: open, read, write, seek and close.

A record takes 0.3 us there, and 2 us in Python; 1.2 us more where its name is new (benchmarks/tracing.py).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from tiering.arrays import AnyArray
from tiering.system import bpf
from tiering.system import call_records as records
from tiering.trace.events import EVENT_SCHEMA
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

#: What C writes. operation, mode: places in OPERATIONS and MODES. offset: the least number of all if there is none.
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
        ("spare", "V2"),
    ]
)
OPERATIONS = pl.Series(["open", "read", "write", "close"], dtype=EVENT_SCHEMA["op"])
#: What an open allows, by the last bits of its flags; and none.
MODES = pl.Series(["r", "w", "rw", "rw", None], dtype=pl.String())
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


def add_rows(
    taken: bytes | memoryview,
    calls: Calls,
    directories: dict[int, str],
    begin: float,
    name: Callable[[str], File],
    handle: Callable[[list[int], bytes], None],
) -> int:
    """Add the events of records, as `CallRecorder.drain` hands them over. Return how many B of them are finished.

    directories: where each process is. begin: s since the epoch when the clock of the records was 0. name: adds a path
    to `calls.files.written`. handle: takes the words of a record that C leaves over, and what it copied, and adds its
    events to `calls`.
    """
    rows = np.empty(len(taken) // _RECORD, ROW)
    numbers: dict[int, int] = {}
    files: list[File] = []
    words = memoryview(taken).cast("Q")
    #: After how many rows each event came that `handle` added.
    places: list[int] = []
    members, written = calls.tree.members, calls.files.written
    at = used = 0
    while True:
        at, used = _calls.add(
            taken, at, members, directories, written, name, numbers, files, OpenFile, begin, rows, used
        )
        if at >= len(taken) or words[at // 8] & _BUSY:
            break
        before = calls.waiting
        handle(*words_of(taken, words, at // 8 + 1))
        places += [used] * (calls.waiting - before)
        at += 8 + -(-(words[at // 8] & 0x3FFFFFFF) // 8) * 8
    made = _events(rows[:used], files)
    if places:
        # An event comes before the row whose number is its place.
        order = np.argsort(np.concatenate([np.arange(used), np.array(places) - 0.5]), kind="stable")
        made = pl.concat([made, calls.take_waiting()])[order]
    calls.add_events(made)
    return at


def _events(rows: AnyArray, files: list[File]) -> pl.DataFrame:
    """Return rows as events (EVENT_SCHEMA)."""
    offset = pl.Series(rows["offset"])
    file = rows["file"]
    identities = np.array([each.identity for each in files], np.uint64)
    columns = {
        "time": rows["time"],
        "op": OPERATIONS.gather(rows["operation"]),
        "file": identities[file],
        "offset": offset.set(offset == _NONE, None),
        "size": rows["size"],
        "pid": rows["pid"],
        "group": rows["group"],
        "duration": pl.Series([None], dtype=pl.Float64()).new_from_index(0, len(rows)),
        "path": pl.Series([each.path for each in files], dtype=pl.String()).gather(file),
        "flags": MODES.gather(rows["mode"]),
    }
    return pl.DataFrame(columns, schema=EVENT_SCHEMA)
