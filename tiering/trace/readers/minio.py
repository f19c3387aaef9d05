"""MinIO's audit log, and the output of `mc admin trace`, as text and, with --json, as documents.

Formats: MinIO's documentation, "Publish Server or Audit Logs to an External Service", and mc's cmd/admin-trace.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from tiering.trace.readers import minio_verbose, objects
from tiering.trace.readers.base import Damage, Reader, byte_blocks, shows, spoken
from tiering.trace.readers.documents import documents, read_requests
from tiering.trace.readers.tables import first_lines, matched
from tiering.trace.readers.times import DayClock, instant, instant_of, seconds_of_day

_OPS = {
    "GetObject": "read",
    "PutObject": "write",
    "PutObjectPart": "write",
    "CompleteMultipartUpload": "rename",
    "CopyObject": "rename",
    "HeadObject": "stat",
    "DeleteObject": "unlink",
}
_BLOCK = 1 << 22
#: time, status, call, host and path, client, duration, received, sent. Docker prefixes the container's name.
_LINE = (
    r"^(?:\S+ +\| )?(?P<time>(?:\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d\.\d+) \[(?P<status>\d{3}) [^\]]*\] s3\.(?P<call>\w+) "
    r"(?P<host>[^/ ]*)/(?P<target>.*?) +(?P<client>[\w.:%\[\]-]+) +(?P<took>[\dhmsnuµ.]+) +(?:⇣ +\S+ +)?"
    r"↑ (?P<in>[\d.]{1,9}) (?P<in_unit>[KMGTP]?i?B) ↓ (?P<out>[\d.]{1,9}) (?P<out_unit>[KMGTP]?i?B)\s*$"
)
_TEXT = re.compile(_LINE)
#: Calls of other kinds, traced with --all: between the server's own parts, and to its disks.
_OTHER = r"^(?:\S+ +\| )?(?:\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d\.\d+ \[[^\]]+\] \w+\.\w+ "
_OTHER_TEXT = re.compile(_OTHER)
_WAYS = ("in", "out")


def sniff_audit(head: bytes) -> bool:
    """Return whether the text is MinIO's audit log: objects with a deployment and the name of a call."""
    return head.lstrip().startswith((b"{", b"[")) and b'"deploymentid"' in head and b'"api"' in head


