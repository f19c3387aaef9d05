"""Heat: how much each file of a trace was read and written, one row a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from tiering.errors import TraceError
from tiering.placement.process_overlap import ProcessOverlap
from tiering.trace.events import IS_NOWHERE
from tiering.trace.program_files import is_noise
from tiering.trace.read_runs import ReadRuns
from tiering.trace.running_totals import Span
from tiering.units import format_count

#: One row a file.
#:   path            as in the trace; relative to the root where one is given
#:   size            bytes: the file's own size where a root is given, else the highest byte in the trace
#:   opens, reads, writes         calls; a mapping counts as one read of everything it maps
#:   bytes_read, bytes_written    bytes
#:   first, last     seconds, time of the first and last event that moved data; null where none did
HEAT_SCHEMA: Final = pl.Schema(
    {
        "path": pl.String(),
        "size": pl.Int64(),
        "opens": pl.Int64(),
        "reads": pl.Int64(),
        "bytes_read": pl.Int64(),
        "writes": pl.Int64(),
        "bytes_written": pl.Int64(),
        "first": pl.Float64(),
        "last": pl.Float64(),
    }
)
#: Columns of HEAT_SCHEMA that count what was done to a file.
COUNTS: Final = ("opens", "reads", "bytes_read", "writes", "bytes_written")
_SUMS: Final = (*COUNTS, "appended")
_ROWS: Final = pl.Schema(
    {
        "file": pl.UInt64(),
        "path": pl.String(),
        "highest": pl.Int64(),
        "gone": pl.Boolean(),
        **dict.fromkeys(_SUMS, pl.Int64()),
        "first": pl.Float64(),
        "last": pl.Float64(),
    }
)
#: Rows of batches to collect before they are summed.
_FEWEST: Final = 1 << 17


@dataclass(frozen=True, slots=True)
class Heat:
    """How much each file was read and written.

    Attributes:
        files: Columns of HEAT_SCHEMA, sorted by path.
        duration: Seconds that the trace spans.
        root: Directory that the paths are relative to; "" where they are as traced.
        notes: What was left out, one sentence each.
        processes: Processes that read or write at the same time, and so wait together.
    """

    files: pl.DataFrame
    duration: float
    root: str = ""
    notes: tuple[str, ...] = field(default=())
    processes: float = 1.0


def trace_heat(batches: Iterable[pl.DataFrame], *, root: Path | None = None, source: str = "trace") -> Heat:
    """Sum a stream of event batches into one row a file.

    Memory holds one batch, and one row for each file. Files of interpreters and libraries are left out unless they lie
    below root. So are files that the trace finally deletes or renames.

    Args:
        batches: Data frames of EVENT_SCHEMA, in order of time.
        root: Directory whose files are to be placed.
        source: Name of the trace, for errors.

    Raises:
        TraceError: Where no file has a name.
    """
    noise, runs, rows = is_noise(root), ReadRuns(), [pl.DataFrame(schema=_ROWS)]
    span, overlap = Span(), ProcessOverlap()
    for batch in batches:
        if batch.is_empty():
            continue
        span.add(batch)
        data = batch.filter(~noise)
        overlap.add(data)
        rows.append(_batch_rows(data, runs))
        if sum(map(len, rows[1:])) > max(_FEWEST, len(rows[0])):
            rows = [_summed(rows)]
    table = _summed(rows)
    # Only files that moved data have heat, not opened directories or stat calls. Devices cannot be placed.
    moved = pl.col("reads") + pl.col("writes") > 0
    table = table.filter(moved, ~pl.col("path").str.starts_with("/dev/").fill_null(value=False))
    notes = []
    nameless, gone = int(table["path"].null_count()), int(table["gone"].sum())
    if nameless == len(table):
        raise TraceError(
            source,
            expected="a trace that names files",
            found=f"{format_count(nameless)} without a name" if nameless else "no data of any file read or written",
            action="Record one that does: tiering trace -o run.parquet -- COMMAND",
        )
    if nameless:
        notes.append(f"Left out, files without a name: {format_count(nameless)}.")
    if gone:
        notes.append(f"Left out, files that the trace deletes or renames: {format_count(gone)}.")
    files = table.filter(pl.col("path").is_not_null(), ~pl.col("gone"))
    # Several identities may share a name: a file and the one that replaced it.
    files = (
        files.with_columns(size=pl.max_horizontal("highest", "appended"))
        .group_by("path")
        .agg(
            pl.col("size").max(),
            pl.col(COUNTS).sum(),
            pl.col("first").min(),
            pl.col("last").max(),
        )
    )
    table = files.select(HEAT_SCHEMA.names()).sort("path")
    return Heat(table, max(0.0, span.seconds), notes=tuple(notes), processes=overlap.processes())


#: A rename onto this name: the name exists afterwards.
_takes_name = (pl.col("op") == "rename") & (pl.col("flags") == "w").fill_null(value=False)


def _batch_rows(data: pl.DataFrame, runs: ReadRuns) -> pl.DataFrame:
    op, size = pl.col("op"), pl.col("size")
    is_read = op.is_in(["read", "mmap", "access"])
    moves = (is_read | (op == "write")) & (size > 0)
    # A read without an offset follows the one before it, which may be in an earlier batch.
    ends = runs.add(data.filter(~IS_NOWHERE)).reads.group_by("file").agg(reached=pl.col("end").max())
    table = data.group_by("file").agg(
        pl.col("path").first(),
        highest=(pl.col("offset").fill_null(0) + size).filter(moves).max(),
        gone=op.cast(pl.String).filter(op != "stat", ~_takes_name).last().is_in(["unlink", "rename"]),
        opens=(op == "open").sum(),
        reads=(is_read & moves).sum(),
        bytes_read=size.filter(is_read).sum(),
        writes=((op == "write") & moves).sum(),
        bytes_written=size.filter(op == "write").sum(),
        appended=size.filter(op == "write", pl.col("offset").is_null()).sum(),
        first=pl.col("time").filter(moves).min(),
        last=pl.col("time").filter(moves).max(),
    )
    joined = table.join(ends, on="file", how="left")
    reached = pl.max_horizontal("highest", "reached").fill_null(0)
    return joined.with_columns(highest=reached).select(_ROWS.names()).cast(_ROWS)


def _summed(rows: list[pl.DataFrame]) -> pl.DataFrame:
    return (
        pl.concat(rows)
        .group_by("file", maintain_order=True)
        .agg(
            pl.col("path").drop_nulls().first(),
            pl.col("highest").max(),
            pl.col("gone").drop_nulls().last().fill_null(value=False),
            pl.col(_SUMS).sum(),
            pl.col("first").min(),
            pl.col("last").max(),
        )
    )
