"""What a reader of a trace format is, and what all need: text by lines, and one way to meet damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from tiering.errors import TraceError, from_os_error
from tiering.trace.readers.opening import BROKEN, open_trace

Level = Literal["application", "file", "object", "block"]


_BLOCK = 1 << 20
#: B; no request moves more, no file or device reaches further, no address space is wider: sums of them fit in 64 bits.
_MOST_MOVED, _FURTHEST, _WIDEST = 1 << 40, 1 << 61, 1 << 47
#: B; no tracer writes longer lines, so a longer one is a file of another kind.
_LONGEST_LINE = 1 << 24


@dataclass(slots=True)
class Damage:
    """What to do about a line that cannot be parsed: raise, or (lenient) count it and go on.

    notes: what a reader has to say about the trace as a whole. complete: the trace shows a run from its start to its
    end, by itself and with status 0. gaps: why it does not hold the whole run, each a clause such as "it was killed by
    SIGINT"; where there are any, complete does not count. missing: calls that move data are known to be missing.
    failed: processes, by number, that ended otherwise than with status 0 or were told to end, and how. untimed: the
    trace has no times. torn: the block given last is a line without an end.
    """

    path: Path
    format: str
    lenient: bool = False
    skipped: int = field(default=0, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    complete: bool = field(default=False, init=False)
    gaps: list[str] = field(default_factory=list, init=False)
    missing: bool = field(default=False, init=False)
    failed: dict[int, str] = field(default_factory=dict, init=False)
    untimed: bool = field(default=False, init=False)
    torn: bool = field(default=False, init=False)

    def is_torn(self, number: int, last: int) -> bool:
        """Return whether a line is without its end. last: the number of the last line of its block."""
        return self.torn and number == last

    def at(self, number: int, found: str, *, expected: str = "", unit: str = "line") -> None:
        """Report damage in a line (or record), counted from 1. Raises TraceError unless lenient."""
        if not self.lenient:
            raise TraceError(
                f"{self.path}, {unit} {number:,}",
                expected=expected or f"a line of {self.format} output",
                found=found,
                action="Record it again, or read what can be read with --lenient.",
            )
        self.skipped += 1


#: What the records of a format may tell, in the order of the table in docs/traces.md.
FACTS = ("times", "durations", "operations", "sizes", "offsets", "names", "processes", "opens", "closes", "end")


@dataclass(frozen=True, slots=True)
class Shows:
    """What the records of a format tell, of FACTS: always, or only in part. It does not tell the others."""

    always: frozenset[str]
    partly: frozenset[str]


def shows(always: str, partly: str = "") -> Shows:
    """Name what a format tells, in words of FACTS."""
    told = Shows(frozenset(always.split()), frozenset(partly.split()))
    if unknown := (told.always | told.partly) - set(FACTS):
        raise ValueError(f"no facts: {', '.join(sorted(unknown))}")
    return told


@dataclass(frozen=True, slots=True)
class Reader:
    """One trace format.

    sniff: whether a file whose (decompressed) first bytes are these is of this format.
    read: a path and the damage to report to, into batches of events in EVENT_SCHEMA.
    shows: what the format can tell. line: whether a line of text is one of this format; None where lines do not say.
    """

    name: str
    describes: str
    level: Level
    sniff: Callable[[bytes], bool]
    read: Callable[[Path, Damage], Iterator[pl.DataFrame]]
    shows: Shows
    line: Callable[[str], object] | None = None


def byte_blocks(path: Path, damage: Damage, block: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Read a text trace in blocks of whole lines: (number of the first line, counted from 1; the lines).

    Memory is bounded by three blocks (B) and one line.
    Raises TraceError where the file, or its compression, ends too early or a line exceeds 16 MiB.
    """
    return byte_blocks_of(_read(path, block or _BLOCK), damage)


def _read(path: Path, size: int) -> Iterator[bytes]:
    """Read a trace in blocks of that many B; what comes before a break is given before the break is raised."""
    with open_trace(path) as file:
        while True:
            parts: list[bytes] = []
            left = size
            try:
                while left and (part := file.read1(left)):
                    parts.append(part)
                    left -= len(part)
            except BROKEN:
                yield b"".join(parts)
                raise
            if not parts:
                return
            yield b"".join(parts)


def byte_blocks_of(blocks: Iterator[bytes], damage: Damage) -> Iterator[tuple[int, bytes]]:
    """Cut blocks of bytes at the ends of lines, as byte_blocks does."""
    number, rest = 1, b""
    try:
        for fresh in blocks:
            whole, end, rest = (rest + fresh).rpartition(b"\n")
            count = whole.count(b"\n") + 1 if end else 0
            if len(rest) > _LONGEST_LINE:
                damage.at(number + count, f"a line of more than {_LONGEST_LINE:,} bytes")
                rest = b""
            if end:
                yield number, whole
                number += count
    except BROKEN as error:
        damage.at(number, f"broken compressed data ({error})")
    except OSError as error:
        raise from_os_error(error) from error
    if rest:
        damage.torn = True
        yield number, rest


def line_blocks(path: Path, damage: Damage, block: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Read a text trace in blocks (B): (number of the first line, counted from 1; lines without their ends).

    Bytes are decoded as Latin-1, which never fails and can be undone. Raises as byte_blocks does.
    """
    for number, lines in byte_blocks(path, damage, block):
        yield number, lines.decode("latin-1").split("\n")


def record_blocks(path: Path, damage: Damage, record: int, block: int = _BLOCK) -> Iterator[bytes]:
    """Read a binary trace in blocks of whole records of that many bytes. A part of one at the end is damage."""
    size, read, rest = block // record * record, 0, b""
    try:
        for fresh in _read(path, size):
            data = rest + fresh
            whole = len(data) // record * record
            rest = data[whole:]
            read += whole // record
            if whole:
                yield data[:whole]
    except BROKEN as error:
        damage.at(read + 1, f"broken compressed data ({error})", unit="record")
    except OSError as error:
        raise from_os_error(error) from error
    if rest:
        damage.at(read + 1, f"{len(rest)} bytes", expected=f"a record of {record} bytes", unit="record")


def spoken(text: str) -> str:
    """Make text of JSON, which may hold halves of characters, fit for a column: they stay escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def possible(batches: Iterator[pl.DataFrame], damage: Damage) -> Iterator[pl.DataFrame]:
    """Hold events to what a system can do, so that no analysis has to: a damaged number is damage, not a petabyte."""
    size, offset, took = pl.col("size"), pl.col("offset"), pl.col("duration")
    most = pl.when(pl.col("op") == "mmap").then(_WIDEST).otherwise(_MOST_MOVED)
    fine = size.is_between(0, most) & offset.fill_null(0).is_between(0, _FURTHEST) & pl.col("time").is_finite()
    fine &= pl.all_horizontal(pl.col("op", "file", "pid", "group").is_not_null())
    odd = ~took.is_between(0, 1e9)
    seen = 0
    for batch in batches:
        checked = batch.select(fine=fine.fill_null(value=False), odd=odd.fill_null(value=False))
        kept = batch
        if not checked["fine"].all():
            for row in (~checked["fine"]).arg_true().to_list():
                found = "a {op} of {size} bytes at byte {offset} and time {time}".format_map(batch.row(row, named=True))
                damage.at(seen + row + 1, found, expected="an event that can happen", unit="event")
            kept = batch.filter(checked["fine"])
        if checked["odd"].any():
            # Clocks are set back now and then; the event is none the worse.
            kept = kept.with_columns(duration=pl.when(~odd).then(took))
        seen += len(batch)
        if len(kept) or not len(batch):
            yield kept