def read_audit(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn an audit log into batches of events. Recorded headers give the positions of parts of objects.

    Raises TraceError for a nonsensical entry, or counts and skips it if damage.lenient.
    """
    return read_requests(documents(path, damage), damage, _audited, "an entry of MinIO's audit log")


def _audited(entry: dict[str, Any]) -> list[tuple[object, ...]]:
    api = entry["api"]
    op, status = _OPS.get(api.get("name")), int(api.get("statusCode") or 0)
    if op is None or not 200 <= status < 300:
        return []
    asked, answered = entry.get("requestHeader"), entry.get("responseHeader")
    if op == "read":
        size = api["tx"] if "tx" in api else objects.length(answered, "content-length")
    else:
        size = objects.length(asked, "x-amz-decoded-content-length")
        size = api.get("rx") if size is None else size
        size = objects.length(asked, "content-length") if size is None else size
    path = objects.name(api.get("bucket"), api.get("object"))
    took = api.get("timeToResponseInNS") or str(api.get("timeToResponse") or "").removesuffix("ns")
    duration = int(took) / 1e9 if str(took).isdecimal() else None
    client = spoken(str(entry.get("remotehost", "")))
    return [_row(entry["time"], api["name"], path, size, duration, client, objects.span_of(status, asked, answered))]


def sniff_trace(head: bytes) -> bool:
    """Return whether the text is that of `mc admin trace`, verbose or not, or its documents."""
    if head.lstrip().startswith(b"{"):
        return b'"api"' in head and b'"path"' in head and (b'"callStats"' in head or b'"timeToFirstByte"' in head)
    if minio_verbose.sniff(head):
        return True
    lines = [line.encode("latin-1").decode("utf-8", "replace") for line in first_lines(head)]
    return any(map(_is_call, lines)) and all(_is_call(line) or _OTHER_TEXT.match(line) for line in lines)


def _is_call(line: str) -> bool:
    # The pattern is slow to reject long lines. Names of objects have at most 1,024 characters.
    return len(line) < 1 << 12 and _TEXT.match(line) is not None


def read_trace(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn a trace of mc into batches of events. Only calls of S3 are events.

    Raises TraceError for a nonsensical line or document, or counts and skips it if damage.lenient.
    """
    start = next(byte_blocks(path, damage, 1 << 16), (1, b""))[1]
    if start.lstrip().startswith(b"{"):
        yield from read_requests(documents(path, damage), damage, _traced, "a document of mc admin trace --json")
        return
    if minio_verbose.sniff(start):
        yield from read_requests(
            minio_verbose.documents(path, damage), damage, _traced, "a request of mc admin trace --verbose"
        )
        return
    requests, clock, seen = objects.Requests(), DayClock(), False
    for number, block in byte_blocks(path, damage, _BLOCK):
        rows = _printed(matched(number, block, _LINE, rf"^\s*$|{_OTHER}", damage, "mc admin trace"), clock)
        seen |= len(rows) > 0
        yield requests.events(rows)
    if seen:
        damage.notes.append(
            "mc rounds sizes to two or three digits, and counts the headers of uploads with them; with --json it "
            "prints whole bytes."
        )
    requests.note(damage)


def _printed(table: pl.DataFrame, clock: DayClock) -> pl.DataFrame:
    """Make rows of objects.REQUESTS from lines of text. Times without a date count from the first midnight."""
    text = pl.col("time")
    times = table.select(dated=instant(text), of_day=seconds_of_day(text))
    if times["dated"].null_count():
        table = table.with_columns(when=pl.Series(clock.since_first_midnight(times["of_day"].to_numpy())))
    else:
        table = table.with_columns(when=times["dated"])
    scale = {
        name: pl.col(f"{name}_unit").replace_strict(minio_verbose.UNITS, default=None, return_dtype=pl.Int64)
        for name in _WAYS
    }
    sizes = {
        name: (pl.col(name).cast(pl.Float64, strict=False) * scale[name]).round().cast(pl.Int64, strict=False)
        for name in _WAYS
    }
    op = pl.col("call").replace_strict(_OPS, default=None, return_dtype=pl.String)
    is_part = (pl.col("status") == "206") | (pl.col("call") == "PutObjectPart")
    return (
        table.with_columns(
            op=op, took=pl.Series([minio_verbose.seconds(each) for each in table["took"]], dtype=pl.Float64)
        )
        .filter(pl.col("op").is_not_null(), pl.col("status").str.starts_with("2"))
        .select(
            time="when",
            op="op",
            path=pl.format("s3://{}", pl.col("target").str.replace(r"\?.*$", "")),
            size=pl.when(pl.col("op") == "read").then(sizes["out"]).otherwise(sizes["in"]),
            duration="took",
            client="client",
            offset=pl.when(~is_part).then(0),
            whole=pl.lit(None),
        )
        .cast(objects.REQUESTS)
    )


def _traced(document: dict[str, Any]) -> list[tuple[object, ...]]:
    service, _, call = str(document["api"]).partition(".")
    asked, answered = (document.get(side) or {} for side in ("request", "response"))
    status = int(document.get("statusCode") or answered.get("statusCode") or 0)
    op = _OPS.get(call) if service == "s3" else None
    if op is None or not 200 <= status < 300:
        return []
    stats = document.get("callStats") or {}
    if op == "read":
        size = objects.length(answered.get("headers"), "content-length")
        size = stats.get("tx") if size is None else size
    else:
        size = objects.length(asked.get("headers"), "x-amz-decoded-content-length", "content-length")
        size = stats.get("rx") if size is None else size
    bucket, _, key = str(document["path"]).removeprefix("/").partition("/")
    duration = int(document.get("duration") or stats.get("duration") or 0) / 1e9
    client = spoken(str(document.get("client", "")))
    at = objects.span_of(status, asked.get("headers"), answered.get("headers"))
    return [_row(document["time"], call, objects.name(bucket, key), size, duration, client, at)]


def _row(
    when: object, call: str, path: str, size: object, took: float | None, client: str, at: tuple[int | None, int | None]
) -> tuple[object, ...]:
    op = _OPS[call]
    if op not in ("read", "write"):
        size = 0
    if not isinstance(size, int) or not 0 <= size < 1 << 62:
        raise ValueError("no size" if size is None else f"{size} bytes")
    offset, whole = at if op == "read" else (None if call == "PutObjectPart" else 0, None)
    return (instant_of(when), op, path, size, took, client, offset, whole)


AUDIT = Reader(
    "minio-audit",
    "MinIO's audit log",
    "object",
    sniff_audit,
    read_audit,
    shows("times durations operations sizes names", partly="offsets processes"),
)
TRACE = Reader(
    "minio-trace",
    "output of mc admin trace",
    "object",
    sniff_trace,
    read_trace,
    shows("times durations operations names", partly="sizes offsets processes"),
    lambda line: _is_call(line.encode("latin-1").decode("utf-8", "replace")),
)
