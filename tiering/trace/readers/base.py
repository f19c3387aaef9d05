"""What a reader of a trace format is, and what all need: text by lines, and one way to meet damage."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, cast

import polars as pl

from tiering.errors import TraceError, from_os_error

Level = Literal["application", "file", "object", "block"]

_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 1 << 20
#: B; no tracer writes longer lines, so a longer one is a file of another kind.
_LONGEST_LINE = 1 << 24


@dataclass(slots=True)
class Damage:
    """What to do about a line that cannot be parsed: raise, or (lenient) count it and go on."""

    path: Path
    format: str
    lenient: bool = False
    skipped: int = field(default=0, init=False)

    def at(self, line_number: int, found: str, *, expected: str = "") -> None:
        """Report damage in a line, counted from 1. Raises TraceError unless lenient."""
        if not self.lenient:
            raise TraceError(
                f"{self.path}, line {line_number:,}",
                expected=expected or f"a line of {self.format} output",
                found=found,
                action="Record it again, or read what can be read with --lenient.",
            )
        self.skipped += 1


@dataclass(frozen=True, slots=True)
class Reader:
    """One trace format.

    sniff: whether a file whose (decompressed) first bytes are these is of this format.
    read: a path and the damage to report to, into batches of events in EVENT_SCHEMA.
    """

    name: str
    describes: str
    level: Level
    sniff: Callable[[bytes], bool]
    read: Callable[[Path, Damage], Iterator[pl.DataFrame]]


def open_trace(path: Path) -> BinaryIO:
    """Open a trace for reading bytes, decompressing gzip on the way. Raises OSError."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP_MAGIC
    return cast("BinaryIO", gzip.open(path, "rb")) if compressed else path.open("rb")


def line_blocks(path: Path, damage: Damage) -> Iterator[tuple[int, list[str]]]:
    """Read a text trace in blocks: (number of the first line, counted from 1; lines without their ends).

    Bytes are decoded as Latin-1, which never fails and can be undone. Memory is bounded by a few
    MiB and one line.
    Raises TraceError where the file, or its compression, ends too early or a line exceeds 16 MiB.
    """
    number, rest = 1, b""
    try:
        with open_trace(path) as file:
            while block := file.read(_BLOCK):
                whole, end, rest = (rest + block).rpartition(b"\n")
                lines = whole.decode("latin-1").split("\n") if end else []
                if len(rest) > _LONGEST_LINE:
                    damage.at(number + len(lines), f"a line of more than {_LONGEST_LINE:,} bytes")
                    rest = b""
                if lines:
                    yield number, lines
                    number += len(lines)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        damage.at(number, f"broken gzip data ({error})")
    except OSError as error:
        raise from_os_error(error) from error
    if rest:
        yield number, [rest.decode("latin-1")]
