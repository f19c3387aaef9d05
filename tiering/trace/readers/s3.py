"""What object stores log: S3 server access logs, and data events of AWS CloudTrail.

Formats: Amazon S3 user guide, "Amazon S3 server access log format" and "CloudTrail log file examples for Amazon S3".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import polars as pl

from tiering.errors import from_os_error
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.readers.base import BROKEN, Damage, Reader, byte_blocks, open_trace, spoken
from tiering.trace.readers.tables import like

_LINE = (
    r"^(?P<owner>\S+) (?P<bucket>\S+) \[(?P<time>[^\]]+)\] (?P<client>\S+) (?P<requester>\S+) \S+ (?P<operation>\S+) "
    r'(?P<key>\S+) (?:"[^"]*"|-) (?P<status>\d{3}|-) \S+ (?P<sent>\d+|-) (?P<size>\d+|-) (?P<took>\d+|-)'
)
_TEXT = re.compile(_LINE)
_BLOCK = 1 << 22
#: B; CloudTrail's own files stay under some MB, and a document needs several times its length in memory.
_LARGEST = 1 << 27


def sniff_log(head: bytes) -> bool:
    """Tell whether text is an S3 server access log: its first lines all are lines of one."""
    return like(_TEXT.match, head)


def read_log(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn an access log into batches of events: GETs are reads, PUTs and uploaded parts are writes.

    The log does not tell ranges: what was sent is taken to begin at byte 0. Raises TraceError for a line that is none
    of such a log (damage.lenient: it is counted and left out).
    """
    for number, block in byte_blocks(path, damage, _BLOCK):
        lines = pl.Series("line", block.decode("utf-8", "replace").split("\n"))
        table = lines.str.extract_groups(_LINE).struct.unnest()
        bad = table["time"].is_null() & (lines.str.strip_chars().str.len_bytes() > 0)
        for row in bad.arg_true().to_list():
            damage.at(number + row, repr(lines[row][:80]), expected="a line of an S3 server access log")
        fine = pl.col("status").str.starts_with("2")
        operation = pl.col("operation")
        op = (
            pl.when(operation == "REST.GET.OBJECT")
            .then(pl.lit("read"))
            .when(operation.is_in(["REST.PUT.OBJECT", "REST.PUT.PART", "REST.POST.UPLOAD"]))
            .then(pl.lit("write"))
            .when(operation == "REST.HEAD.OBJECT")
            .then(pl.lit("stat"))
            .when(operation.is_in(["REST.DELETE.OBJECT"]))
            .then(pl.lit("unlink"))
        )
        numbers = {name: pl.col(name).cast(pl.Int64, strict=False).fill_null(0) for name in ("sent", "size", "took")}
        rows = table.with_columns(op=op, **numbers).filter(fine, pl.col("op").is_not_null())
        moved = pl.when(pl.col("op") == "read").then("sent").when(pl.col("op") == "write").then("size").otherwise(0)
        yield _frame(
            rows.select(
                time=pl.col("time").str.to_datetime("%d/%b/%Y:%H:%M:%S %z", strict=False).dt.epoch("ms") / 1e3,
                op="op",
                path=pl.format("s3://{}/{}", "bucket", "key"),
                size=moved,
                duration=pl.col("took") / 1e3,
                client="client",
            )
        )


def sniff_trail(head: bytes) -> bool:
    """Tell whether text is a log of CloudTrail: an object with "Records", whose records have an event's name."""
    start = head[:4096].lstrip()
    return start.startswith(b"{") and b'"Records"' in start[:200] and b'"eventName"' in head


def read_trail(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn a log of CloudTrail into one batch of events; its files are small, and read whole.

    Raises TraceError where the document or a record of it makes no sense.
    """
    try:
        with open_trace(path) as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            damage.at(1, f"more than {_LARGEST:,} bytes", expected="a log of CloudTrail's size", unit="record")
            return
        records = json.loads(text)["Records"]
    except BROKEN as error:
        damage.at(1, f"broken compressed data ({error})", unit="record")
        return
    except OSError as error:
        raise from_os_error(error) from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        damage.at(1, f"no whole JSON document ({error})", expected='an object with "Records"', unit="record")
        return
    rows = []
    for number, record in enumerate(records if isinstance(records, list) else [], 1):
        try:
            rows += _row(record)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            damage.at(number, f"{type(error).__name__}: {error}", expected="a data event of S3", unit="record")
    schema = {"time": pl.Float64, "op": pl.String, "path": pl.String, "size": pl.Int64, "client": pl.String}
    yield _frame(pl.DataFrame(rows, schema=schema, orient="row").with_columns(duration=pl.lit(None)))


_EVENTS = {
    "GetObject": ("read", "bytesTransferredOut"),
    "PutObject": ("write", "bytesTransferredIn"),
    "UploadPart": ("write", "bytesTransferredIn"),
    "HeadObject": ("stat", ""),
    "DeleteObject": ("unlink", ""),
}


def _row(record: dict[str, Any]) -> list[tuple[float, str, str, int, str]]:
    known = _EVENTS.get(record["eventName"])
    if known is None or record.get("errorCode"):
        return []
    op, bytes_of = known
    asked = record["requestParameters"]
    size = int((record.get("additionalEventData") or {}).get(bytes_of, 0))
    if not 0 <= size < 1 << 62:
        raise ValueError(f"{size} bytes")
    when = datetime.fromisoformat(record["eventTime"]).timestamp()
    path = spoken(f"s3://{asked['bucketName']}/{unquote_plus(asked['key'])}")
    return [(when, op, path, size, spoken(str(record.get("sourceIPAddress", ""))))]


def _frame(table: pl.DataFrame) -> pl.DataFrame:
    client = pl.col("client").hash() % (1 << 31)
    moves = pl.col("op").is_in(["read", "write"])
    return (
        table.filter(pl.col("time").is_not_null())
        .select(
            time="time",
            op="op",
            file=pl.col("path").hash(),
            offset=pl.when(moves).then(0),
            size="size",
            pid=client,
            group=pl.lit(0),
            duration="duration",
            path="path",
            flags=pl.lit(None),
        )
        .cast(EVENT_SCHEMA)
        .sort("time", maintain_order=True)
    )


LOG = Reader("s3-log", "an S3 server access log", "object", sniff_log, read_log)
TRAIL = Reader("cloudtrail", "a CloudTrail log", "object", sniff_trail, read_trail)
