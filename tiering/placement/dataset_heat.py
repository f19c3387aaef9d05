"""How much a job read and wrote of each dataset: a trace joined to a survey by path."""

from __future__ import annotations

import os
from collections.abc import Sequence

import polars as pl

from tiering.placement.heat import COUNTS
from tiering.placement.heat_sources import read_heat
from tiering.placement.job_heat import DatasetHeat, JobHeat
from tiering.progress import Progress, no_progress
from tiering.text import display


def dataset_heat(
    trace: str | os.PathLike[str],
    datasets: Sequence[str],
    roots: Sequence[str | os.PathLike[str]],
    *,
    lenient: bool = False,
    columns: str | None = None,
    progress: Progress = no_progress,
) -> JobHeat:
    """Add up what a trace shows of each dataset.

    Args:
        trace: A trace or a table of heat, as for read_heat.
        datasets: Real paths of directories. A file belongs to the deepest one that it lies below.
        roots: Directories that were surveyed, as they were named: a trace may name their files through links.
        lenient: Whether to skip damaged lines.
        columns: Columns of a trace that is a table.
        progress: As for read_heat.

    Raises:
        TraceError: For a trace that cannot be used.
        InputError: For a table that cannot be used.
    """
    heat = read_heat(trace, lenient=lenient, columns=columns, progress=progress)
    files = heat.files.with_columns(path=_real_paths(roots))
    files = files.with_columns(dataset=pl.lit(None, pl.String))
    by_depth: dict[int, list[str]] = {}
    for path in datasets:
        by_depth.setdefault(path.rstrip("/").count("/"), []).append(path)
    for depth in sorted(by_depth, reverse=True):
        top = pl.col("path").str.extract(rf"(?s)^((?:[^/]*/){{{depth}}}[^/]*)/")
        inside = pl.when(top.is_in(pl.Series(by_depth[depth], dtype=pl.String).implode())).then(top)
        files = files.with_columns(dataset=pl.coalesce("dataset", inside))
    # A dataset may be one file system's root, whose path has no name before its slash.
    if "/" in datasets:
        files = files.with_columns(dataset=pl.col("dataset").fill_null("/"))
    summed = files.group_by("dataset").agg(pl.len().alias("files"), pl.col(COUNTS).sum()).sort("dataset")
    elsewhere = summed.filter(pl.col("dataset").is_null())
    inside_rows = summed.filter(pl.col("dataset").is_not_null()).rename({"dataset": "path"})
    return JobHeat(
        trace=display(trace),
        duration=heat.duration,
        processes=heat.processes,
        datasets=tuple(DatasetHeat(**row) for row in inside_rows.iter_rows(named=True)),
        elsewhere_files=int(elsewhere["files"].sum()),
        elsewhere_bytes=int(elsewhere["bytes_read"].sum()) + int(elsewhere["bytes_written"].sum()),
        notes=heat.notes,
    )


def _real_paths(roots: Sequence[str | os.PathLike[str]]) -> pl.Expr:
    """Return the paths of a trace, with the real path of a root in place of the way that the program named it."""
    path = pl.col("path")
    for root in roots:
        real = os.path.realpath(root)
        for form in {os.path.normpath(root), os.path.abspath(root)} - {real}:  # noqa: PTH100
            prefix = f"{form.rstrip('/')}/"
            inside = path.str.starts_with(prefix)
            path = pl.when(inside).then(pl.lit(f"{real.rstrip('/')}/") + path.str.strip_prefix(prefix)).otherwise(path)
    return path
