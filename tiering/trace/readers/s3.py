"""S3 server access logs (Amazon S3 user guide, "Amazon S3 server access log format")."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tiering.trace.readers.base import Damage, Reader, byte_blocks, shows
from tiering.trace.readers.objects import REQUESTS, Requests
from tiering.trace.readers.tables import like

_LINE = (
    r"^(?P<owner>\S+) (?P<bucket>\S+) \[(?P<time>[^\]]+)\] (?P<client>\S+) (?P<requester>\S+) \S+ (?P<operation>\S+) "
    r'(?P<key>\S+) (?:"[^"]*"|-) (?P<status>\d{3}|-) \S+ (?P<sent>\d+|-) (?P<size>\d+|-) (?P<took>\d+|-)'
    r'(?: \S+ (?:"[^"]*"|-) "(?P<agent>[^"]*)")?'
)
_TEXT = re.compile(_LINE)
_BLOCK = 1 << 22
_OPS = {
    "REST.GET.OBJECT": "read",
    "WEBSITE.GET.OBJECT": "read",
    "REST.PUT.OBJECT": "write",
    "REST.PUT.PART": "write",
    # An upload in parts was completed, or a copy was made: the name stands for a new object.
    "REST.POST.UPLOAD": "rename",
    "REST.COPY.OBJECT": "rename",
    "REST.HEAD.OBJECT": "stat",
    "REST.DELETE.OBJECT": "unlink",
    "BATCH.DELETE.OBJECT": "unlink",
    "S3.EXPIRE.OBJECT": "unlink",
}


def sniff(head: bytes) -> bool:
    """Return whether the text is an S3 server access log: all of its first lines belong to one."""
    return like(_TEXT.match, head)


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn an access log into batches of events: GETs are reads, PUTs and uploaded parts are writes.

    The log has no ranges. A response 206 with fewer bytes than the object is a part at an unknown position, and so is
    an uploaded part. Other transfers begin at byte 0. Raises TraceError for a line that is not of such a log, or counts
    and skips it if damage.lenient.
    """
    requests = Requests()
    for number, block in byte_blocks(path, damage, _BLOCK):
        lines = pl.Series("line", block.decode("utf-8", "replace").split("\n"))
        table = lines.str.extract_groups(_LINE).struct.unnest()
        numbers = {name: pl.col(name).cast(pl.Int64, strict=False) for name in ("sent", "size", "took")}
        too_long = pl.any_horizontal(
            pl.col(name).cast(pl.Int64, strict=False).is_null() & (pl.col(name) != "-") for name in numbers
        )
        when = pl.col("time").str.to_datetime("%d/%b/%Y:%H:%M:%S %z", strict=False, time_unit="us").dt.epoch("us") / 1e6
        table = table.with_columns(**numbers, time=pl.when(~too_long).then(when))
        bad = table["time"].is_null() & (lines.str.strip_chars().str.len_bytes() > 0)
        for row in bad.arg_true().to_list():
            damage.at(number + row, repr(lines[row][:80]), expected="a line of an S3 server access log")
        damage.met(table["agent"].unique())
        yield requests.events(_requests(table))
    requests.note(damage)


def _requests(table: pl.DataFrame) -> pl.DataFrame:
    op = pl.col("operation").replace_strict(_OPS, default=None, return_dtype=pl.String)
    read, sent, size = pl.col("op") == "read", pl.col("sent").fill_null(0), pl.col("size")
    is_part = (read & (pl.col("status") == "206") & ((sent < size) | size.is_null())) | (
        pl.col("operation") == "REST.PUT.PART"
    )
    return (
        table.with_columns(op=op)
        .filter(pl.col("op").is_not_null(), pl.col("time").is_not_null(), pl.col("status").str.starts_with("2"))
        .select(
            "time",
            "op",
            path=pl.format("s3://{}/{}", "bucket", "key"),
            size=pl.when(read).then(sent).otherwise(size.fill_null(0)),
            duration=pl.col("took") / 1e3,
            client="client",
            offset=pl.when(~is_part).then(0),
            whole=pl.when(read).then(size),
        )
        .cast(REQUESTS)
    )


READER = Reader(
    "s3-log",
    "an S3 server access log",
    "object",
    sniff,
    read,
    shows("times durations operations sizes names", partly="offsets processes"),
    _TEXT.match,
)
