"""Datasets listed in a table (CSV, TSV, Parquet, JSON lines) by path, and perhaps with labels and splits."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from tiering.errors import DatasetError, UsageError, from_os_error
from tiering.images.formats import is_image_name
from tiering.sources.labels.classes import LabelsWarning
from tiering.sources.repeated_keys import RepeatedKeys
from tiering.sources.tables.column_names import SPELLINGS
from tiering.sources.tables.dialects import HEAD
from tiering.sources.tables.dialects import is_list as looks_like_list
from tiering.sources.tables.rows import Table, opened
from tiering.sources.trees.remote import connect, look_up
from tiering.storage.failures import asking
from tiering.storage.local import plainly_named
from tiering.storage.location import Location
from tiering.storage.names import is_relative
from tiering.storage.scratch import scratch_directory
from tiering.storage.urls import name_of, parent_of
from tiering.text import display

TABLE_EXTENSIONS: Final = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")

#: Extensions of plain text files, some of which are lists of images.
LIST_EXTENSIONS: Final = (".txt", ".lst", ".list")

#: Extensions to try if a table has names without them, as columns called image_id often do; the common ones first.
_CONTINUED: Final = ("jpg", "png", "jpeg", "JPG", "JPEG", "PNG", "tif", "tiff", "webp", "bmp")

#: Returns size and version of each file below a directory, (-1, 0) for a missing file.
_LookUp = Callable[[str, list[str]], list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class TableForm:
    """How to read a table that does not show it itself.

    columns: the table's columns of path, label and split, by name or by number from 0. root: absolute path or URL that
    its paths are relative to; "" for the table's own directory.
    """

    columns: tuple[tuple[str, str], ...] = ()
    root: str = ""

    @classmethod
    def of(cls, columns: str | Mapping[str, str] | None, root: str | os.PathLike[str] | None) -> TableForm:
        """Parse columns such as "path=Image,label=Id", "path,label" (by position), or a mapping. Raises UsageError."""
        fields = dict(columns) if isinstance(columns, Mapping) else _parsed(columns or "")
        for name in fields:
            if name not in SPELLINGS or not fields[name]:
                raise UsageError(
                    "columns", expected=f"FIELD=COLUMN, FIELD one of {', '.join(SPELLINGS)}", found=name,
                    action="Type, for example: `columns` path=0,label=1",
                )  # fmt: skip
        if fields and "path" not in fields:
            raise UsageError("columns", expected="at least path", found=", ".join(fields), action="Name it.")
        return cls(tuple(fields.items()), "" if root is None else Location.of(root).url)


#: For a table that shows by itself how to read it.
AS_WRITTEN: Final = TableForm()


def _parsed(text: str) -> dict[str, str]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if any("=" in part for part in parts):
        return {name.strip(): column.strip() for name, _, column in (part.partition("=") for part in parts)}
    return {name: str(position) for position, name in enumerate(parts) if name not in ("", "_")}


def is_table_name(name: str) -> bool:
    """Return whether a name has one of TABLE_EXTENSIONS, in upper or lower case."""
    return name.lower().endswith(TABLE_EXTENSIONS)


def is_list(url: str) -> bool:
    """Return whether a plain text file lists images, by its first line. Raises MachineError if it cannot be read."""
    if not name_of(url).lower().endswith(LIST_EXTENSIONS):
        return False
    if "://" not in url:
        with Path(url).open("rb") as file:
            return looks_like_list(file.read(HEAD))
    system, path = connect(url)
    with asking(url):
        return looks_like_list(system.cat_file(path, start=0, end=HEAD))


def is_readable(url: str, form: TableForm) -> bool:
    """Return whether a table has the columns of a form or, if the form names none, recognisable columns of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelsWarning)
        try:
            with _fetched(url) as path, _polars_errors(url), opened(path, url, dict(form.columns)):
                return True
        except (DatasetError, UsageError):
            return False


def table_batches(url: str, form: TableForm) -> Iterator[pl.DataFrame]:
    """Yield a table's rows in order with the size and version of each file, up to 50,000 rows at a time.

    url: path or URL of the table. form: how to read it. All columns are read as text, so that a label of 007 stays 007.
    A missing file has size -1 and version 0. The columns are those of tiering.sources.source.SOURCE_SCHEMA.
    Raises DatasetError for a table without a column of paths or without rows, a path outside the root, and a path that
    occurs twice; UsageError for a column that does not exist; MachineError if the files cannot be looked up.
    About 4 us per row for local files (10^6 rows, one core); one request each for remote files.
    """
    base = form.root or parent_of(url)
    look: _LookUp = _look_up_remotely if "://" in base else _look_up_locally
    with _fetched(url) as path, _polars_errors(url), opened(path, url, dict(form.columns)) as table:
        seen = RepeatedKeys()
        row = 0
        for frame in _with_sizes(table, base, look):
            seen.add(frame["key"])
            row += len(frame)
            yield frame
        if not row:
            raise DatasetError(display(url), expected="rows", found="an empty table", action="Check the file.")
        twice = seen.first(lambda: (frame["key"] for frame in _with_sizes(table, base, look)))
    if twice is not None:
        raise DatasetError(
            display(url),
            expected="each file once",
            found=f"{display(twice)} twice",
            action="Remove one of the two rows.",
        )


