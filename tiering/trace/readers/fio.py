"""fio's I/O logs, versions 2 and 3 (fio(1), "Trace file format")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tiering.trace.events import OPS
from tiering.trace.readers.base import Damage, Reader, shows
from tiering.trace.readers.opening import open_trace
from tiering.trace.readers.tables import Layout, Shape, read_table

_MARKS = {b"fio version 2 iolog": 2, b"fio version 3 iolog": 3}
_OPS = {
    "open": "open",
    "close": "close",
    "read": "read",
    "write": "write",
    "sync": "sync",
    "datasync": "sync",
}
#: Actions that are no events: a file's name is announced, time passes, space is released.
_OTHERS = ("add", "wait", "trim")

_ACTION = pl.col("action")
_MOVES = _ACTION.is_in(["read", "write"])
_COMMON = {
    "op": _ACTION.replace_strict(_OPS, default=None, return_dtype=pl.Enum(OPS)),
    "file": pl.col("name").hash(),
    "offset": pl.when(_MOVES).then("offset"),
    "size": pl.when(_MOVES).then("size").otherwise(0),
    "path": pl.col("name"),
    "flags": pl.when(_ACTION == "open").then(pl.lit("rw")),
}
_COLUMNS = {"name": pl.String(), "action": pl.String(), "offset": pl.Int64(), "size": pl.Int64()}


def sniff(head: bytes) -> bool:
    """Return whether the text is an I/O log of fio, by its first line."""
    return head.split(b"\n", 1)[0].strip() in _MARKS


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn an I/O log into batches of events. Version 2 has no times: seconds are the sum of its waits.

    Raises TraceError for a line that fio does not write, or counts and skips it if damage.lenient.
    """
    return read_table(path, damage, _V3) if _version(path) == 3 else read_table(path, damage, _V2)


def _version(path: Path) -> int:
    with open_trace(path) as file:
        return _MARKS[file.readline().strip()]


_SHOWS = shows("operations sizes offsets names opens closes", partly="times")


def _layout(version: int, columns: dict[str, pl.DataType], time: pl.Expr, elapsed: pl.Expr | None = None) -> Layout:
    return Layout(
        f"fio {version}",
        "fio's I/O log",
        "file",
        sniff,
        Shape(" ", columns, lambda line: line.strip().encode("latin-1") in _MARKS),
        {"time": time, **_COMMON},
        _SHOWS,
        other=_ACTION.is_in(_OTHERS),
        elapsed=elapsed,
    )


_V2 = _layout(2, _COLUMNS, pl.col("time"), pl.when(_ACTION == "wait").then("offset").otherwise(0) / 1e6)
_V3 = _layout(3, {"at": pl.Int64(), **_COLUMNS}, pl.col("at") / 1e6)

READER = Reader("fio", "fio's I/O log", "file", sniff, read, _SHOWS)
