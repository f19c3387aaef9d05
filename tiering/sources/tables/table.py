"""Datasets listed in a table (CSV, TSV, Parquet, JSON lines) by path, and perhaps with labels and splits."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from tiering.errors import DatasetError, UsageError, from_os_error
from tiering.images.formats import is_image_name
from tiering.sources.account import Ledger
from tiering.sources.fields import FieldsWarning, place_column
from tiering.sources.labels.classes import LabelsWarning
from tiering.sources.records.files import fetched
from tiering.sources.repeated_keys import RepeatedKeys
from tiering.sources.small_files import look_up_files
from tiering.sources.tables.dialects import HEAD
from tiering.sources.tables.dialects import is_list as looks_like_list
from tiering.sources.tables.rows import Table, cleaned, is_outside, opened
from tiering.sources.tables.table_fields import TableField, as_bytes, check_wanted, parted
from tiering.sources.trees.remote import connect
from tiering.storage.failures import asking
from tiering.storage.location import Location
from tiering.storage.names import is_relative
from tiering.storage.urls import name_of, parent_of
from tiering.text import display

TABLE_EXTENSIONS: Final = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")

#: Extensions of plain text files, some of which are lists of images.
LIST_EXTENSIONS: Final = (".txt", ".lst", ".list")

#: Extensions to try if a table has names without them, as columns called image_id often do; the common ones first.
_CONTINUED: Final = ("jpg", "png", "jpeg", "JPG", "JPEG", "PNG", "tif", "tiff", "webp", "bmp")

#: How many files are looked up before they are counted.
_TOGETHER: Final = 1000


@dataclass(frozen=True, slots=True)
class TableForm:
    """How to read a table that does not show it itself.

    columns: the table's columns of path, label and split, and those that become fields, by name or by number from 0. A
    field may have a kind (mask:image). root: absolute path or URL that its paths are relative to; "" for the table's
    own directory.
    """

    columns: tuple[tuple[str, str], ...] = ()
    root: str = ""

    @classmethod
    def of(cls, columns: str | Mapping[str, str] | None, root: str | os.PathLike[str] | None) -> TableForm:
        """Parse columns such as "path=Image,label=Id", "path,label" (by position), or a mapping. Raises UsageError."""
        given = dict(columns) if isinstance(columns, Mapping) else _parsed(columns or "")
        fields: dict[str, str] = {}
        for wanted, column in given.items():
            check_wanted(wanted)
            name, kind = parted(wanted)
            if not column or name in {parted(each)[0] for each in fields}:
                raise UsageError("columns", expected="one column for each field", found=wanted, action="Name it once.")
            fields[f"{name}:{kind}" if kind else name] = column
        if fields and "path" not in fields:
            raise UsageError("columns", expected="at least image", found=", ".join(fields), action="Name it.")
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
        warnings.simplefilter("ignore", FieldsWarning)
        try:
            with fetched(url) as path, polars_errors(url), opened(path, url, dict(form.columns)):
                return True
        except (DatasetError, UsageError):
            return False


@contextmanager
def opened_table(url: str, form: TableForm) -> Iterator[Table]:
    """Open a table by its path or URL, without looking for the files that it names.

    Raises DatasetError for anything but a table with a column of paths; UsageError for a column that does not exist.
    """
    with fetched(url) as path, polars_errors(url), opened(path, url, dict(form.columns)) as table:
        yield table


def table_batches(url: str, form: TableForm, ledger: Ledger) -> Iterator[pl.DataFrame]:
    """Yield a table's rows in order with the size and version of each file, up to 50,000 rows at a time.

    url: path or URL of the table. form: how to read it. ledger: gets the fields. Labels are read as text, so that 007
    stays 007. A missing file has size -1 and version 0. The columns are those of tiering.sources.source.SOURCE_SCHEMA.
    Raises DatasetError for a table without a column of paths or without rows, a path outside the root, and a path that
    occurs twice; UsageError for a column that does not exist; MachineError if the files cannot be looked up.
    About 4 us per row for local files (10^6 rows, one core); one request each for remote files.
    """
    base = form.root or parent_of(url)
    with fetched(url) as path, polars_errors(url), opened(path, url, dict(form.columns)) as table:
        seen = RepeatedKeys()
        row = 0
        for frame in _with_sizes(table, base, ledger):
            seen.add(frame["key"])
            row += len(frame)
            yield frame
        if not row:
            raise DatasetError(display(url), expected="rows", found="an empty table", action="Check the file.")
        twice = seen.first(lambda: (frame["key"] for frame in _with_sizes(table, base, Ledger())))
    if twice is not None:
        raise DatasetError(
            display(url),
            expected="each file once",
            found=f"{display(twice)} twice",
            action="Remove one of the two rows.",
        )


def _with_sizes(table: Table, base: str, ledger: Ledger) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table with the size and version of each file, and announce its fields."""
    endings = list(_CONTINUED)
    fields: list[TableField] | None = None
    for frame in table.batches(base):
        if fields is None:
            fields = [as_images(field, frame, base) for field in table.fields]
            for field in fields:
                ledger.add_field(field.found)
        keys = frame["key"].to_list()
        about = _looked_up(keys, base, endings, ledger)
        found = pl.DataFrame(about, schema={"size": pl.Int64, "version": pl.Int64}, orient="row")
        columns = {
            "key": pl.Series(keys, dtype=pl.String).cast(pl.Binary),
            "size": found["size"],
            "version": found["version"],
            "label": frame["label"],
            "split": frame["split"],
            "file": pl.repeat(-1, len(frame), dtype=pl.Int32, eager=True),
            "offset": pl.repeat(0, len(frame), dtype=pl.Int64, eager=True),
        }
        yield pl.DataFrame(columns | columns_of(fields, frame, base, table.where))


