"""Requests to block devices, as printed by biosnoop: the tool of bcc, in Python and with libbpf.

Sources: iovisor/bcc, tools/biosnoop_example.txt and libbpf-tools/biosnoop.c. bpftrace's biosnoop.bt prints neither
sizes nor sectors, so it is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tiering.errors import TraceError
from tiering.trace.readers.base import Damage, Reader, byte_blocks, shows
from tiering.trace.readers.tables import SECTOR, as_events, first_lines, in_order, matched

_HEADER = r"^TIME\(s\) +COMM +PID +DISK +T +SECTOR +BYTES\b"
_SIZELESS = re.compile(r"TIME\(ms\) +(?:DISK.*)?COMM +PID +LAT\(ms\)")
#: A command's name may contain spaces. The field before the latency is the time in a queue, or a pattern.
_LINE = (
    r"^(?P<time>\d+\.\d+) +(?P<comm>.{1,16}?) +(?P<pid>-?\d{1,9}) +(?P<disk>[^ ]+)? +(?P<kind>[A-Z-]+)"
    r" +(?P<sector>-?\d{1,18}) +(?P<size>\d{1,18}) +(?:[^ ]+ +)*?(?P<took>\d+\.\d+)\s*$"
)
_TEXT, _TITLE = re.compile(_LINE), re.compile(_HEADER)
_BLOCK = 1 << 22
_SECTORS = 1 << 52


def sniff(head: bytes) -> bool:
    """Return whether the text is biosnoop's, with its header or without, or that of bpftrace's script."""
    lines = first_lines(head)
    return any(_TITLE.match(line) or _SIZELESS.match(line) for line in lines[:3]) or (
        len(lines) > 1 and all(map(_TEXT.match, lines))
    )


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn biosnoop's lines into batches of events. Its times are those of completion, so the latency is subtracted.

    Raises TraceError for a line that biosnoop does not write (or counts and skips it if damage.lenient), and for the
    output of bpftrace's script of that name.
    """
    for number, block in byte_blocks(path, damage, _BLOCK):
        if number == 1 and any(map(_SIZELESS.match, first_lines(block)[:3])):
            raise TraceError(
                str(path),
                expected="the size and the sector of each request",
                found="output of bpftrace's biosnoop.bt, which has neither",
                action="Record with bcc's biosnoop (biosnoop-bpfcc), or with blktrace.",
            )
        table = matched(number, block, _LINE, rf"{_HEADER}|^\s*$|^Tracing ", damage, "biosnoop's")
        damage.met(table["comm"].unique())
        kind = pl.col("kind")
        op = (
            pl.when(kind.str.contains("[DN]"))
            .then(None)
            .when(kind.str.contains("R", literal=True))
            .then(pl.lit("read"))
        )
        op = op.when(kind.str.contains("W", literal=True)).then(pl.lit("write"))
        number_of = {name: pl.col(name).cast(pl.Int64, strict=False) for name in ("sector", "size", "pid")}
        took = pl.col("took").cast(pl.Float64, strict=False) / 1e3
        table = table.with_columns(op=op, took=took, at=pl.col("time").cast(pl.Float64, strict=False), **number_of)
        kept = table.filter(pl.col("op").is_not_null(), pl.col("size") > 0)
        disk = pl.col("disk").fill_null("?")
        yield in_order(
            as_events(
                kept,
                {
                    "time": pl.col("at") - pl.col("took"),
                    "op": pl.col("op"),
                    "file": disk.hash(),
                    # An impossible sector becomes an offset that `possible` reports.
                    "offset": pl.when(pl.col("sector") < _SECTORS).then(pl.col("sector") * SECTOR).otherwise(-1),
                    "size": pl.col("size"),
                    "pid": pl.col("pid").clip(0, (1 << 31) - 1),
                    "duration": pl.col("took"),
                    "path": pl.format("device {}", disk),
                },
            )
        )


READER = Reader(
    "biosnoop",
    "biosnoop's text (bcc)",
    "block",
    sniff,
    read,
    shows("times durations operations sizes offsets names processes"),
    _TEXT.match,
)
