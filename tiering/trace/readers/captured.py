"""Traces recorded by `tiering trace`, `tiering watch`, a loader or a cache: Parquet files in the event schema.

A loader writes parts (see trace/recording.py). Those of one process follow each other, so they are read one after
another, and only the last one can say that the process ended by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from tiering.errors import from_os_error
from tiering.storage.local import plainly_named
from tiering.text import shown
from tiering.trace.completeness import Completeness
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.parquet_writer import FAILED, GAPS, MISSING, SHOWS, WAITING, WHOLE
from tiering.trace.readers.base import Damage, Reader, possible, shows
from tiering.trace.waiting import Waiting

_MAGIC = b"PAR1"
_BATCH = 1 << 17
#: Most digits of a process number.
_LONGEST = 10
#: The name of a part: what the parts of one recording share, and the number of the part.
_PART = re.compile(r"(?P<recording>\d+-[0-9a-f]{12})-(?P<number>\d{5,9})\.parquet")
_NOT_NOTED = (
    "This trace was recorded by a version of tiering that did not record how runs end, so the verdict on the whole run "
    "is a forecast. Record it again to judge the run."
)


def sniff(head: bytes) -> bool:
    """Return whether bytes are those of a Parquet file."""
    return head.startswith(_MAGIC)


def is_trace(path: Path) -> bool:
    """Return whether a file is such a trace, or a directory holds parts of one."""
    try:
        if path.is_dir():
            return any(_PART.fullmatch(each.name) for each in path.iterdir())
        return set(EVENT_SCHEMA) <= set(pl.read_parquet_schema(path))
    except (OSError, pl.exceptions.PolarsError):
        return False


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Yield the events in batches. Raises TraceError for a damaged file, or one with other columns."""
    with plainly_named(path) as plain:
        yield from _read(plain, damage)


def _read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    try:
        table = pl.scan_parquet(path, glob=False)
        columns = dict(table.collect_schema())
        if columns.get("op") == pl.String:
            # A recording is written without Polars, which alone knows enumerations.
            table, columns["op"] = table.cast({"op": EVENT_SCHEMA["op"]}), EVENT_SCHEMA["op"]
        if columns != dict(EVENT_SCHEMA):
            damage.at(
                1,
                f"columns {', '.join([*columns][:8])}",
                expected="the columns of tiering trace",
                unit="column",
            )
            return
        rows, done = table.select(pl.len()).collect().item(), 0
        for batch in table.collect_batches(chunk_size=_BATCH, maintain_order=True):
            done += len(batch)
            damage.reached(damage.size * done // max(1, rows))
            yield batch
        metadata = pl.read_parquet_metadata(path)
    except pl.exceptions.PolarsError as error:
        damage.at(1, f"a file that cannot be read ({error})", expected="a whole Parquet file", unit="column")
        return
    except OSError as error:
        raise from_os_error(error) from error
    damage.notes.extend(line for line in metadata.get("tiering.notes", "").split("\n") if line)
    if WHOLE not in metadata:
        damage.notes.append(_NOT_NOTED)
    damage.complete = metadata.get(WHOLE) == "yes"
    damage.gaps.extend(line for line in metadata.get(GAPS, "").split("\n") if line)
    damage.missing = metadata.get(MISSING) == "yes"
    for name, kind, field in ((WAITING, Waiting, "waiting"), (SHOWS, Completeness, "completeness")):
        if name in metadata:
            try:
                setattr(damage, field, kind.model_validate_json(metadata[name]))
            except ValidationError as error:
                found = f"{name} with {error.error_count()} wrong fields"
                damage.at(1, found, expected=f"{name} as tiering watch writes it", unit="column")
    numbers = metadata.get(FAILED, "").split()
    damage.failed |= {int(number): "it failed" for number in numbers if number.isdigit() and len(number) < _LONGEST}


def recordings(files: Iterable[Path]) -> list[list[Path]]:
    """Group files that are to be read one after another: the parts of a recording, by number; others are alone."""
    found: dict[tuple[Path, str], list[Path]] = {}
    for file in files:
        part = _PART.fullmatch(file.name)
        found.setdefault((file.parent, part["recording"] if part else file.name), []).append(file)
    return [sorted(parts, key=_number) for parts in found.values()]


def _number(file: Path) -> int:
    part = _PART.fullmatch(file.name)
    return int(part["number"]) if part else 0


def read_parts(parts: Sequence[Path], damage: Mapping[Path, Damage]) -> Iterator[pl.DataFrame]:
    """Yield the events of a file, or of the parts of a recording in order. damage: where each of them reports."""
    due = 0
    for file in parts:
        yield from possible(read(file, damage[file]), damage[file])
        if file != parts[-1]:
            damage[file].complete = True  # the next part goes on
        if _PART.fullmatch(file.name):
            if (number := _number(file)) != due:
                damage[file].gaps.append(f"the part before {shown(file.name)} is missing")
            due = number + 1


READER = Reader(
    "tiering",
    "a trace of tiering trace, a loader or a cache",
    "file",
    sniff,
    read,
    shows("times operations sizes offsets names processes", partly="durations opens closes end"),
)