def _with_sizes(table: Table, base: str, look: _LookUp) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table with the size and version of each file."""
    endings = list(_CONTINUED)
    for frame in table.batches(base):
        keys = frame["key"].to_list()
        about = look(base, keys)
        _turn_slashes(keys, about, base, look)
        _continue_names(keys, about, base, look, endings)
        found = pl.DataFrame(about, schema={"size": pl.Int64, "version": pl.Int64}, orient="row")
        yield pl.DataFrame(
            {
                "key": pl.Series(keys, dtype=pl.String).cast(pl.Binary),
                "size": found["size"],
                "version": found["version"],
                "label": frame["label"],
                "split": frame["split"],
                "file": pl.repeat(-1, len(frame), dtype=pl.Int32, eager=True),
                "offset": pl.repeat(0, len(frame), dtype=pl.Int64, eager=True),
            }
        )


def _turn_slashes(keys: list[str], about: list[tuple[int, int]], base: str, look: _LookUp) -> None:
    """Replace backslashes with slashes, in place, in names without a file: the table was written on Windows."""
    lacking = [at for at, (size, _) in enumerate(about) if size < 0 and "\\" in keys[at]]
    turned = [keys[at].replace("\\", "/") for at in lacking]
    inside = [position for position, name in enumerate(turned) if is_relative(name.encode())]
    found = look(base, [turned[position] for position in inside])
    for position, each in zip(inside, found, strict=True):
        # A missing file keeps its name as in the table, for the error that names it.
        if each[0] >= 0:
            keys[lacking[position]], about[lacking[position]] = turned[position], each


def _continue_names(
    keys: list[str], about: list[tuple[int, int]], base: str, look: _LookUp, endings: list[str]
) -> None:
    """Add missing extensions to names, in place, if files with them exist.

    endings: the extensions, in the order to try them. The last one that fitted moves to the front.
    """
    lacking = [at for at, (size, _) in enumerate(about) if size < 0 and not is_image_name(os.fsencode(keys[at]))]
    for ending in list(endings):
        if not lacking:
            return
        found = look(base, [f"{keys[at]}.{ending}" for at in lacking])
        for at, each in zip(lacking, found, strict=True):
            if each[0] >= 0:
                keys[at], about[at] = f"{keys[at]}.{ending}", each
        rest = [at for at in lacking if about[at][0] < 0]
        if len(rest) < len(lacking):
            endings.remove(ending)
            endings.insert(0, ending)
        lacking = rest


@contextmanager
def _polars_errors(url: str) -> Iterator[None]:
    try:
        yield
    except PolarsError as error:
        message = str(error).split("\n", 1)[0]
        raise DatasetError(display(url), expected="a table", found=message, action="Check the file.") from error
    except OSError as error:
        raise from_os_error(error) from error


@contextmanager
def _fetched(url: str) -> Iterator[Path]:
    """Yield a local path to a table. A remote one is copied to a temporary file."""
    if "://" not in url:
        with plainly_named(Path(url)) as path:
            yield path
        return
    with scratch_directory() as directory:
        try:
            path = Location.of(url).fetched(directory / name_of(url))
        except FileNotFoundError:
            raise DatasetError(
                display(url), expected="a table", found="nothing at that path", action="Check the path."
            ) from None
        yield path


def _look_up_remotely(base: str, names: list[str]) -> list[tuple[int, int]]:
    system, path = connect(base)
    return look_up(system, base, path, [name.encode("utf-8", "surrogateescape") for name in names])


def _look_up_locally(base: str, names: list[str]) -> list[tuple[int, int]]:
    root = os.fsencode(base)
    found = []
    for name in names:
        try:
            about = os.stat(os.path.join(root, name.encode()))  # noqa: PTH116, PTH118 - 10 us a file less than pathlib
        except OSError:  # Reading it will raise the proper error.
            found.append((-1, 0))
            continue
        found.append((about.st_size, about.st_mtime_ns) if stat.S_ISREG(about.st_mode) else (-1, 0))
    return found
