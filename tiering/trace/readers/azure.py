"""Azure's logs of the blob service: Storage Analytics, versions 1.0 and 2.0, and resource logs in JSON.

Formats: Microsoft's REST reference, "Storage Analytics log format": fields in a fixed order, separated by semicolons;
"Azure Blob Storage monitoring data reference": what diagnostic settings write to storage, one object per line.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from tiering.trace.readers.base import Damage, Reader, shows, spoken
from tiering.trace.readers.documents import documents, read_requests
from tiering.trace.readers.objects import REQUESTS, Requests
from tiering.trace.readers.tables import Shape, blocks, like, report
from tiering.trace.readers.times import instant, instant_of

_LINE = re.compile(r"[12]\.0;\d{4}-\d\d-\d\dT[\d:.]+Z;\w+;\w*;\d*;\d*;")
_FIELDS = [
    "version",
    "time",
    "operation",
    "result",
    "status",
    "took",
    "server_took",
    "authentication",
    "requester",
    "owner",
    "service",
    "url",
    "key",
    "request",
    "count",
    "client",
    "api",
    "asked_header",
    "received",
    "given_header",
    "sent",
    "length",
]
_MOST_MOVED = 1 << 62
_NUMBERS = ("took", "received", "sent", "length")
_SHAPE = Shape(";", {name: pl.Int64() if name in _NUMBERS else pl.String() for name in _FIELDS}, quoted=True)
_OPS = {
    "GetBlob": "read",
    "ReadFile": "read",
    "PutBlob": "write",
    "PutBlock": "write",
    "PutPage": "write",
    "AppendBlock": "write",
    "AppendFile": "write",
    **dict.fromkeys(("PutBlockList", "CopyBlob", "CopyBlobDestination", "PutBlobFromURL"), "rename"),
    "GetBlobProperties": "stat",
    "GetBlobMetadata": "stat",
    "DeleteBlob": "unlink",
    "DeleteFile": "unlink",
}
#: They write a part of a blob, at a position that the logs do not contain.
_PARTS = ("PutBlock", "PutPage", "AppendBlock", "AppendFile")
_CATEGORIES = (b'"StorageRead"', b'"StorageWrite"', b'"StorageDelete"')


def sniff(head: bytes) -> bool:
    """Return whether the text is a Storage Analytics log: all of its first lines are entries of one."""
    return like(_LINE.match, head)


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn a log into batches of events: GetBlob is a read, PutBlob and the parts of a blob are writes.

    The log has no ranges: a response 206 is a part at an unknown position. Raises TraceError for a line that is not of
    such a log, or counts and skips it if damage.lenient.
    """
    requests = Requests()
    for block in blocks(path, damage, _SHAPE):
        table = block.table.with_columns(
            when=instant(pl.col("time")),
            op=pl.col("operation").replace_strict(_OPS, default=None, return_dtype=pl.String),
            moved=pl.when(pl.col("operation").is_in(["GetBlob", "ReadFile"]))
            .then("sent")
            .otherwise(pl.max_horizontal("length", "received")),
        )
        moves = pl.col("op").is_in(["read", "write"]).fill_null(value=False)
        wrong = pl.any_horizontal(pl.col("when", "operation", "key").is_null()) | (moves & pl.col("moved").is_null())
        bad = table.select(wrong).to_series()
        if bad.any():
            report(bad, block, damage, "a Storage Analytics log")
        yield requests.events(_requests(table.filter(~bad)))
    requests.note(damage)


def _requests(table: pl.DataFrame) -> pl.DataFrame:
    kept = table.filter(pl.col("op").is_not_null(), pl.col("status").str.starts_with("2"))
    keys = kept["key"]
    if keys.str.contains("&", literal=True).any():
        keys = pl.Series(map(html.unescape, keys), dtype=pl.String)
    is_part = (pl.col("status") == "206") | pl.col("operation").is_in(_PARTS)
    return kept.select(
        time="when",
        op="op",
        path=pl.format("azure:/{}", keys),
        size=pl.col("moved").fill_null(0),
        duration=pl.col("took") / 1e3,
        client=pl.col("client").str.replace(r":\d+$", ""),
        offset=pl.when(~is_part).then(0),
        whole=pl.lit(None),
    ).cast(REQUESTS)


def sniff_resource(head: bytes) -> bool:
    """Return whether the text is a resource log of a storage account: objects with an operation and its category."""
    text = head.lstrip()
    return text.startswith((b"{", b"[")) and b'"operationName"' in text and any(each in text for each in _CATEGORIES)


def read_resource(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn a resource log into batches of events, as read does.

    Raises TraceError for a nonsensical record, or counts and skips it if damage.lenient.
    """
    return read_requests(documents(path, damage), damage, _rows, "a record of Azure's resource logs")


def _rows(document: dict[str, Any]) -> list[tuple[object, ...]]:
    # Event hubs wrap the records in an object.
    return [row for record in document.get("records", [document]) for row in _row(record)]


def _row(record: dict[str, Any]) -> list[tuple[object, ...]]:
    operation, status = record["operationName"], str(record.get("statusCode", ""))
    op, properties = _OPS.get(operation), record.get("properties") or {}
    if op is None or not status.startswith("2"):
        return []
    size = 0
    if op in ("read", "write"):
        sizes = ("responseBodySize",) if op == "read" else ("requestBodySize", "contentLengthHeader")
        known = [int(properties[name]) for name in sizes if str(properties.get(name, "")).isdecimal()]
        size = max(known, default=-1)
        if not 0 <= size < _MOST_MOVED:
            raise ValueError(f"{size} bytes" if known else f"no {' and no '.join(sizes)}")
    took = record.get("durationMs")
    client = re.sub(r":\d+$", "", str(record.get("callerIpAddress") or ""))
    offset = None if status == "206" or operation in _PARTS else 0
    duration = None if took is None else float(took) / 1e3
    return [(instant_of(record["time"]), op, _path(record, properties), size, duration, spoken(client), offset, None)]


def _path(record: dict[str, Any], properties: dict[str, Any]) -> str:
    key = str(properties.get("objectKey") or "").strip('"')
    if not key:
        url = urlsplit(record["uri"])
        key = f"{(url.hostname or '').split('.')[0]}{unquote(url.path)}"
    return spoken(f"azure://{key.lstrip('/')}")


RESOURCE = Reader(
    "azure-resource-log",
    "a resource log of Azure's blob service",
    "object",
    sniff_resource,
    read_resource,
    shows("times operations sizes names", partly="durations offsets processes"),
)
READER = Reader(
    "azure-log",
    "a Storage Analytics log of Azure",
    "object",
    sniff,
    read,
    shows("times durations operations sizes names", partly="offsets processes"),
    _LINE.match,
)
