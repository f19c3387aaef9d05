"""Readers of trace formats: one file each, chosen by what the trace holds and never by its name.

To add a format: write a module beside this one with a `READER`, and add it to `READERS`.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tiering.errors import TraceError, from_os_error
from tiering.trace.readers import strace
from tiering.trace.readers.base import Damage, Level, Reader, open_trace

READERS: tuple[Reader, ...] = (strace.READER,)

_HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace that is open for one reading: iterate over batches, then ask for skipped_lines.

    path: the file; format: the reader's name; level: where in the stack it was taken;
    batches: frames in EVENT_SCHEMA, made while iterating, so errors in the middle come from there.
    """

    path: Path
    format: str
    level: Level
    batches: Iterator[pl.DataFrame]
    damage: Damage

    @property
    def skipped_lines(self) -> int:
        """Lines left out so far by a lenient reading."""
        return self.damage.skipped


def read_trace(path: str | os.PathLike[str], *, lenient: bool = False) -> Trace:
    """Recognise a trace (gzip or plain) by its first bytes, and read it in batches of events.

    lenient: leave out lines that cannot be parsed, and count them.
    Raises TraceError for a file that is missing, empty or of no known format, and, while the batches are
    iterated, for damage (naming the line); MachineError where the file may not be read.
    """
    path = Path(path)
    head = _head(path)
    for reader in READERS:
        if reader.sniff(head):
            damage = Damage(path, reader.name, lenient)
            return Trace(path, reader.name, reader.level, reader.read(path, damage), damage)
    raise _unusable(path, _describe(head))


def _head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise _unusable(path, "a directory")
        with open_trace(path) as file:
            head = file.read(_HEAD)
    except FileNotFoundError as error:
        raise _unusable(path, "no such file") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _unusable(path, f"broken gzip data ({error})") from error
    except OSError as error:
        raise from_os_error(error) from error
    if not head.strip():
        raise _unusable(path, "an empty file" if not head else "nothing but white space")
    return head


def _unusable(path: Path, found: str) -> TraceError:
    known = " or ".join(reader.describes for reader in READERS)
    return TraceError(
        str(path),
        expected=f"a trace ({known})",
        found=found,
        action="Record one with: strace -f -ttt -T -yy -o job.strace COMMAND",
    )


def _describe(head: bytes) -> str:
    if b"\0" in head:
        return "binary data"
    line = head.lstrip().split(b"\n", 1)[0][:60].decode("latin-1")
    return f"text that begins with {line!r}"
