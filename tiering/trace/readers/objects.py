"""What logs of object stores have in common: requests by clients for objects, whole or in parts.

Most of these logs give the bytes that were sent, but not the Range that was asked for. Where a part lies is then not
known, and is not made up: the event has the flag UNPLACED, and features that need places are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from tiering.trace.events import EVENT_SCHEMA, UNPLACED
from tiering.trace.readers.base import Damage, spoken

#: Columns of requests. time: s; op: one of OPS, "rename" where the object's name gets other content, which was uploaded
#: in parts or is copied; path: "s3://bucket/key"; size: B moved; duration: s or null;
#: client: who asked; offset: B, null where it is not known; whole: B of the object, null where it is not known.
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
#: Objects in the midst of a pass that are followed at once.
_MOST_OPEN = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$")
_RANGE = re.compile(r"bytes=(\d{1,18})-(?:\d{1,18})?$")


class Requests:
    """Makes events of requests, and counts those whose part of the object is not known.

    Of an object whose size is known, such parts are laid one after the other, from its beginning, round and round:
    fewer bytes cannot have been read again. Memory is a number for each object in the midst of a pass.
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
        """Say at the end how many requests were for parts that the log does not place."""
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


def place(
    status: int, asked: Mapping[str, Any] | None, given: Mapping[str, Any] | None
) -> tuple[int | None, int | None]:
    """Find where the bytes of an answer begin, and how large the object is: null where the record does not say.

    status: HTTP status; asked, given: headers of the request and of the answer, where they were recorded.
    """
    if span := _CONTENT_RANGE.match(_header(given, "content-range")):
        return int(span[1]), None if span[3] == "*" else int(span[3])
    if status != 206:
        return 0, None
    span = _RANGE.match(_header(asked, "range"))
    return (None if span is None else int(span[1])), None


def length(headers: Mapping[str, Any] | None, *names: str) -> int | None:
    """Give the first of some headers that is a number of bytes."""
    found = (_header(headers, name) for name in names)
    return next((int(text) for text in found if text.isdecimal() and len(text) < 19), None)


def _header(headers: Mapping[str, Any] | None, name: str) -> str:
    if not isinstance(headers, Mapping):
        return ""
    return next((str(value) for key, value in headers.items() if key.lower() == name), "")


def frame(rows: Iterable[tuple[object, ...]]) -> pl.DataFrame:
    """Make a frame of rows in the order of REQUESTS."""
    return pl.DataFrame(list(rows), schema=REQUESTS, orient="row")


def name(bucket: object, key: object, scheme: str = "s3") -> str:
    """Name an object as its users do. Raises TypeError where a record has no such names."""
    if not isinstance(bucket, str) or not isinstance(key, str):
        raise TypeError("no bucket and key")
    return spoken(f"{scheme}://{bucket}/{key}")
