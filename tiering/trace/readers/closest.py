"""Explain why no reader takes a file: the closest format, and how a table could be read."""

from __future__ import annotations

from collections.abc import Iterable

from tiering.trace.readers import headed
from tiering.trace.readers.base import Reader
from tiering.trace.readers.tables import first_lines

RECORD = "Record one with: tiering trace -o job.parquet -- COMMAND"
COLUMNS = (
    "If it is a table with one request a line, name its columns with `columns`, or number them from 0: "
    "'time=COLUMN,op=COLUMN:R/W,offset=COLUMN,size=COLUMN,file=COLUMN'."
)
#: How many lines are inspected. The rest of a file is similar.
_LINES = 200
#: Formats that are recognised by words at their beginning.
_ANNOUNCED = {
    "fio": b"iolog",
    "dftracer": b'"cat"',
    "cloudtrail": b'"eventName"',
    "minio-audit": b'"deploymentid"',
    "minio-trace": b'"callStats"',
    "gcs-log": b"time_micros",
    "procmon": b"Time of Day",
}


def closest(head: bytes, readers: Iterable[Reader]) -> str:
    """Name the format that the first bytes of a file come closest to, and how they differ; "" if none is close."""
    lines = first_lines(head, _LINES)
    if b"\0" in head or not lines:
        return ""
    matched = {reader: [bool(reader.line(line)) for line in lines] for reader in readers if reader.line is not None}
    best = max(matched, key=lambda reader: sum(matched[reader]), default=None)
    if best is not None and any(matched[best]):
        own, near = sum(matched[best]), f"It is closest to {best.name}, {best.describes}"
        other = next((line for line, matches in zip(lines, matched[best], strict=True) if not matches), None)
        if other is None:
            return f"{near}, but it has too few lines to be sure, or lines of several kinds."
        return f"{near}: {own} of its first {len(lines)} lines are such lines, but this one is not: {_shown(other)}."
    for reader in readers:
        word = _ANNOUNCED.get(reader.name)
        if word is not None and word in head:
            return f"It is closest to {reader.name}, {reader.describes}, but does not begin as such a file does."
    return headed.lacks(head)


def advice(head: bytes) -> str:
    """Return advice for a file that no reader takes."""
    lines = first_lines(head)
    tables = any(sum(mark in line for line in lines) * 2 >= max(1, len(lines)) for mark in (",", ";", "\t"))
    return f"{COLUMNS} Or record a trace with: {RECORD.partition(': ')[2]}" if tables and b"\0" not in head else RECORD


def describe(head: bytes) -> str:
    """Say what the first bytes of a file are."""
    if b"\0" in head:
        return "binary data"
    line = head.lstrip().split(b"\n", 1)[0][:60].decode("latin-1")
    return f"text that begins with {line!r}"


def _shown(line: str) -> str:
    return repr(line if len(line) <= 60 else f"{line[:57]}...")
