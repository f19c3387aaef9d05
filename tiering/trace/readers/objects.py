"""Logs of object stores: requests of clients for objects, or for parts of them.

Most of these logs have the number of bytes sent, but not the requested Range. Then the position of a part is unknown
and is not guessed: the event has the flag UNPLACED, and features that need positions are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from tiering.trace.events import EVENT_SCHEMA, UNPLACED
from tiering.trace.readers.base import Damage, spoken

#: Columns of requests. time: s. op: one of OPS; "rename" if the object's name gets other content, uploaded in parts or
#: copied. path: "s3://bucket/key". size: B moved. duration: s or null. client: who made the request. offset: B, null if
#: unknown. whole: B of the object, null if unknown.
REQUESTS = pl.Schema(
    {
        "time": pl.Float64(),
        "op": pl.String(),
        "path": pl.String(),
        "size": pl.Int64(),
        "duration": pl.Float64(),
        "client": pl.String(),
        "offset": pl.Int64(),
        "whole": pl.Int64(),
    }
)
#: How many objects are followed at once during a pass over each.
_MOST_OPEN = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$")
_RANGE = re.compile(r"bytes=(\d{1,18})-(?:\d{1,18})?$")


class Requests:
    """Makes events from requests, and counts those for an unknown part of an object.

    If the size of the object is known, such parts are placed one after the other from its beginning, and around again:
    this gives the fewest re-read bytes. Memory is one number for each object with an unfinished pass.
    """

    def __init__(self) -> None:
        self._reached: dict[int, int] = {}
        self._parts = self._moves = 0

    def events(self, requests: pl.DataFrame) -> pl.DataFrame:
        """Turn rows of REQUESTS into events, in order of time."""
        table = requests.with_columns(file=pl.col("path").hash())
        op, moved = pl.col("op"), pl.col("size") > 0
        unplaced = (op == "read") & pl.col("offset").is_null() & moved
        replaced = pl.when(op == "rename").then(pl.lit("w"))
        table = table.with_columns(flags=pl.when(unplaced).then(pl.lit(UNPLACED)).otherwise(replaced))
        parts = table.select((pl.col("flags") == UNPLACED).arg_true()).to_series().to_list()
        self._moves += int((table["op"].is_in(["read", "write"]) & (table["size"] > 0)).sum())
        self._parts += len(parts)
        if parts:
            laid = [self._laid(*row) for row in table[parts].select("file", "size", "whole").iter_rows()]
            offsets = table["offset"].scatter(parts, pl.Series(laid, dtype=pl.Int64))
            table = table.with_columns(offset=offsets)
        moves = op.is_in(["read", "write"])
        return (
            table.select(
                time="time",
                op="op",
                file="file",
                offset=pl.when(moves).then("offset"),
                size=pl.when(moves).then("size").otherwise(0),
                pid=pl.col("client").fill_null("").hash() % (1 << 31),
                group=pl.lit(0),
                duration="duration",
                path="path",
                flags="flags",
            )
            .cast(EVENT_SCHEMA)
            .sort("time", maintain_order=True)
        )

    def note(self, damage: Damage) -> None:
        """Add a note at the end on how many requests were for parts at an unknown position."""
        if self._parts:
            damage.notes.append(
                f"{self._parts:,} of {self._moves:,} requests read parts of objects, and the log does not say which "
                "bytes (no Range): what was read again is known only within bounds."
            )

    def _laid(self, file: int, size: int, whole: int | None) -> int | None:
        if not whole or size > whole or (file not in self._reached and len(self._reached) >= _MOST_OPEN):
            return None
        start = self._reached.pop(file, 0)
        if start + size < whole:
            self._reached[file] = start + size
        elif start + size > whole:
            self._reached[file] = start + size - whole
            start = whole - size
        return start


def span_of(
    status: int, asked: Mapping[str, Any] | None, answered: Mapping[str, Any] | None
) -> tuple[int | None, int | None]:
    """Return where the bytes of a response begin, and the size of the object; null if the record does not show it.

    status: HTTP status. asked, answered: headers of the request and of the response, if recorded.
    """
    if span := _CONTENT_RANGE.match(_header(answered, "content-range")):
        return int(span[1]), None if span[3] == "*" else int(span[3])
    if status != 206:
        return 0, None
    span = _RANGE.match(_header(asked, "range"))
    return (None if span is None else int(span[1])), None


def length(headers: Mapping[str, Any] | None, *names: str) -> int | None:
    """Return the first of some headers that is a number of bytes."""
    found = (_header(headers, name) for name in names)
    return next((int(text) for text in found if text.isdecimal() and len(text) < 19), None)


def _header(headers: Mapping[str, Any] | None, name: str) -> str:
    if not isinstance(headers, Mapping):
        return ""
    return next((str(value) for key, value in headers.items() if key.lower() == name), "")


def frame(rows: Iterable[tuple[object, ...]]) -> pl.DataFrame:
    """Make a data frame from rows in the order of REQUESTS."""
    return pl.DataFrame(list(rows), schema=REQUESTS, orient="row")


def name(bucket: object, key: object, scheme: str = "s3") -> str:
    """Return the usual name of an object. Raises TypeError if a record has no such names."""
    if not isinstance(bucket, str) or not isinstance(key, str):
        raise TypeError("no bucket and key")
    return spoken(f"{scheme}://{bucket}/{key}")
