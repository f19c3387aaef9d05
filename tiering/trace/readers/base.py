"""The parts of a trace reader that all formats share: text by lines, and one way to handle damage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from tiering.errors import TraceError, from_os_error
from tiering.trace.completeness import Completeness
from tiering.trace.readers.opening import BROKEN, open_trace
from tiering.trace.waiting import Waiting

#: The layer at which a trace was taken. A block trace is taken below the page cache.
Level = Literal["application", "file", "object", "block"]


_BLOCK = 1 << 20
#: Most names of clients that are kept, and their most characters.
_MOST_CLIENTS, _LONGEST_CLIENT = 1000, 200
#: B. No request moves more, no file or device is larger, and no address space is wider. Sums of them fit in 64 bits.
_MOST_MOVED, _FURTHEST, _WIDEST = 1 << 40, 1 << 61, 1 << 47
#: B. No tracer writes longer lines, so a file with a longer one has another format.
_LONGEST_LINE = 1 << 24


@dataclass(slots=True)
class Damage:
    """Handles a line that cannot be parsed: raises, or (lenient) counts it and continues.

    notes: remarks of a reader about the trace as a whole. complete: the trace shows a run from its start to its end,
    not ended by others, with status 0. gaps: reasons why it does not contain the whole run, each a clause such as "it
    was killed by SIGINT"; they override complete. missing: calls that move data are known to be missing. failed:
    processes, by number, that ended with another status than 0 or were ended by a signal, and how. untimed: the trace
    has no times. waiting: where the processes of a watched job spent their time. completeness: what its sources
    showed. torn: the last block ends with an unfinished line. clients: names of programs that asked for data, where the
    trace does not show what they execute: user agents, command names. size, taken: bytes of the file, and those read.
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
    waiting: Waiting | None = field(default=None, init=False)
    completeness: Completeness = field(default=Completeness(), init=False)
    torn: bool = field(default=False, init=False)
    clients: set[str] = field(default_factory=set, init=False)
    size: int = field(default=0, init=False)
    taken: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        with suppress(OSError):  # an archive's member, or a file that is missing: reading it says so
            self.size = self.path.stat().st_size

    def reached(self, position: int) -> None:
        """Note how many bytes of the file were read."""
        self.taken = position

    def met(self, clients: Iterable[object]) -> None:
        """Remember names of clients, up to a bound."""
        for client in clients:
            if len(self.clients) < _MOST_CLIENTS and isinstance(client, str) and client not in {"", "-"}:
                self.clients.add(client[:_LONGEST_CLIENT])

    def is_torn(self, number: int, last: int) -> bool:
        """Return whether a line is unfinished. last: the number of the last line of its block."""
        return self.torn and number == last

    def at(self, number: int, found: str, *, expected: str = "", unit: str = "line") -> None:
        """Report damage in a line (or record), counted from 1. Raises TraceError unless lenient."""
        if not self.lenient:
            raise TraceError(
                f"{self.path}, {unit} {number:,}",
                expected=expected or f"a line of {self.format} output",
                found=found,
                action="Record it again, or skip damaged lines with `lenient`.",
            )
        self.skipped += 1


#: The facts that records of a format may contain, in the order of the table in docs/traces.md.
FACTS = ("times", "durations", "operations", "sizes", "offsets", "names", "processes", "opens", "closes", "end")


@dataclass(frozen=True, slots=True)
class Shows:
    """The FACTS that records of a format contain, always or partly. They lack the others."""

    always: frozenset[str]
    partly: frozenset[str]


def shows(always: str, partly: str = "") -> Shows:
    """Return the Shows for two lists of words from FACTS."""
    made = Shows(frozenset(always.split()), frozenset(partly.split()))
    if unknown := (made.always | made.partly) - set(FACTS):
        raise ValueError(f"no facts: {', '.join(sorted(unknown))}")
    return made


@dataclass(frozen=True, slots=True)
class Reader:
    """A trace format.

    sniff: returns whether a file with these first (decompressed) bytes has this format. read: turns a path into batches
    of events in EVENT_SCHEMA, and reports to a Damage. shows: the facts that the format contains. line: returns whether
    a line of text belongs to this format; None if single lines do not show it.
    """

    name: str
    describes: str
    level: Level
    sniff: Callable[[bytes], bool]
    read: Callable[[Path, Damage], Iterator[pl.DataFrame]]
    shows: Shows
    line: Callable[[str], object] | None = None


def byte_blocks(path: Path, damage: Damage, block: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Read a text trace in blocks of complete lines: (number of the first line, counted from 1; the lines).

    block: B. Memory is bounded by three blocks and one line. Raises TraceError if the file, or its compression, ends
    too early, or a line exceeds 16 MiB.
    """
    return byte_blocks_of(_read(path, block or _BLOCK, damage), damage)


def _read(path: Path, size: int, damage: Damage) -> Iterator[bytes]:
    """Read a trace in blocks of that many B. If it is broken, the bytes before the break come first."""
    with open_trace(path, damage.reached) as file:
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
    """Cut blocks of bytes at line ends, as byte_blocks does."""
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

    Bytes are decoded as Latin-1, which never fails and is reversible. Raises as byte_blocks does.
    """
    for number, lines in byte_blocks(path, damage, block):
        yield number, lines.decode("latin-1").split("\n")


def record_blocks(path: Path, damage: Damage, record: int, block: int = _BLOCK) -> Iterator[bytes]:
    """Read a binary trace in blocks of complete records. record: bytes of one. A partial record is damage."""
    size, read, rest = block // record * record, 0, b""
    try:
        for fresh in _read(path, size, damage):
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
    """Escape lone surrogates in text from JSON, so that it fits into a column."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def possible(batches: Iterator[pl.DataFrame], damage: Damage) -> Iterator[pl.DataFrame]:
    """Check events against what a system can do. A damaged number becomes damage instead of a petabyte."""
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
            # Clocks are sometimes set back. The rest of the event is still good.
            kept = kept.with_columns(duration=pl.when(~odd).then(took))
        seen += len(batch)
        if len(kept) or not len(batch):
            yield kept
