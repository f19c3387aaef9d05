"""Azure Storage Analytics logs of the blob service, versions 1.0 and 2.0.

Format: Microsoft's REST reference, "Storage Analytics log format": fields in a fixed order, separated by semicolons.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tiering.trace.readers.base import Damage, Reader, shows
from tiering.trace.readers.objects import REQUESTS, Requests
from tiering.trace.readers.tables import Shape, blocks, like, report
from tiering.trace.readers.times import instant

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
    "GetBlobProperties": "stat",
    "GetBlobMetadata": "stat",
    "DeleteBlob": "unlink",
    "DeleteFile": "unlink",
}


def sniff(head: bytes) -> bool:
    """Return whether the text is a Storage Analytics log: its first lines all are entries of one."""
    return like(_LINE.match, head)


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn a log into batches of events: GetBlob is a read, PutBlob and the parts of a blob are writes.

    The log tells no ranges: an answer 206 is a part whose place is not known. Raises TraceError for a line that is
    none of such a log (damage.lenient: it is counted and left out).
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
    is_part = (pl.col("status") == "206") | pl.col("operation").is_in(
        ["PutBlock", "PutPage", "AppendBlock", "AppendFile"]
    )
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


READER = Reader(
    "azure-log",
    "a Storage Analytics log of Azure",
    "object",
    sniff,
    read,
    shows("times durations operations sizes names", partly="offsets processes"),
    _LINE.match,
)
