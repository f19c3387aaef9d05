"""Usage logs of Google Cloud Storage: CSV with a header, as written by the service or exported by a query.

Format: Cloud Storage's documentation, "Usage logs and storage logs".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tiering.trace.readers.base import Damage, Reader, shows
from tiering.trace.readers.objects import REQUESTS, Requests
from tiering.trace.readers.opening import open_trace
from tiering.trace.readers.tables import Shape, blocks, header_of, own_names, report

_NEEDED = {"time_micros", "cs_method", "sc_bytes", "cs_object"}
_NUMBERS = ("time_micros", "sc_bytes", "cs_bytes", "time_taken_micros")
#: Columns that an export may lack.
_USED = (*_NUMBERS, "c_ip", "cs_method", "sc_status", "cs_bucket", "cs_object", "cs_operation", "cs_uri")
_OPS = {"GET": "read", "PUT": "write", "POST": "write", "HEAD": "stat", "DELETE": "unlink"}
#: Operations with the same methods that move no object: they list, copy within the service, or change settings.
_OTHERS = r"(?i)acl|list|bucket|compose|copy|rewrite|iam|notification"
#: In the JSON interface, a GET returns an object's description unless it requests its media.
_DESCRIBES = r"(?i)^storage\.objects\.get$"


def sniff(head: bytes) -> bool:
    """Return whether the text is a usage log: its header names the request's time, method and object."""
    return set(header_of(head)[1]) >= _NEEDED


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Turn a usage log into batches of events.

    The log has neither ranges nor the sizes of objects: a response 206 is a part at an unknown position. Raises
    TraceError for a line that is not of such a log, or counts and skips it if damage.lenient.
    """
    with open_trace(path) as file:
        separator, first = header_of(file.read(1 << 16))
    header = own_names(path, first, _USED)
    names = {name: pl.Int64() if name in _NUMBERS else pl.String() for name in header}
    shape = Shape(separator, names, lambda line: sniff(line.encode("latin-1")), quoted=True)
    requests = Requests()
    for block in blocks(path, damage, shape):
        missing = [pl.lit(None, pl.Int64 if each in _NUMBERS else pl.String).alias(each) for each in _USED]
        table = block.table.with_columns(each for each in missing if each.meta.output_name() not in names)
        named = pl.col("cs_object").fill_null("") != ""
        moved = pl.when(pl.col("cs_method") == "GET").then("sc_bytes").otherwise("cs_bytes")
        table = table.with_columns(moved=moved)
        wrong = pl.any_horizontal(pl.col("time_micros", "cs_method").is_null())
        wrong |= named & pl.col("cs_method").is_in(["GET", "PUT"]) & (pl.col("moved").fill_null(-1) < 0)
        bad = table.select(wrong.fill_null(value=True)).to_series()
        if bad.any():
            report(bad, block, damage, "a usage log of Cloud Storage", shape.header)
        if "cs_user_agent" in names:
            damage.met(table["cs_user_agent"].unique())
        yield requests.events(_requests(table.filter(~bad)))
    requests.note(damage)


def _requests(table: pl.DataFrame) -> pl.DataFrame:
    operation, status = pl.col("cs_operation"), pl.col("sc_status")
    of_object = ~operation.str.contains(_OTHERS).fill_null(value=False)
    described = operation.str.contains(_DESCRIBES) & ~pl.col("cs_uri").str.contains("alt=media", literal=True)
    op = pl.col("cs_method").replace_strict(_OPS, default=None, return_dtype=pl.String)
    is_part = (status == "206") | pl.col("cs_uri").str.contains(r"[?&]partNumber=").fill_null(value=False)
    return (
        table.with_columns(op=pl.when(described).then(pl.lit("stat")).otherwise(op))
        .filter(
            pl.col("op").is_not_null(),
            of_object,
            pl.col("cs_object").fill_null("") != "",
            status.fill_null("200").str.starts_with("2"),
        )
        .select(
            time=pl.col("time_micros") / 1e6,
            op="op",
            path=pl.format("gs://{}/{}", pl.col("cs_bucket").fill_null("?"), "cs_object"),
            size=pl.col("moved").fill_null(0),
            duration=pl.col("time_taken_micros") / 1e6,
            client="c_ip",
            offset=pl.when(~is_part.fill_null(value=True)).then(0),
            whole=pl.lit(None),
        )
        .cast(REQUESTS)
    )


READER = Reader(
    "gcs-log",
    "a usage log of Google Cloud Storage",
    "object",
    sniff,
    read,
    shows("times durations operations sizes names", partly="offsets processes"),
)
