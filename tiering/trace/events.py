"""The one event schema that every trace reader writes and every analysis reads."""

from __future__ import annotations

import polars as pl

#: What an event did. Readers fold the system calls of a kind into one: pread64 and readv are "read".
OPS = (
    "open",
    "close",
    "read",
    "write",
    "mmap",
    "stat",
    "sync",
    "unlink",
    "rename",
    "truncate",
    "exec",
    "fork",
    "access",
)

#: Where in the stack the trace was taken; a block trace lies under the page cache.
LEVELS = ("application", "file", "object", "block")

#: The flag of a read whose bytes may lie anywhere in their file.
UNPLACED = "unplaced"

#: One row an event, in order of time.
#:   time      s, since the epoch or since the first event
#:   op        one of OPS; "access" where the trace does not tell reads from writes
#:   file      identity of the file within the trace: equal numbers, equal file (a hash of the path is fine)
#:   offset    B, where the bytes begin; null where it is not known
#:   size      B moved (read, write) or mapped (mmap); 0 for the others
#:   pid       process (not thread) that asked
#:   group     process group of one job: children share it with the ancestor that the trace began with
#:   duration  s spent in the call; null where it is not known
#:   path      as the trace shows it; null where there is none
#:   flags     for open: "r", "w" or "rw"; for mmap: "r" or "rw"; for rename: "w" for the name that a file gets, whose
#:             own file is gone; UNPLACED for a read of bytes of which the trace does not tell where they lie: its
#:             offset is null, or one at which the fewest bytes would be read again
EVENT_SCHEMA = pl.Schema(
    {
        "time": pl.Float64(),
        "op": pl.Enum(OPS),
        "file": pl.UInt64(),
        "offset": pl.Int64(),
        "size": pl.Int64(),
        "pid": pl.Int32(),
        "group": pl.Int32(),
        "duration": pl.Float64(),
        "path": pl.String(),
        "flags": pl.String(),
    }
)
