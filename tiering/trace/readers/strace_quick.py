"""The fast path of the strace reader: process the common calls of a whole block of lines at once.

Polars splits the lines into columns and joins the halves of interrupted calls. Only the state that depends on earlier
calls (processes, descriptors, positions) is updated call by call. Unusual lines go to strace.py's pattern, which costs
ten times as much. For valid lines, both give the same events.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import polars as pl

from tiering.trace.readers.base import Damage
from tiering.trace.readers.processes import OpenFile, Process
from tiering.trace.readers.strace_calls import CALLS
from tiering.trace.readers.strace_lines import UNFINISHED
from tiering.trace.readers.strace_state import FORKS, Calls, advance

#: Thread, time, and the resumed call, or a call and its first argument if that is a descriptor with its path. No part
#: may be optional: that would double the time of the pattern.
_HEAD = (
    r"^(?P<thread>[0-9]{1,9}) +(?P<when>[0-9]{1,12}\.[0-9]{1,9}) +"
    r'(?:<\.\.\. (?P<more>[a-z0-9_]+) resumed>|(?P<name>[a-z0-9_]+)\((?:(?P<fd>[0-9]{1,9})<(?P<path>[^<>]*)>|[A-Z"]))'
)
#: A last argument that is a number, then the result and its path, or a failure, and the duration in s.
_TAIL = (
    r"(?:, (?P<last>[0-9]{1,18}))?\) += (?:(?P<result>[0-9]{1,15})(?:<(?P<made>[^<>]*)>)?|"
    r"(?P<failed>-1) E[A-Z0-9]+ \([^()]*\))(?: <(?P<took>[0-9]{1,12}\.[0-9]{1,9})>)?$"
)
#: The last of the arguments: an open's flags, or SEEK_END of a seek.
_FLAGS = (
    r'(?:[^\\]", |>, 0, )(O_[A-Z_|]+|SEEK_END)(?:, 0[0-7]*)?'
    r"(?: <unfinished \.\.\.>|\) += [0-9]+(?:<[^<>]*>)?(?: <[0-9.]+>)?)$"
)

_OPENINGS = ("openat", "close")
_AT_POSITION, _AT_OFFSET = ("read", "write", "close", "lseek"), {"pread64": "read", "pwrite64": "write"}
#: Calls whose failures have a meaning.
_NEVER_IN_VAIN = (*FORKS, "execve", "execveat")
#: What to do for a line instead of a call.
_NOTHING, _SHOW_UP, _THOROUGHLY = "nothing", "show up", "thoroughly"

_name, _result = pl.col("name"), pl.col("result").is_not_null()
_TELLING = pl.when(_name.is_in(["openat", "lseek"])).then("start")
_at = pl.col("fd").is_not_null() & _result & pl.col("made").is_null()
_TO_DO = (
    pl.when(pl.col("begun")).then(pl.lit(_THOROUGHLY))
    .when(_name.is_in(_AT_POSITION) & _at).then(_name)
    .when(_name.is_in(list(_AT_OFFSET)) & _at & pl.col("last").is_not_null()).then(_name)
    .when((_name == "openat") & pl.col("made").is_not_null() & pl.col("flags").is_not_null()).then(_name)
    .when(pl.col("failed").is_not_null() & ~_name.is_in(_NEVER_IN_VAIN)).then(pl.lit(_NOTHING))
    .when(_result & ~_name.is_in(list(CALLS))).then(pl.lit(_NOTHING))
    .otherwise(pl.lit(_THOROUGHLY))
    .alias("do")
)  # fmt: skip
_integer, _seconds = pl.Int64(), pl.Float64()
_COLUMNS = (
    pl.col("row"), pl.col("do"), pl.col("thread").cast(_integer), pl.col("when").cast(_seconds),
    pl.col("fd").cast(_integer), pl.coalesce("made", "path").alias("path"), pl.col("last").cast(_integer),
    pl.col("result").cast(_integer), pl.col("flags"), pl.col("took").cast(_seconds),
)  # fmt: skip


def take(calls: Calls, lines: list[str], first: int, damage: Damage, thoroughly: Callable[[str, int], None]) -> None:
    """Process a block of lines. first: the number of its first line, counted from 1.

    thoroughly: processes an unusual line, passed with its number.
    """
    tree, cells, known, members = calls.tree, calls.cells, calls.files.written, calls.tree.members
    cut = _cut(lines).filter((pl.col("do") != _SHOW_UP) | ~pl.col("thread").is_in(list(members)))
    columns = cut.to_dict(as_series=False).values()
    for row, do, thread, when, fd, path, last, result, flags, took in zip(*columns, strict=True):
        if do == _THOROUGHLY:
            thoroughly(lines[row], first + row)
            continue
        process = members.get(thread) or tree.process(thread)
        if do == _SHOW_UP:
            continue
        if do in _OPENINGS:
            if do == "openat":
                _open(calls, process, when, path, result, flags, took)
            else:
                _close(calls, process, when, path, fd, took)
            continue
        opened = process.descriptors.get(fd)
        if opened is None or opened.file is not known.get(path):
            opened = tree.descriptor(process, fd, path)
        file = opened.file
        if do == "lseek":
            opened.offset = result
            if flags is not None:
                file.size = result
            continue
        op, explicit = (do, None) if do in _AT_POSITION else (_AT_OFFSET[do], last)
        try:
            offset = advance(opened, op, result, explicit)
        except ValueError as error:
            damage.at(first + row, f"arguments that make no sense ({error})")
            continue
        cells += (when, op, file.identity, offset, result, process.pid, process.group, took, file.path, None)


def _open(calls: Calls, process: Process, when: float, path: str, fd: int, flags: str, took: float | None) -> None:
    """Record that a file is open."""
    file = calls.files.annotated(path)
    empty, append, mode = _opening(flags)
    if empty:
        file.size = 0
    process.descriptors[fd] = OpenFile(file, 0, append)
    if mode is not None:
        calls.cells += (when, "open", file.identity, None, 0, process.pid, process.group, took, file.path, mode)


def _cut(lines: list[str]) -> pl.DataFrame:
    """Split lines into columns, in order, without the lines that mean nothing.

    row; do: the call, or what to do instead; thread; when; fd; path: of fd, or of the opened file; last: the offset of
    a call with an explicit one; result; flags: of an open, or SEEK_END; took: s.
    """
    text = pl.Series("text", lines, dtype=pl.String)
    heads = text.str.extract_groups(_HEAD).struct.unnest().with_columns(begun=text.str.ends_with(UNFINISHED))
    heads = heads.with_row_index("row")
    halves = heads.filter(pl.col("begun") | pl.col("more").is_not_null()).with_columns(
        pl.col("row", "begun", "name").shift().over("thread").name.prefix("last_")
    )
    joined = halves.filter(~pl.col("begun") & pl.col("last_begun") & (pl.col("last_name") == pl.col("more")))
    # The second half represents the call, so its beginning moves there.
    begins = heads["row"].scatter(joined["row"], joined["last_row"])
    cut = (
        pl.concat(
            [
                heads.select("row", "begun"),
                heads[begins].select("thread", "when", "name", "fd", "path").with_columns(start=text[begins]),
                text.str.extract_groups(_TAIL).struct.unnest(),
            ],
            how="horizontal",
        )
        .with_columns(_TELLING.str.extract(_FLAGS).alias("flags"))
        .with_columns(_TO_DO)
    )
    taken = joined.filter((cut["do"] != _THOROUGHLY)[joined["row"]])
    todo = cut["do"].scatter(taken["last_row"], _SHOW_UP)
    return cut.with_columns(todo).filter(pl.col("do") != _NOTHING).select(_COLUMNS)


def _close(calls: Calls, process: Process, when: float, path: str, fd: int, took: float | None) -> None:
    """Record that a file is closed."""
    file = calls.tree.closed(process, fd, path)
    calls.cells += (when, "close", file.identity, None, 0, process.pid, process.group, took, file.path, None)


@lru_cache(maxsize=1024)
def _opening(flags: str) -> tuple[bool, bool, str | None]:
    """Return from an open's flags whether the file is empty now, whether writes append, and the event's flags."""
    mode = "w" if "O_WRONLY" in flags else "rw" if "O_RDWR" in flags else "r"
    empty = "O_TRUNC" in flags or "O_EXCL" in flags
    return empty, "O_APPEND" in flags, None if "O_DIRECTORY" in flags or "O_PATH" in flags else mode
