"""The Linux kernel's block traces: blktrace's binary files and blkparse's text.

Format: blktrace_api.h of the kernel, blkparse(1). A request appears several times, once for each step. One of these
counts: queued (Q), issued (D) or completed (C), whichever is the first that the trace has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from tiering.errors import from_os_error
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.readers.base import Damage, Reader, byte_blocks, shows
from tiering.trace.readers.opening import BROKEN, open_trace
from tiering.trace.readers.tables import SECTOR, first_lines

_MAGIC, _VERSION = 0x65617400, 0x07
_RECORD = np.dtype(
    [
        ("magic", "<u4"),
        ("sequence", "<u4"),
        ("time", "<u8"),
        ("sector", "<u8"),
        ("bytes", "<u4"),
        ("action", "<u4"),
        ("pid", "<u4"),
        ("device", "<u4"),
        ("cpu", "<u4"),
        ("error", "<u2"),
        ("pdu", "<u2"),
    ]
)
#: Low half of an action: the step. Bits of the high half: the kind of request.
_HAPPENED = {1: "Q", 7: "D", 8: "C"}
_IS_WRITE, _IS_DISCARD = 1 << 17, 1 << 29
_IS_READ = 1 << 16
_PREFERENCE = ("Q", "D", "C")
_BLOCK = 1 << 20

_LINE = (
    r"^\s*(?P<major>\d+),(?P<minor>\d+)\s+\d+\s+\d+\s+(?P<time>\d+\.\d+)\s+(?P<pid>\d+)\s+(?P<action>m|[A-Z]+)"
    r"\s+(?P<rwbs>[A-Z]+)(?:\s+(?P<sector>\d+)\s+\+\s+(?P<sectors>\d+))?"
)
_TEXT = re.compile(_LINE)
#: What blkparse prints around the events: totals by processor, process and device, and the files it read.
_SUMMARY = (
    r"^\s*$|^(?:CPU\d+|Total|Throughput|Events|Skips|\S+) ?\(|^\s+[A-Z][A-Za-z ]+:|^(?:Throughput|Events|Skips)"
    r"|^Input file |^Trace started at |^=== |^\s*(?:CPU\s*\d+|Total):|^\*+$"
)
_REMARK = re.compile(_SUMMARY)


def sniff_text(head: bytes) -> bool:
    """Return whether the text is blkparse's: it begins with an event, perhaps after a remark."""
    events = (line for line in first_lines(head) if not _REMARK.match(line))
    return _TEXT.match(next(events, "")) is not None


