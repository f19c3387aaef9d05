"""Bundle files that must move together: directories on request, and packed stores always."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import polars as pl

from tiering.literals import MovedAs
from tiering.placement.file_costs import at_least, paged

#: Files of Zarr and LMDB that mark their directory as a packed store.
_MARKS: Final = ("zarr.json", ".zgroup", ".zarray", ".zmetadata", "data.mdb", "lock.mdb")
#: Names of directories that are packed stores, whatever files were seen in them.
_NAMED: Final = r"(?s)^(.*?\.(?:zarr|lmdb|mdb))/"

_SUMS: Final = ("size", "paged", "opens", "reads", "bytes_read", "writes", "bytes_written")


def bundle(
    files: pl.DataFrame, by: MovedAs = "file", minimum_objects: Iterable[int] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Group files into the units that a placement moves.

    Everything below a packed store is one unit. A packed store is a directory named *.zarr, *.lmdb or *.mdb, or the
    topmost one with a file that only stores have (zarr.json, data.mdb ...).

    Args:
        files: Columns of HEAT_SCHEMA.
        by: "file" makes each other file a unit; "directory" all files of one directory, without those of directories
            below it.
        minimum_objects: Bytes that a tier bills at least for each file.

    Returns:
        The units, one row each, sorted by path: path, kind ("file", "directory" or "store"), files, size (bytes), paged
        (bytes in whole pages), the sums of the heat, and at_least_N (bytes billed) for each minimum object N. And the
        members: path, and unit (its row).
    """
    parent = pl.col("path").str.extract(r"(?s)^(.*)/[^/]*$").fill_null("")
    own = pl.col("path") if by == "file" else pl.when(parent == "").then(pl.lit(".")).otherwise(parent)
    billed = {at_least(least): pl.col("size").clip(lower_bound=least) for least in minimum_objects if least}
    sums = (*_SUMS, *billed)
    files = _in_stores(files).with_columns(unit_path=pl.coalesce("store", own), paged=paged(pl.col("size")), **billed)
    kind = pl.when(pl.col("store").is_not_null()).then(pl.lit("store")).otherwise(pl.lit(by))
    if by == "file" and files["store"].null_count() == len(files):
        units = files.select("path", *sums, kind=kind, files=pl.lit(1, pl.Int64)).sort("path")
    else:
        units = (
            files.group_by(path="unit_path")
            .agg(pl.col(sums).sum(), kind=kind.first(), files=pl.len().cast(pl.Int64))
            .sort("path")
        )
    units = units.select("path", "kind", "files", *sums)
    numbered = units.select(unit_path="path").with_row_index("unit")
    members = files.select("path", "unit_path").join(numbered, on="unit_path", how="left", maintain_order="left")
    return units, members.select("path", "unit")


def _in_stores(files: pl.DataFrame) -> pl.DataFrame:
    """Add the column store: the topmost packed store that a file lies in, null for most."""
    path = pl.col("path")
    if files["path"].is_in(_MARKS).any():
        return files.with_columns(store=pl.lit("."))
    marks = "|".join(map(re.escape, _MARKS))
    found = {
        *files["path"].str.extract(rf"(?s)^(.*)/(?:{marks})$").drop_nulls().unique(),
        *files["path"].str.extract(_NAMED).drop_nulls().unique(),
    }
    # A store of tiering's keeps its shards, themselves stores, in directories below its manifest.
    named = files["path"].str.extract(r"(?s)^(.*)/manifest\.json$").drop_nulls().unique()
    found |= {name for name in named if any(store.startswith(f"{name}/") for store in found)}
    by_depth: dict[int, list[str]] = {}
    for store in _topmost(found):
        by_depth.setdefault(store.count("/"), []).append(store)
    files = files.with_columns(store=pl.lit(None, pl.String))
    for depth, stores in by_depth.items():
        top = path.str.extract(rf"^((?:[^/]*/){{{depth}}}[^/]*)/")
        inside = pl.when(top.is_in(pl.Series(stores).implode())).then(top)
        files = files.with_columns(store=pl.coalesce("store", inside))
    return files


def _topmost(directories: set[str]) -> list[str]:
    """Leave out directories that lie below others."""
    tops: list[str] = []
    # Compared by parts, a directory comes right before all that lies below it.
    for name in sorted(directories, key=lambda name: name.split("/")):
        if not tops or not name.startswith(f"{tops[-1]}/"):
            tops.append(name)
    return tops
