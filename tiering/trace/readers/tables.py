"""Text formats with one event per line and one separator: their description, and the reader for all of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from tiering.errors import TraceError
from tiering.trace.events import EVENT_SCHEMA, OPS
from tiering.trace.readers.base import Damage, Level, Reader, Shows, byte_blocks
from tiering.trace.readers.opening import for_polars

#: B of text parsed at once: large enough to hide the cost per block, small enough for memory.
_BLOCK = 1 << 23
_MARK = b"\xef\xbb\xbf"

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Shape:
    """How the lines of a text are split into columns.

    columns: names and types, in order; further fields are ignored. header: returns whether a line names the columns.
    quoted: fields may be in double quotes, as in CSV.
    """

    separator: str
    columns: Mapping[str, pl.DataType]
    header: Callable[[str], object] | None = None
    quoted: bool = False


class Block(NamedTuple):
    """Some lines of a text, the number of the first, counted from 1, and their fields, one row per line."""

    first: int
    lines: bytes
    table: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Layout:
    """A format whose lines are events.

    sniff: returns whether a file with these first bytes has this format. line: returns whether a line belongs to it.
    events: an expression for each column of EVENT_SCHEMA that the format has. A line with a null `op` or `size` is
    damage, unless `other` is true for it: then it is not an event, and `aside` describes such lines. elapsed: s that
    pass at a line, in a format with waits instead of times: `time` is their running sum.
    """

    name: str
    describes: str
    level: Level
    sniff: Callable[[bytes], bool]
    shape: Shape
    events: Mapping[str, pl.Expr]
    shows: Shows
    line: Callable[[str], object] | None = None
    other: pl.Expr | None = None
    aside: str = ""
    elapsed: pl.Expr | None = None


def reader_of(layout: Layout) -> Reader:
    """Make the reader for a layout."""

    def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
        return read_table(path, damage, layout)

    return Reader(layout.name, layout.describes, layout.level, layout.sniff, read, layout.shows, layout.line)


def read_table(path: Path, damage: Damage, layout: Layout) -> Iterator[pl.DataFrame]:
    """Read a text with a layout in batches of events, in order of time within a batch.

    Memory is bounded by a block of 8 MiB and its events. Raises TraceError for a nonsensical line, or counts and skips
    it if damage.lenient.
    """
    clock, aside = 0.0, 0
    for cut in blocks(path, damage, layout.shape):
        block, clock = _timed(cut, layout, clock)
        other = pl.repeat(value=False, n=len(block.table), eager=True)
        if layout.other is not None:
            other = block.table.select(layout.other.fill_null(value=False)).to_series()
            aside += int(other.sum())
        yield _events(block, other, damage, layout)
    if aside and layout.aside:
        damage.notes.append(layout.aside.format(f"{aside:,}"))


def blocks(path: Path, damage: Damage, shape: Shape) -> Iterator[Block]:
    """Split a text into columns, some lines at a time. Fields that cannot be parsed are null. Headers are no rows."""
    for number, text in byte_blocks(path, damage, _BLOCK):
        first, lines = number, text
        if number == 1:
            lines = lines.removeprefix(_MARK)
            skipped = len(lines) - len(lines.lstrip(b"\r\n"))
            head, _, rest = lines[skipped:].partition(b"\n")
            if shape.header is not None and shape.header(head.decode("latin-1").rstrip("\r")):
                first, lines = lines[:skipped].count(b"\n") + 2, rest
        if lines.strip():
            yield Block(first, lines, _cut(lines, shape))


def _cut(lines: bytes, shape: Shape) -> pl.DataFrame:
    if shape.separator == " " and b"\t" in lines:
        lines = lines.replace(b"\t", b" ")
    quoted = shape.quoted and b'"' in lines
    return pl.read_csv(
        for_polars(_without_open_quotes(lines, shape.separator) if quoted else lines),
        has_header=False,
        separator=shape.separator,
        quote_char='"' if quoted else None,
        schema=pl.Schema(shape.columns),
        ignore_errors=True,
        truncate_ragged_lines=True,
        missing_columns="insert",
        extra_columns="ignore",
        encoding="utf8-lossy",
    )


def _without_open_quotes(lines: bytes, separator: str) -> bytes:
    """Empty the lines with unbalanced quotes, since such a field would continue over the lines that follow."""
    each = lines.split(b"\n")
    field = rf'(?:"(?:[^"]|"")*"|[^"{separator}][^{separator}]*)?'
    texts = pl.Series(line.decode("latin-1") for line in each)
    fine = texts.str.contains(rf"^{field}(?:{separator}{field})*\r?$") & (texts.str.count_matches('"') % 2 == 0)
    return lines if fine.all() else b"\n".join(line if good else b"" for line, good in zip(each, fine, strict=True))


def _timed(block: Block, layout: Layout, clock: float) -> tuple[Block, float]:
    """Add times to a format that has waits instead. clock: s before these lines; the result has it after them."""
    if layout.elapsed is None:
        return block, clock
    table = block.table.with_columns(time=layout.elapsed.fill_null(0.0).cum_sum() + clock)
    return block._replace(table=table), float(table["time"].to_numpy()[-1])


def _events(block: Block, other: pl.Series, damage: Damage, layout: Layout) -> pl.DataFrame:
    events = as_events(block.table, layout.events)
    bad = senseless(events) & ~other
    if bad.any():
        report(bad, block, damage, layout.describes, layout.shape.header)
    left_out = bad | other
    events = events.filter(~left_out) if left_out.any() else events
    return events if events["time"].is_sorted() else events.sort("time", maintain_order=True)


def as_events(table: pl.DataFrame, columns: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """Make a row of EVENT_SCHEMA from each row of a table. Columns without an expression are null, or 0 if required."""
    events = table.select(columns.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in EVENT_SCHEMA.items())
    return events.with_columns(pl.col("pid", "group", "file").fill_null(0))


def senseless(events: pl.DataFrame) -> pl.Series:
    """Return which rows are no events: without time, operation or size, or with a negative number of bytes."""
    wrong = pl.any_horizontal(pl.col("op", "size", "time").is_null(), pl.col("size") < 0, pl.col("offset") < 0)
    return events.select(wrong.fill_null(value=False)).to_series()


def report(
    bad: pl.Series, block: Block, damage: Damage, describes: str, header: Callable[[str], object] | None = None
) -> None:
    """Report the lines of bad rows. Empty lines and repeated headers are no damage."""
    texts = block.lines.split(b"\n")
    for row in bad.arg_true().to_list():
        text = texts[row].decode("latin-1").strip() if row < len(texts) else "?"
        if text and not (header is not None and header(text)):
            shown = repr(text if len(text) <= 80 else f"{text[:77]}...")
            damage.at(block.first + row, shown, expected=f"a line of {describes}")


def operation(codes: pl.Expr, read: str | int, write: str | int) -> pl.Expr:
    """Translate a column of two codes into operations of events."""
    return codes.replace_strict({read: "read", write: "write"}, default=None, return_dtype=pl.Enum(OPS))


def own_names(path: Path, header: Sequence[str], used: Iterable[str]) -> list[str]:
    """Give every column of a header a unique name. Raises TraceError if a column that is used occurs twice."""
    for name in used:
        if (count := header.count(name)) > 1:
            raise TraceError(
                str(path),
                expected=f"one column named {name}",
                found=f"{count} of them",
                action="Rename them, or give their numbers as `columns`: 'time=0,op=1,offset=2,size=3,file=4'.",
            )
    return [name if name and name not in header[:place] else f"column {place}" for place, name in enumerate(header)]


def header_of(head: bytes) -> tuple[str, list[str]]:
    """Find the separator of a table (comma, semicolon or tab), and the names in its first line, in lower case."""
    lines = [line.lstrip("#") for line in first_lines(head, 1)]
    if not lines:
        return ",", []
    separator = max(",;\t", key=lines[0].count)
    return separator, [name.lower() for name in fields_of(lines[0], separator)]


def fields_of(line: str, separator: str) -> list[str]:
    """Split a line into its fields, which may be quoted."""
    try:
        fields = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        fields = line.split(separator)
    return [field.strip().strip('"') for field in fields]


def first_lines(head: bytes, count: int = 20) -> list[str]:
    """Return the first complete lines of a text, without empty ones."""
    complete_lines, end, rest = head.removeprefix(_MARK).rpartition(b"\n")
    lines = (complete_lines if end else rest).decode("latin-1").split("\n")
    return [line.rstrip("\r") for line in lines[: 4 * count] if line.strip()][:count]


def like(pattern: Callable[[str], object], head: bytes, *, header: Callable[[str], object] | None = None) -> bool:
    """Return whether the first lines all match, or the first one is the header of exactly this format."""
    lines = first_lines(head)
    if lines and header is not None and header(lines[0]):
        return True
    return bool(lines) and all(pattern(line) for line in lines)
