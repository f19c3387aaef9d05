"""CSV from Process Monitor (Sysinternals, Windows): one operation of a process per line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tiering.trace.readers.base import Damage, Reader, shows
from tiering.trace.readers.opening import open_trace
from tiering.trace.readers.tables import Shape, as_events, blocks, header_of, in_order, own_names, report
from tiering.trace.readers.times import DayClock
from tiering.units import format_bytes

_NEEDED = {"time of day", "operation", "path", "result", "detail"}
_USED = ("time of day", "pid", "operation", "path", "result", "detail", "duration")
_OPS = {
    "ReadFile": "read",
    "WriteFile": "write",
    "CreateFile": "open",
    "CloseFile": "close",
    "FlushBuffersFile": "sync",
    "QueryOpen": "stat",
    "SetEndOfFileInformationFile": "truncate",
    "SetDispositionInformationFile": "unlink",
    "SetDispositionInformationEx": "unlink",
    "SetRenameInformationFile": "rename",
}
#: "10:29:05.0593693 AM", or in 24 hours if Windows is set to them.
_TIME = r"^(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d(?:[.,]\d+)?)(?: ?(?P<half>[AP]M))?$"
_MOVED = r"Offset: (?P<offset>-?[\d.,\s]+), Length: (?P<size>[\d.,\s]+?)(?:, |$)"
_ACCESS = r"Desired Access: (?P<access>.*?)(?:, Disposition|$)"


def sniff(head: bytes) -> bool:
    """Return whether the text is Process Monitor's: its header names the time of day, the operation and its details."""
    return set(header_of(head)[1]) >= _NEEDED


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn a table of operations into batches of events, without failed ones and those on the registry and networks.

    Paging I/O is what the cache and mappings read on behalf of others. It is left out, and a note gives its amount.
    Raises TraceError for a nonsensical line, or counts and skips it if damage.lenient.
    """
    with open_trace(path) as file:
        separator, first = header_of(file.read(1 << 16))
    header = own_names(path, first, _USED)
    shape = Shape(
        separator, {name: pl.String() for name in header}, lambda line: sniff(line.encode("latin-1")), quoted=True
    )
    clock, paged = DayClock(), 0
    for block in blocks(path, damage, shape):
        table = _with_details(
            block.table.with_columns(pl.lit(None, pl.String).alias(each) for each in _USED if each not in header)
        )
        bad = table["bad"]
        if bad.any():
            report(bad, block, damage, "Process Monitor's CSV", shape.header)
        table = table.with_columns(time=pl.Series(clock.since_first_midnight(table["of_day"].to_numpy())))
        kept = table.filter(~bad, pl.col("op").is_not_null(), pl.col("result") == "SUCCESS")
        paging = pl.col("detail").str.contains("Paging I/O", literal=True).fill_null(value=False)
        paged += int(kept.filter(paging)["size"].sum())
        yield _events(kept.filter(~paging))
    if paged:
        damage.notes.append(
            f"Paging I/O was left out ({format_bytes(paged)}): it serves calls that are counted, or mappings of files."
        )


def _with_details(table: pl.DataFrame) -> pl.DataFrame:
    time = pl.col("time of day").str.extract_groups(_TIME).struct
    moved = pl.col("detail").str.extract_groups(_MOVED).struct
    number = {
        name: moved.field(name).str.replace_all(r"[.,\s]", "").cast(pl.Int64, strict=False)
        for name in ("offset", "size")
    }
    hour, half = time.field("hour").cast(pl.Float64, strict=False), time.field("half")
    hour = pl.when(half == "AM").then(hour % 12).when(half == "PM").then(hour % 12 + 12).otherwise(hour)
    minute, second = (
        time.field(name).str.replace(",", ".").cast(pl.Float64, strict=False) for name in ("minute", "second")
    )
    table = table.with_columns(
        op=pl.col("operation").replace_strict(_OPS, default=None, return_dtype=pl.String),
        of_day=hour * 3600 + minute * 60 + second,
        access=pl.col("detail").str.extract_groups(_ACCESS).struct.field("access"),
        **number,
    )
    moves = pl.col("op").is_in(["read", "write"]).fill_null(value=False) & (pl.col("result") == "SUCCESS")
    wrong = pl.any_horizontal(pl.col("of_day", "operation", "result").is_null()) | (moves & pl.col("size").is_null())
    return table.with_columns(bad=wrong.fill_null(value=True))


def _events(table: pl.DataFrame) -> pl.DataFrame:
    moves = pl.col("op").is_in(["read", "write"])
    reads, writes = (
        pl.col("access").str.contains(word).fill_null(value=False) for word in ("Read|Execute", "Write|All")
    )
    events = as_events(
        table,
        {
            "time": pl.col("time"),
            "op": pl.col("op"),
            "file": pl.col("path").hash(),
            # Windows uses negative offsets for "at the end" and "at the current position".
            "offset": pl.when(moves & (pl.col("offset") >= 0)).then("offset"),
            "size": pl.when(moves).then("size").otherwise(0),
            "pid": pl.col("pid").cast(pl.Int32, strict=False),
            "duration": pl.col("duration").cast(pl.Float64, strict=False),
            "path": pl.col("path"),
            "flags": pl.when(pl.col("op") == "open").then(
                pl.when(reads & writes).then(pl.lit("rw")).when(writes).then(pl.lit("w")).otherwise(pl.lit("r"))
            ),
        },
    )
    return in_order(events)


READER = Reader(
    "procmon",
    "Process Monitor's CSV",
    "file",
    sniff,
    read,
    shows("times operations sizes offsets names processes opens closes", partly="durations"),
)