def columns_of(fields: Sequence[TableField], frame: pl.DataFrame, base: str, where: str) -> dict[str, pl.Series]:
    """Return the columns of fields, with the places of files that cells name. where: the table's name for errors."""
    columns: dict[str, pl.Series] = {}
    for field in fields:
        if field.paths:
            columns |= _places_of(field, frame, base, where)
        else:
            columns[field.column] = as_bytes(field, frame[field.column])
    return columns


def as_images(field: TableField, frame: pl.DataFrame, base: str) -> TableField:
    """Return a field as one of images if all its cells in the first rows name images, and the first is there."""
    cells = frame[field.column].drop_nulls() if field.guess else ()
    if not len(cells) or not all(is_image_name(os.fsencode(cell)) for cell in cells):
        return field
    (key,) = pl.DataFrame({"cell": cells[:1]}).select(cleaned(pl.col("cell"), base)).to_series()
    there = is_relative(os.fsencode(key)) and _looked_up([key], base, [])[0][0] >= 0
    return field.in_files("image") if there else field


def _places_of(field: TableField, frame: pl.DataFrame, base: str, where: str) -> dict[str, pl.Series]:
    """Return the columns of a field whose cells are paths of files."""
    cells = frame.select(key=cleaned(pl.col(field.column), base))
    for (key,) in cells.filter(is_outside(pl.col("key"))).head(1).iter_rows():
        raise DatasetError(
            f"{where}, column of {field.found.name}",
            expected=f"a path below {display(base)}, absolute or relative to it",
            found=repr(key), action=f"If it holds no paths, say so: `columns` {field.found.name}:string=NAME",
        )  # fmt: skip
    given = cells["key"].to_list()
    keys = [key for key in given if key is not None]
    about = iter(_looked_up(keys, base, list(_CONTINUED)))
    rows = [(None, None) if key is None else next(about) for key in given]
    names = iter(keys)
    parts = {
        "key": pl.Series([None if key is None else next(names).encode() for key in given], dtype=pl.Binary),
        "size": pl.Series([row[0] for row in rows], dtype=pl.Int64),
        "version": pl.Series([row[1] for row in rows], dtype=pl.Int64),
        "file": pl.repeat(-1, len(given), dtype=pl.Int32, eager=True),
        "offset": pl.repeat(0, len(given), dtype=pl.Int64, eager=True),
    }
    return {place_column(field.found.name, part): values for part, values in parts.items()}


def _looked_up(keys: list[str], base: str, endings: list[str], ledger: Ledger | None = None) -> list[tuple[int, int]]:
    """Return size and version of each file, and correct the names in place: see _turn_slashes and _continue_names.

    ledger: counts the files.
    """
    about: list[tuple[int, int]] = []
    for begin in range(0, len(keys), _TOGETHER):
        part = keys[begin : begin + _TOGETHER]
        about += look_up_files(base, part)
        if ledger is not None:
            ledger.met += len(part)
    _turn_slashes(keys, about, base)
    _continue_names(keys, about, base, endings)
    return about


def _turn_slashes(keys: list[str], about: list[tuple[int, int]], base: str) -> None:
    """Replace backslashes with slashes, in place, in names without a file: the table was written on Windows."""
    lacking = [at for at, (size, _) in enumerate(about) if size < 0 and "\\" in keys[at]]
    turned = [keys[at].replace("\\", "/") for at in lacking]
    inside = [position for position, name in enumerate(turned) if is_relative(name.encode())]
    found = look_up_files(base, [turned[position] for position in inside])
    for position, each in zip(inside, found, strict=True):
        # A missing file keeps its name as in the table, for the error that names it.
        if each[0] >= 0:
            keys[lacking[position]], about[lacking[position]] = turned[position], each


def _continue_names(keys: list[str], about: list[tuple[int, int]], base: str, endings: list[str]) -> None:
    """Add missing extensions to names, in place, if files with them exist.

    endings: the extensions, in the order to try them. The last one that fitted moves to the front.
    """
    lacking = [at for at, (size, _) in enumerate(about) if size < 0 and not is_image_name(os.fsencode(keys[at]))]
    for ending in list(endings):
        if not lacking:
            return
        found = look_up_files(base, [f"{keys[at]}.{ending}" for at in lacking])
        for at, each in zip(lacking, found, strict=True):
            if each[0] >= 0:
                keys[at], about[at] = f"{keys[at]}.{ending}", each
        rest = [at for at in lacking if about[at][0] < 0]
        if len(rest) < len(lacking):
            endings.remove(ending)
            endings.insert(0, ending)
        lacking = rest


@contextmanager
def polars_errors(url: str) -> Iterator[None]:
    """Turn errors of Polars and of the system into errors that name a table."""
    try:
        yield
    except PolarsError as error:
        message = str(error).split("\n", 1)[0]
        raise DatasetError(display(url), expected="a table", found=message, action="Check the file.") from error
    except OSError as error:
        raise from_os_error(error) from error
