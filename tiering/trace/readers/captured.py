"""Traces recorded by `tiering trace` and `tiering watch`: Parquet files in the event schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from tiering.errors import from_os_error
from tiering.storage.local import plainly_named
from tiering.trace.completeness import Completeness
from tiering.trace.events import EVENT_SCHEMA
from tiering.trace.parquet_writer import FAILED, GAPS, MISSING, SHOWS, WAITING, WHOLE
from tiering.trace.readers.base import Damage, Reader, shows
from tiering.trace.waiting import Waiting

_MAGIC = b"PAR1"
_BATCH = 1 << 17
#: Most digits of a process number.
_LONGEST = 10
_NOT_NOTED = (
    "This trace was recorded by a version of tiering that did not record how runs end, so the verdict on the whole run "
    "is a forecast. Record it again to judge the run."
)


def sniff(head: bytes) -> bool:
    """Return whether bytes are those of a Parquet file."""
    return head.startswith(_MAGIC)


def read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    """Yield the events in batches. Raises TraceError for a damaged file, or one with other columns."""
    with plainly_named(path) as plain:
        yield from _read(plain, damage)


def _read(path: Path, damage: Damage) -> Iterator[pl.DataFrame]:
    try:
        table = pl.scan_parquet(path, glob=False)
        if dict(table.collect_schema()) != dict(EVENT_SCHEMA):
            damage.at(
                1,
                f"columns {', '.join(table.collect_schema().names()[:8])}",
                expected="the columns of tiering trace",
                unit="column",
            )
            return
        yield from table.collect_batches(chunk_size=_BATCH, maintain_order=True)
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


READER = Reader(
    "tiering",
    "a trace of tiering trace",
    "file",
    sniff,
    read,
    shows("times durations operations sizes offsets names processes opens closes", partly="end"),
)
