"""Text formats of one event a line and one separator: what such a format is, and how all of them are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tiering.trace.events import EVENT_SCHEMA, OPS
from tiering.trace.readers.base import Damage, Level, Reader, byte_blocks, for_polars

#: B of text parsed at once: large enough that the cost of a block does not show, small enough to keep in mind.
_BLOCK = 1 << 23

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Layout:
    """One such format.

    columns: names and types, in order; further fields of a line are left out.
    events: an expression for each column of EVENT_SCHEMA that the format has. A line for which `op` or `size` is null
    is damage, unless `other` is true for it: that one is no event.
    """

    name: str
    describes: str
    level: Level
    sniff: Callable[[bytes], bool]
    separator: str
    columns: Mapping[str, pl.DataType]
    events: Mapping[str, pl.Expr]
    header: bool = False
    other: pl.Expr | None = None


def reader_of(layout: Layout) -> Reader:
    """Make the reader of a layout."""

    def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
        return read_table(path, damage, layout)

    return Reader(layout.name, layout.describes, layout.level, layout.sniff, read)


def read_table(path: Path, damage: Damage, layout: Layout) -> Iterator[pl.DataFrame]:
    """Read a text of a layout in batches of events, in order of time within a batch.

    Memory is bounded by a block of 8 MiB and its events. Raises TraceError for a line that makes no sense
    (damage.lenient: it is counted and left out).
    """
    for number, block in byte_blocks(path, damage, _BLOCK):
        first, lines = number, block
        if layout.header and number == 1:
            _, _, lines = block.partition(b"\n")
            first += 1
        if lines.strip():
            yield _events(lines, first, damage, layout)


def _events(lines: bytes, first: int, damage: Damage, layout: Layout) -> pl.DataFrame:
    if layout.separator == " " and b"\t" in lines:
        lines = lines.replace(b"\t", b" ")
    table = pl.read_csv(
        for_polars(lines),
        has_header=False,
        separator=layout.separator,
        quote_char=None,
        schema=pl.Schema(layout.columns),
        ignore_errors=True,
        truncate_ragged_lines=True,
        missing_columns="insert",
        extra_columns="ignore",
        encoding="utf8-lossy",
    )
    events = table.select(
        layout.events.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in EVENT_SCHEMA.items()
    )
    filled = {"pid": 0, "group": 0, "file": 0}
    events = events.with_columns(pl.col(name).fill_null(value) for name, value in filled.items())
    wrong = pl.any_horizontal(pl.col("op", "size", "time").is_null(), pl.col("size") < 0, pl.col("offset") < 0)
    bad = events.select(wrong.fill_null(value=False)).to_series()
    if layout.other is not None:
        other = table.select(layout.other.fill_null(value=False)).to_series()
        bad &= ~other
        events = events.filter(~other & ~bad) if bad.any() else events.filter(~other)
    elif bad.any():
        events = events.filter(~bad)
    if bad.any():
        _report(bad, lines, first, damage, layout)
    return events if events["time"].is_sorted() else events.sort("time", maintain_order=True)


def _report(bad: pl.Series, lines: bytes, first: int, damage: Damage, layout: Layout) -> None:
    """Name the lines of rows that are bad. A line without any text is no damage."""
    texts = lines.split(b"\n")
    for row in bad.arg_true().to_list():
        text = texts[row].decode("latin-1").strip() if row < len(texts) else "?"
        if text:
            shown = repr(text if len(text) <= 80 else f"{text[:77]}...")
            damage.at(first + row, shown, expected=f"a line of {layout.describes}")


def operation(codes: pl.Expr, read: str | int, write: str | int) -> pl.Expr:
    """Translate a column of two codes into events' ops."""
    return codes.replace_strict({read: "read", write: "write"}, default=None, return_dtype=pl.Enum(OPS))


def first_lines(head: bytes, count: int = 20) -> list[str]:
    """Give the first whole lines of a text, without comments and empty ones."""
    whole, end, rest = head.rpartition(b"\n")
    lines = (whole if end else rest).decode("latin-1").split("\n")
    return [line.rstrip("\r") for line in lines[: 4 * count] if line.strip()][:count]


def like(pattern: Callable[[str], object], head: bytes, *, header: Callable[[str], object] | None = None) -> bool:
    """Tell whether the first lines all match, after a first one that may be a header."""
    lines = first_lines(head)
    if lines and header is not None and header(lines[0]):
        return len(lines) == 1 or all(pattern(line) for line in lines[1:])
    return bool(lines) and all(pattern(line) for line in lines)
