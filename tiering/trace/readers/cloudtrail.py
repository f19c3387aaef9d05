"""Data events of AWS CloudTrail: the files of a trail, or the same records one per line.

Format: Amazon S3 user guide, "CloudTrail log file examples for Amazon S3". A record has the number of bytes sent, but
neither the HTTP status nor the object's size, and rarely a Range. So nearly every read may be a partial one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import polars as pl

from tiering.errors import from_os_error
from tiering.trace.readers import objects
from tiering.trace.readers.base import Damage, Reader, shows, spoken
from tiering.trace.readers.documents import documents, read_requests
from tiering.trace.readers.opening import BROKEN, open_trace
from tiering.trace.readers.times import instant_of

#: B; CloudTrail's own files stay under some MB, and a document needs several times its length in memory.
_LARGEST = 1 << 27
_MOST_MOVED = 1 << 62
_BETWEEN = re.compile(r"\s*")
_EVENTS = {
    "GetObject": ("read", "bytesTransferredOut"),
    "PutObject": ("write", "bytesTransferredIn"),
    "UploadPart": ("write", "bytesTransferredIn"),
    "CompleteMultipartUpload": ("rename", ""),
    "CopyObject": ("rename", ""),
    "HeadObject": ("stat", ""),
    "DeleteObject": ("unlink", ""),
}


def sniff(head: bytes) -> bool:
    """Return whether the text is a log of CloudTrail: objects with an event's name, under "Records" or alone."""
    start = head.lstrip()[:4096]
    if not start.startswith((b"{", b"[")) or b'"eventName"' not in head:
        return False
    return _is_file(start) or b'"eventSource"' in head or b'"eventTime"' in head


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn a log of CloudTrail into batches of events. The files of a trail are small, and read as a whole.

    Raises TraceError for a nonsensical document or record, or counts and skips it if damage.lenient.
    """
    try:
        with open_trace(path) as file:
            is_file = _is_file(file.read(4096).lstrip())
    except BROKEN as error:
        damage.at(1, f"broken compressed data ({error})", unit="record")
        return
    if not is_file:
        yield from read_requests(documents(path, damage), damage, _rows, "a record of CloudTrail")
        return
    requests, rows = objects.Requests(), list[tuple[object, ...]]()
    for number, record in enumerate(_records(path, damage), 1):
        try:
            damage.met([record.get("userAgent")])
            rows += _row(record)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            damage.at(number, f"{type(error).__name__}: {error}", expected="a data event of S3", unit="record")
    yield requests.events(objects.frame(rows))
    requests.note(damage)


def _is_file(start: bytes) -> bool:
    return b'"Records"' in start[:200]


def _records(path: Path, damage: Damage) -> list[Any]:
    """Read the records of a trail's file, or of several that were joined (zcat *.json.gz)."""
    records: list[Any] = []
    try:
        with open_trace(path, damage.reached) as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            damage.at(1, f"more than {_LARGEST:,} bytes", expected="a log of CloudTrail's size", unit="record")
            return []
        left, decoder, at = text.decode().strip(), json.JSONDecoder(), 0
        while at < len(left):
            document, at = decoder.raw_decode(left, at)
            found = document["Records"]
            records += found if isinstance(found, list) else []
            at = _BETWEEN.match(left, at).end()  # type: ignore[union-attr]  # nothing at all matches, too
    except BROKEN as error:
        damage.at(1, f"broken compressed data ({error})", unit="record")
    except OSError as error:
        raise from_os_error(error) from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        damage.at(1, f"no whole JSON document ({error})", expected='an object with "Records"', unit="record")
    return records


def _rows(document: dict[str, Any]) -> list[tuple[object, ...]]:
    records = document.get("Records", [document])
    return [row for record in records for row in _row(record)]


def _row(record: dict[str, Any]) -> list[tuple[object, ...]]:
    known = _EVENTS.get(record["eventName"])
    if known is None or record.get("errorCode"):
        return []
    op, bytes_of = known
    asked = record["requestParameters"]
    size = int((record.get("additionalEventData") or {}).get(bytes_of, 0))
    if not 0 <= size < _MOST_MOVED:
        raise ValueError(f"{size} bytes")
    when = instant_of(record["eventTime"])
    path = objects.name(asked["bucketName"], unquote_plus(asked["key"]))
    # If a Range was recorded, the response was partial.
    offset = objects.span_of(206, asked, None)[0] if op == "read" else None
    if record["eventName"] == "PutObject":
        offset = 0
    return [(when, op, path, size, None, spoken(str(record.get("sourceIPAddress", ""))), offset, None)]


READER = Reader(
    "cloudtrail",
    "a CloudTrail log",
    "object",
    sniff,
    read,
    shows("times operations sizes names", partly="offsets processes"),
)
