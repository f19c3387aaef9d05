"""Tables with a header: columns are recognised by their names, or by a mapping from the user.

CSV files of libCacheSim are such tables, and so are exports of databases. Fields are separated by commas, semicolons or
tabs, and may be quoted. In a table without a column for the operation, events are "access".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl

from tiering.errors import UsageError
from tiering.trace.events import OPS
from tiering.trace.readers.base import Damage, Reader, shows
from tiering.trace.readers.opening import open_trace
from tiering.trace.readers.tables import (
    SECTOR,
    Layout,
    Shape,
    fields_of,
    first_lines,
    header_of,
    operation,
    own_names,
    read_table,
)
from tiering.trace.readers.times import instant

#: Recognised names of columns, and the factor to s or B that a name implies.
_NAMES: dict[str, dict[str, float]] = {
    "time": {
        "time": 1,
        "timestamp": 1,
        "time_s": 1,
        "ts": 1,
        "arrival_time": 1,
        "clock_time": 1,
        "time_ms": 1e-3,
        "timestamp_ms": 1e-3,
        "time_us": 1e-6,
        "timestamp_us": 1e-6,
        "ts_us": 1e-6,
        "time_micros": 1e-6,
        "time_ns": 1e-9,
        "timestamp_ns": 1e-9,
    },
    "op": dict.fromkeys(("op", "operation", "type", "rw", "opcode", "io_type", "iotype", "action", "rwbs"), 1),
    "offset": {
        **dict.fromkeys(("offset", "byte_offset", "offset_bytes"), 1),
        **dict.fromkeys(("lba", "sector", "lbn", "block", "blkno"), SECTOR),
    },
    "size": {
        **dict.fromkeys(("size", "length", "bytes", "len", "obj_size", "object_size", "nbytes", "io_size"), 1),
        "size_bytes": 1,
        "sectors": SECTOR,
        "nr_sectors": SECTOR,
    },
    "file": {
        **dict.fromkeys(
            ("file", "path", "filename", "file_name", "obj_id", "object", "obj", "key", "id", "object_id"), 1
        ),
        **dict.fromkeys(("device_id", "device", "volume", "volume_id", "volumeid", "disk", "disk_id", "dev", "lun"), 1),
    },
    "pid": dict.fromkeys(("pid", "process", "process_id"), 1),
    "duration": {"duration": 1, "latency": 1, "response_time": 1, "duration_us": 1e-6, "latency_us": 1e-6},
}
#: Words, and SCSI's codes of 6, 10, 12 and 16 bytes (SBC-3, table 33), as in libCacheSim's tables.
_READS = ("r", "read", "rs", "ra", "get", "08", "28", "a8", "88")
_WRITES = ("w", "write", "ws", "wa", "put", "wm", "0a", "2a", "aa", "8a")
#: Operations that move no data.
_OTHERS = (
    "head",
    "list",
    "delete",
    "del",
    "open",
    "close",
    "stat",
    "trim",
    "discard",
    "d",
    "flush",
    "f",
    "sync",
    "fsync",
)
_SPECIFIED = re.compile(
    r"(?P<field>\w+)=(?P<column>[^*:]+)(?:\*(?P<factor>[0-9.eE+-]+))?(?::(?P<read>\w+)/(?P<write>\w+))?$"
)
_SHOWS = shows("sizes", partly="times durations operations offsets names processes")
_ASIDE = "{} lines are of operations that are neither reads nor writes: they were left out."
_NUMBER = re.compile(r"\s*-?[\d.]+(?:[eE][+-]?\d+)?\s*$")


def parse_mapping(text: str) -> dict[str, str]:
    """Split "time=ts*1e-6,op=kind:0/1,offset=lba*512,size=len,file=disk" into fields. Raises UsageError."""
    parts = dict(part.strip().partition("=")[::2] for part in text.split(",") if part.strip())
    for name, column in parts.items():
        if name not in _NAMES or not _SPECIFIED.match(f"{name}={column}"):
            raise UsageError(
                "columns",
                rule=f"must be FIELD=COLUMN[*FACTOR], FIELD one of {', '.join(_NAMES)}, COLUMN a name or a "
                "number from 0",
                found=f"{name}={column}",
                action="For example: 'time=ts*1e-6,op=kind:R/W,offset=lba*512,size=len'.",
            )
    if not {"time", "size"} <= parts.keys():
        raise UsageError(
            "columns", expected="at least time and size", found=", ".join(parts) or "nothing", action="Name both."
        )
    return parts


def sniff(head: bytes) -> bool:
    """Return whether the first line names at least a time, a size, and a file or an offset."""
    return _known(header_of(head)[1]) is not None


def lacks(head: bytes) -> str:
    """Describe what a table lacks to be read without `columns`; "" if its first line has no known name."""
    _, header = header_of(head)
    found = _found(header)
    if not found or len(header) < 2 or not _is_text(header):
        return ""
    needed = [name for name in ("time", "size") if name not in found]
    if not found.keys() & {"file", "offset"}:
        needed.append("file or offset")
    named = ", ".join(f"{field} ({column.partition('*')[0]})" for field, column in found.items())
    return f"It is closest to csv, a table with a header, which names {named}, but no {', no '.join(needed)}."


def read(path: Path, damage: Damage, mapping: Mapping[str, str] | None = None) -> Iterator[pl.DataFrame]:
    """Turn a table into batches of events. mapping: from fields to columns, as from parse_mapping.

    Raises TraceError for a nonsensical line (or counts and skips it if damage.lenient) and for a column that occurs
    twice, and UsageError for a mapping to a missing column.
    """
    with open_trace(path) as file:
        head = file.read(1 << 16)
    yield from read_table(path, damage, _layout(path, head, mapping))


def _found(header: list[str]) -> dict[str, str]:
    found = {}
    for field, names in _NAMES.items():
        for column in header:
            if column in names:
                factor = names[column]
                found[field] = column if factor == 1 else f"{column}*{factor!r}"
                break
    return found


def _known(header: list[str]) -> dict[str, str] | None:
    found = _found(header)
    return found if {"time", "size"} <= found.keys() and found.keys() & {"file", "offset"} else None


def _layout(path: Path, head: bytes, mapping_of_columns: Mapping[str, str] | None) -> Layout:
    separator, header = header_of(head)
    mapping = mapping_of_columns or _known(header) or {}
    numbered = all(_column(each).isdigit() for each in mapping.values())
    named = [f"column {number}" for number in range(len(header))]
    if not numbered:
        named = own_names(path, header, map(_column, mapping.values()))
    columns: dict[str, pl.DataType] = {name: pl.String() for name in named}
    titled = not numbered or _is_text(header)
    row = _first_row(head, separator, header=titled)
    events: dict[str, pl.Expr] = {"op": pl.lit("access").cast(pl.Enum(OPS)), "offset": pl.lit(0)}
    other = None
    for field, specified in mapping.items():
        match = _SPECIFIED.match(f"{field}={specified}")
        column = f"column {_column(specified)}" if numbered else _column(specified)
        if match is None or column not in columns:
            raise UsageError(
                "columns",
                rule=f"must be a column of the table: {', '.join(header)}",
                found=specified,
                action="Name columns as the first line has them, or all by number, counted from 0.",
            )
        value = pl.col(column).str.strip_chars(' "')
        number = list(columns).index(column)
        if field == "op":
            events["op"], other = _operation(value, match["read"], match["write"])
        elif field == "file":
            events |= {"path": value, "file": value.hash()}
        elif field == "time" and number < len(row) and not _NUMBER.match(row[number]):
            events["time"] = instant(value)
        else:
            columns[column] = pl.Float64()
            scaled = pl.col(column) * float(match["factor"] or 1)
            events[field] = scaled if field in ("time", "duration") else scaled.round().cast(pl.Int64, strict=False)
    quoted = any('"' in line for line in first_lines(head, 100))
    shape = Shape(separator, columns, _title(header, separator) if titled else None, quoted)
    return Layout("csv", "a table with a header", "object", sniff, shape, events, _SHOWS, other=other, aside=_ASIDE)


def _title(header: list[str], separator: str) -> Callable[[str], bool]:
    """Return a function that recognises the header line."""
    return lambda line: [name.lower() for name in fields_of(line.lstrip("#"), separator)] == header


def _first_row(head: bytes, separator: str, *, header: bool) -> list[str]:
    lines = first_lines(head, 2)[1 if header else 0 :]
    return fields_of(lines[0], separator) if lines else []


def _column(specified: str) -> str:
    return re.split(r"[*:]", specified, maxsplit=1)[0].strip().lower()


def _is_text(header: list[str]) -> bool:
    return not any(re.fullmatch(r"-?[\d.]+", name) for name in header)


def _operation(value: pl.Expr, read: str | None, write: str | None) -> tuple[pl.Expr, pl.Expr]:
    """Translate operations, and mark the lines with other operations."""
    if read is not None and write is not None:
        return operation(value, read, write), value.is_not_null() & (value != "") & ~value.is_in([read, write])
    codes = dict.fromkeys(_READS, "read") | dict.fromkeys(_WRITES, "write")
    word = value.str.to_lowercase()
    return word.replace_strict(codes, default=None, return_dtype=pl.Enum(OPS)), word.is_in(_OTHERS)


def sniff_blocks(head: bytes) -> bool:
    """Return whether it is a table whose offsets are sectors: requests to a block device."""
    _, header = header_of(head)
    return sniff(head) and any(name in header for name, factor in _NAMES["offset"].items() if factor == SECTOR)


READER = Reader("csv", "a table with a header", "object", sniff, read, _SHOWS)
BLOCKS = Reader("block-csv", "a table of requests to a block device", "block", sniff_blocks, read, _SHOWS)
