"""Read heat from a trace or from a table, and add a directory's files that the trace did not touch."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from tiering.errors import InputError, TraceError, from_os_error
from tiering.placement.heat import HEAT_SCHEMA, Heat, trace_heat
from tiering.progress import Progress, no_progress
from tiering.sources.trees.local import regular_files
from tiering.storage.local import plainly_named
from tiering.storage.output_file import output_file
from tiering.trace.program_files import is_below
from tiering.trace.readers import read_trace
from tiering.units import counted, format_count

#: Columns that a table must have. Other missing columns are 0 or null.
REQUIRED: Final = ("path", "size", "reads", "bytes_read")
#: Files listed before they become columns, which need a tenth of the memory of Python's strings.
_LISTED: Final = 1 << 17


def read_heat(
    path: str | os.PathLike[str],
    *,
    root: Path | None = None,
    lenient: bool = False,
    columns: str | None = None,
    progress: Progress = no_progress,
) -> Heat:
    """Read heat from a trace of any known format, or from a table of heat.

    Args:
        path: A trace, or a CSV file with the columns of HEAT_SCHEMA. opens, writes, bytes_written, first and last may
            be missing.
        root: Directory whose files are to be placed, also the untouched ones, with their present sizes.
        lenient: Whether to skip damaged lines of a trace, as for read_trace.
        columns: Columns of a trace that is a table, as for read_trace.
        progress: Called with the events read, an estimate of all events, and 0.

    Raises:
        TraceError: For a trace that cannot be used or that names no files.
        InputError: For a table that cannot be used.

    Example:
        >>> heat = tiering.read_heat("run.parquet", root="/data")  # doctest: +SKIP
        >>> heat.files.columns[:3]  # doctest: +SKIP
        ['path', 'size', 'opens']
    """
    if columns is None and is_heat_table(path):
        found = _read_table(Path(path))
        return found if root is None else _below_root(found, root)
    trace = read_trace(path, lenient=lenient, columns=columns)
    if trace.level == "block":
        raise TraceError(
            str(path),
            expected="a trace of files or objects",
            found="a trace of a block device, which has no files",
            action="Record one that does: tiering trace -o run.parquet -- COMMAND",
        )
    found = trace_heat(trace.reporting(progress), root=root, source=str(path))
    notes = [*found.notes, *trace.notes]
    if trace.skipped_lines:
        notes.append(f"Skipped {counted(trace.skipped_lines, 'damaged line')}.")
    # A trace without times has no duration.
    found = replace(found, duration=0.0 if trace.untimed else found.duration, notes=tuple(notes))
    return found if root is None else _below_root(found, root)


def write_heat(heat: Heat, path: str | Path) -> None:
    """Write heat as a CSV file that read_heat can read. Raises OSError."""
    with output_file(path) as file:
        heat.files.write_csv(file)


def is_heat_table(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a CSV table of heat: its first line has the required columns."""
    try:
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as file:
            head = file.readline(4096)
    except OSError as error:
        raise from_os_error(error) from error
    names = [name.strip().strip(b'"') for name in head.split(b",")]
    return all(name.encode() in names for name in REQUIRED)


def _read_table(path: Path) -> Heat:
    try:
        with plainly_named(path) as plain:
            table = pl.read_csv(plain, schema_overrides=dict(HEAT_SCHEMA))
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise InputError(str(path), expected=f"a table of {', '.join(HEAT_SCHEMA)}", found=reason) from error
    for name, kind in HEAT_SCHEMA.items():
        if name not in table.columns:
            table = table.with_columns(pl.lit(0 if kind == pl.Int64() else None, kind).alias(name))
    table = table.select(HEAT_SCHEMA.names())
    numbers = table.select(pl.col(pl.Int64))
    wrong = [name for name in numbers.columns if numbers[name].null_count() or (numbers[name] < 0).any()]
    if wrong or table["path"].null_count():
        raise InputError(
            str(path),
            found=f"some rows have no {'number of at least 0 in the column ' + wrong[0] if wrong else 'path'}",
        )
    if table["path"].is_duplicated().any():
        again = table.filter(pl.col("path").is_duplicated())["path"][0]
        raise InputError(str(path), expected="one row a file", found=f"several for {again!r}")
    begin, end = table["first"].min(), table["last"].max()
    duration = float(end) - float(begin) if isinstance(begin, float) and isinstance(end, float) else 0.0
    waits = (
        "A table of heat does not say how many processes wait at the same time: taken as one; `in_flight` changes that."
    )
    return Heat(table.sort("path"), duration, notes=(waits,))


def _below_root(heat: Heat, root: Path) -> Heat:
    """Keep the files below root, under paths relative to it, and add the untouched ones."""
    real, odd = _walk(root)
    forms = sorted({os.path.normpath(root), os.path.abspath(root), os.path.realpath(root)}, key=len, reverse=True)  # noqa: PTH100
    relative = pl.col("path")
    for form in forms:
        relative = relative.str.strip_prefix(f"{form.rstrip('/')}/")
    touched = heat.files.filter(is_below(root)).with_columns(relative).drop("size")
    sums = [name for name, kind in HEAT_SCHEMA.items() if kind == pl.Int64() and name != "size"]
    touched = touched.group_by("path").agg(pl.col(sums).sum(), pl.col("first").min(), pl.col("last").max())
    files = real.join(touched, on="path", how="left").with_columns(pl.col(sums).fill_null(0))
    missing = len(touched.join(real, on="path", how="anti"))
    notes = list(heat.notes)
    if odd:
        notes.append(f"Left out, with names that are not UTF-8: {format_count(odd)}. They stay where they are.")
    if missing:
        notes.append(f"Left out, in the trace but no longer below {root}: {format_count(missing)}.")
    if len(touched) == missing:
        notes.append(f"The trace touches no file below {root}: was it recorded under another path?")
    table = files.select(HEAT_SCHEMA.names()).sort("path")
    return replace(heat, files=table, root=str(root), notes=tuple(notes))


def _walk(root: Path) -> tuple[pl.DataFrame, int]:
    """List all regular files below root as (path, size), and count the names that are not UTF-8."""
    top = os.fsencode(root)
    if not root.is_dir():
        raise InputError(str(root), found="no such directory", action="Check `root`.")
    names: list[str] = []
    sizes: list[int] = []
    frames: list[pl.DataFrame] = []
    odd = 0
    try:
        for key, size in regular_files(top):
            try:
                names.append(key.decode())
            except UnicodeDecodeError:
                odd += 1
                continue
            sizes.append(size)
            if len(names) > _LISTED:
                frames.append(_frame(names, sizes))
                names, sizes = [], []
    except OSError as error:
        raise from_os_error(error) from error
    return pl.concat([*frames, _frame(names, sizes)]), odd


def _frame(names: list[str], sizes: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"path": names, "size": sizes}, schema={"path": pl.String, "size": pl.Int64})