def read_text(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn blkparse's text into batches of events. Raises TraceError for a line that blkparse does not write."""
    chosen = None
    for number, block in byte_blocks(path, damage, _BLOCK * 8):
        lines = pl.Series("line", block.decode("latin-1").split("\n"))
        table = lines.str.extract_groups(_LINE).struct.unnest()
        bad = table["time"].is_null() & ~lines.str.contains(_SUMMARY)
        for row in bad.arg_true().to_list():
            damage.at(number + row, repr(lines[row][:80]), expected="a line of blkparse's")
        actions = set(table["action"].unique().to_list())
        chosen = chosen or next((each for each in _PREFERENCE if each in actions), None)
        kept = table.filter(pl.col("action") == chosen, pl.col("sectors").is_not_null())
        kept = kept.filter(~pl.col("rwbs").str.contains("D", literal=True))
        rw = pl.col("rwbs")
        op = pl.when(rw.str.contains("R", literal=True)).then(pl.lit("read")).when(rw.str.contains("W", literal=True))
        yield _frame(
            kept.select(
                time=pl.col("time").cast(pl.Float64),
                op=op.then(pl.lit("write")),
                device=pl.format("{},{}", "major", "minor"),
                offset=pl.col("sector").cast(pl.Int64, strict=False) * SECTOR,
                size=pl.col("sectors").cast(pl.Int64, strict=False) * SECTOR,
                pid=pl.col("pid").cast(pl.Int32, strict=False).fill_null(0),
            )
        )


def sniff_binary(head: bytes) -> bool:
    """Return whether the bytes are blktrace's: records begin with a magic number and a version."""
    return len(head) >= _RECORD.itemsize and int.from_bytes(head[:4], "little") == _MAGIC | _VERSION


def read_binary(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn one processor's blktrace file into batches of events. Raises TraceError for an invalid record."""
    chosen, seen, rest = None, 0, b""
    try:
        with open_trace(path, damage.reached) as file:
            while fresh := file.read(_BLOCK):
                records, rest, sound = _records(rest + fresh)
                seen += len(records)
                happened = records["action"] & 0xFFFF
                present = {_HAPPENED.get(int(each)) for each in np.unique(happened)}
                chosen = chosen or next((each for each in _PREFERENCE if each in present), None)
                yield _binary_events(records, happened, chosen)
                if not sound:
                    damage.at(seen + 1, "another magic number", expected="a record of blktrace", unit="record")
                    return
    except BROKEN as error:
        damage.at(seen + 1, f"broken compressed data ({error})", unit="record")
    except OSError as error:
        raise from_os_error(error) from error
    if rest:
        damage.at(seen + 1, f"{len(rest)} bytes", expected="a whole record", unit="record")


def _records(data: bytes) -> tuple[np.ndarray[tuple[int], np.dtype[np.void]], bytes, bool]:
    """Split bytes into records, each followed by the bytes counted in its `pdu`. Return records, rest, and validity.

    Runs of records without such bytes are taken at once.
    """
    parts, at, size, sound = [], 0, _RECORD.itemsize, True
    while len(data) - at >= size:
        stretch = np.frombuffer(data, _RECORD, (len(data) - at) // size, at)
        wrong = stretch["magic"] != _MAGIC | _VERSION
        stops = np.flatnonzero(wrong | (stretch["pdu"] > 0))
        if not len(stops):
            parts.append(stretch)
            at += len(stretch) * size
            continue
        stop = int(stops[0])
        if wrong[stop]:
            parts.append(stretch[:stop])
            at, sound = len(data), False
            break
        after = at + (stop + 1) * size + int(stretch["pdu"][stop])
        if after > len(data):
            parts.append(stretch[:stop])
            at += stop * size
            break
        parts.append(stretch[: stop + 1])
        at = after
    return np.concatenate(parts) if parts else np.empty(0, _RECORD), data[at:], sound


def _binary_events(
    records: np.ndarray[tuple[int], np.dtype[np.void]], happened: np.ndarray, chosen: str | None
) -> pl.DataFrame:
    code = next((code for code, name in _HAPPENED.items() if name == chosen), 0)
    action = records["action"]
    mine = records[(happened == code) & (records["bytes"] > 0) & ((action & _IS_DISCARD) == 0)]
    kind = mine["action"]
    read, write = (kind & _IS_READ) > 0, (kind & _IS_WRITE) > 0
    return _frame(
        pl.DataFrame(
            {
                "time": mine["time"] / 1e9,
                "op": np.where(read, "read", np.where(write, "write", "")).astype(str),
                "device": [f"{device >> 20},{device & 0xFFFFF}" for device in mine["device"].tolist()],
                # An impossible sector becomes an offset that `possible` reports.
                "offset": np.where(mine["sector"] < 1 << 52, mine["sector"] * SECTOR, -1).astype(np.int64),
                "size": mine["bytes"].astype(np.int64),
                "pid": mine["pid"].astype(np.int32),
            },
            schema_overrides={"op": pl.String, "device": pl.String},
        ).filter(pl.col("op") != "")
    )


def _frame(table: pl.DataFrame) -> pl.DataFrame:
    events = table.filter(pl.col("op").is_not_null(), pl.col("size") > 0).select(
        time="time",
        op="op",
        file=pl.col("device").hash(),
        offset="offset",
        size="size",
        pid="pid",
        group=pl.lit(0),
        duration=pl.lit(None),
        path=pl.format("device {}", "device"),
        flags=pl.lit(None),
    )
    return events.cast(EVENT_SCHEMA).sort("time", maintain_order=True)


_SHOWS = shows("times operations sizes offsets names processes")

TEXT = Reader("blkparse", "blkparse's text", "block", sniff_text, read_text, _SHOWS, _TEXT.match)
BINARY = Reader("blktrace", "blktrace's binary file", "block", sniff_binary, read_binary, _SHOWS)
