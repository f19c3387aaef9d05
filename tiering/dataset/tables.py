"""Datasets listed in a table (CSV, TSV, Parquet, JSON lines) with a column of paths, and perhaps labels and splits."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from tiering.dataset.duplicates import Duplicates
from tiering.errors import DatasetError, from_os_error
from tiering.sources.remote import look_up
from tiering.sources.walk import BATCH, display
from tiering.storage.local import plainly_named
from tiering.storage.location import Location
from tiering.storage.scratch import scratch_directory
from tiering.storage.urls import name_of, parent_of

TABLE_EXTENSIONS: Final = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")

#: Names that a column may have, in any case; the first that is there counts.
COLUMNS: Final = {
    "path": ("path", "file", "filename", "file_name", "image", "key"),
    "label": ("label", "class", "target", "category"),
    "split": ("split", "subset", "fold"),
}

#: Paths that do not lie below the table's own directory, or are none.
_OUTSIDE: Final = r"^/|://|(^|/)\.\.(/|$)|\x00"


def is_table_name(name: str) -> bool:
    """Tell whether a name is a table's: TABLE_EXTENSIONS, in any case."""
    return name.lower().endswith(TABLE_EXTENSIONS)


def table_batches(url: str) -> Iterator[pl.DataFrame]:
    """Yield a table's rows in order with the size and version of each file, up to 50,000 rows at a time.

    url: the table's path or URL; paths in it are relative to its directory. All columns are read as text, so that a
    label of 007 stays one. A file that is missing has size -1 and version 0. The columns are
    those of tiering.dataset.source.SOURCE_SCHEMA.
    Raises DatasetError for a table without a column of paths or without rows, a path that is absolute, a URL or above
    the table's directory, and a path that occurs twice; MachineError where the files cannot be looked up.
    About 4 us a row for local files (10^6 rows, one core); a request each for remote ones.
    """
    base = parent_of(url)
    look = look_up if "://" in url else _look_up_locally
    with _fetched(url) as path:
        seen = Duplicates()
        row = 0
        for frame in _paths(path, url):
            keys = frame["key"]
            about = look(base, keys.to_list())
            found = pl.DataFrame(about, schema={"size": pl.Int64, "version": pl.Int64}, orient="row")
            binary = keys.cast(pl.Binary)
            seen.add(binary)
            row += len(frame)
            yield frame.select(
                binary.alias("key"),
                found["size"],
                found["version"],
                "label",
                "split",
                pl.lit(-1, pl.Int32).alias("file"),
                pl.lit(0, pl.Int64).alias("offset"),
            )
        if not row:
            raise DatasetError(_shown(url), expected="rows", found="an empty table", action="Check the file.")
        twice = seen.first(lambda: (frame["key"].cast(pl.Binary) for frame in _paths(path, url)))
    if twice is not None:
        raise DatasetError(
            _shown(url),
            expected="each file once",
            found=f"{display(twice)} twice",
            action="Remove one of the two rows.",
        )


def _paths(path: Path, url: str) -> Iterator[pl.DataFrame]:
    """Yield the columns key, label and split of a table as text."""
    with _polars_errors(url):
        table = _lazily(path)
        chosen = _choose(table.collect_schema().names(), url)
        columns = [
            pl.col(chosen[name]).cast(pl.String).alias(name) if name in chosen else pl.lit(None, pl.String).alias(name)
            for name in COLUMNS
        ]
        row = 0
        for frame in table.select(columns).collect_batches(chunk_size=BATCH):
            _check_paths(frame, url, row)
            row += len(frame)
            # A line without anything is how many a CSV file ends.
            named = frame.filter(pl.col("path").is_not_null())
            for part in named.iter_slices(BATCH):
                clean = pl.col("path").str.replace_all(r"/(\./|/)+", "/").str.replace(r"^(\./)+", "")
                yield part.select(clean.alias("key"), "label", "split")


def _check_paths(frame: pl.DataFrame, url: str, before: int) -> None:
    missing = pl.col("path").is_null() & (pl.col("label").is_not_null() | pl.col("split").is_not_null())
    wrong = missing | (pl.col("path") == "") | pl.col("path").str.contains(_OUTSIDE)
    found = frame.with_row_index("row").filter(wrong.fill_null(value=False)).head(1)
    for row, path in found.select("row", "path").iter_rows():
        raise DatasetError(
            f"{_shown(url)}, row {before + row + 1:,}",
            expected="a path relative to the table's directory, and below it",
            found=repr(path) if path else "no path",
            action="Move the table to the directory that holds the files, and make its paths relative.",
        )


def _choose(names: list[str], url: str) -> dict[str, str]:
    """Return the table's own name of each column that is there."""
    known = {name.strip().strip("\ufeff").lower(): name for name in reversed(names)}
    chosen = {
        wanted: next(known[name] for name in spellings if name in known)
        for wanted, spellings in COLUMNS.items()
        if known.keys() & set(spellings)
    }
    if "path" not in chosen:
        raise DatasetError(
            _shown(url),
            expected=f"a column of paths named {', '.join(COLUMNS['path'])}",
            found=f"the columns {', '.join(names)}",
            action="Name the column of paths in the table's first line.",
        )
    return chosen


def _lazily(path: Path) -> pl.LazyFrame:
    extension = path.suffix.lower()
    if extension == ".parquet":
        return pl.scan_parquet(path, glob=False)
    if extension in (".jsonl", ".ndjson"):
        return pl.scan_ndjson(path)
    return pl.scan_csv(path, separator="\t" if extension == ".tsv" else ",", infer_schema=False, glob=False)


@contextmanager
def _polars_errors(url: str) -> Iterator[None]:
    try:
        yield
    except PolarsError as error:
        said = str(error).split("\n", 1)[0]
        raise DatasetError(_shown(url), expected="a table", found=said, action="Check the file.") from error
    except OSError as error:
        raise from_os_error(error) from error


@contextmanager
def _fetched(url: str) -> Iterator[Path]:
    """Give the path of a table on this machine; a remote one is copied to a temporary file."""
    if "://" not in url:
        with plainly_named(Path(url)) as path:
            yield path
        return
    with scratch_directory() as directory:
        try:
            path = Location.of(url).fetched(directory / name_of(url))
        except FileNotFoundError:
            raise DatasetError(
                _shown(url), expected="a table", found="nothing at that path", action="Check the path."
            ) from None
        yield path


def _look_up_locally(base: str, names: list[str]) -> list[tuple[int, int]]:
    root = os.fsencode(base)
    found = []
    for name in names:
        try:
            about = os.stat(os.path.join(root, name.encode()))  # noqa: PTH116, PTH118 - 10 us a file less than pathlib
        except OSError:  # Reading it will tell what is wrong with it.
            found.append((-1, 0))
            continue
        found.append((about.st_size, about.st_mtime_ns) if stat.S_ISREG(about.st_mode) else (-1, 0))
    return found


def _shown(url: str) -> str:
    return display(os.fsencode(url))
