"""Datasets listed in a table (CSV, TSV, Parquet, JSON lines) with a column of paths, and perhaps labels and splits."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from polars.exceptions import PolarsError

from tiering.dataset.classes import LabelsWarning
from tiering.dataset.dialects import BLANKS, HEAD, Dialect, as_utf8, choose, dialect_of, no_paths
from tiering.dataset.dialects import is_list as looks_like_list
from tiering.dataset.duplicates import Duplicates
from tiering.dataset.packed import Arrangement, holds_images, refuse_packed
from tiering.dataset.remote import connect, look_up
from tiering.dataset.spellings import SPELLINGS, recognised
from tiering.dataset.walk import BATCH, display
from tiering.errors import DatasetError, UsageError, from_os_error
from tiering.storage.failures import asking
from tiering.storage.local import plainly_named
from tiering.storage.location import Location
from tiering.storage.scratch import scratch_directory
from tiering.storage.urls import name_of, parent_of

TABLE_EXTENSIONS: Final = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")

#: Lists of images in plain text, which have these names among many other files.
LIST_EXTENSIONS: Final = (".txt", ".lst", ".list")

#: Paths that do not lie below the table's root, or are none.
_OUTSIDE: Final = r"^/|://|(^|/)\.\.(/|$)|\x00"

_ROW: Final = "\x1f"


@dataclass(frozen=True, slots=True)
class TableForm:
    """How a table is to be read where it does not say so itself.

    columns: column of path, label and split, by name or by number from 0. root: absolute path or URL that its paths
    are relative to, "" for the table's own directory.
    """

    columns: tuple[tuple[str, str], ...] = ()
    root: str = ""

    @classmethod
    def of(cls, columns: str | Mapping[str, str] | None, root: str | os.PathLike[str] | None) -> TableForm:
        """Take columns as "path=Image,label=Id", as "path,label" in their order, or as a mapping. Raises UsageError."""
        given = dict(columns) if isinstance(columns, Mapping) else _parsed(columns or "")
        for name in given:
            if name not in SPELLINGS or not given[name]:
                raise UsageError(
                    "--columns", expected=f"FIELD=COLUMN, FIELD one of {', '.join(SPELLINGS)}", found=name,
                    action="Type, for example: --columns path=0,label=1",
                )  # fmt: skip
        if given and "path" not in given:
            raise UsageError("--columns", expected="at least path", found=", ".join(given), action="Name it.")
        return cls(tuple(given.items()), "" if root is None else Location.of(root).url)


#: A table that says itself how it is to be read.
AS_WRITTEN: Final = TableForm()


def _parsed(text: str) -> dict[str, str]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if any("=" in part for part in parts):
        return {name.strip(): column.strip() for name, _, column in (part.partition("=") for part in parts)}
    return {name: str(place) for place, name in enumerate(parts) if name not in ("", "_")}


def is_table_name(name: str) -> bool:
    """Tell whether a name is a table's: TABLE_EXTENSIONS, in any case."""
    return name.lower().endswith(TABLE_EXTENSIONS)


def is_list(url: str) -> bool:
    """Tell whether a plain text file lists images, by its beginning. Raises MachineError where it cannot be read."""
    if not name_of(url).lower().endswith(LIST_EXTENSIONS):
        return False
    if "://" not in url:
        with Path(url).open("rb") as file:
            return looks_like_list(file.read(HEAD))
    system, path = connect(url)
    with asking(url):
        return looks_like_list(system.cat_file(path, start=0, end=HEAD))


def table_batches(url: str, form: TableForm) -> Iterator[pl.DataFrame]:
    """Yield a table's rows in order with the size and version of each file, up to 50,000 rows at a time.

    url: the table's path or URL; form: how to read it. All columns are read as text, so that a label of 007 stays one.
    A file that is missing has size -1 and version 0. The columns are those of tiering.dataset.source.SOURCE_SCHEMA.
    Raises DatasetError for a table without a column of paths or without rows, a path that does not lie below the root,
    and a path that occurs twice; UsageError for a column that is not there; MachineError where the files cannot be
    looked up.
    About 4 us a row for local files (10^6 rows, one core); a request each for remote ones.
    """
    base = form.root or parent_of(url)
    look = look_up if "://" in base else _look_up_locally
    with _fetched(url) as path, _polars_errors(url), _read(path, url, form) as table:
        seen = Duplicates()
        row = 0
        for frame in table.batches(base):
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
        twice = seen.first(lambda: (frame["key"].cast(pl.Binary) for frame in table.batches(base)))
    if twice is not None:
        raise DatasetError(
            _shown(url),
            expected="each file once",
            found=f"{display(twice)} twice",
            action="Remove one of the two rows.",
        )


@dataclass(frozen=True, slots=True)
class _Table:
    """A table that is open: its columns path, label and split as text, and the number of its first row."""

    frame: pl.LazyFrame
    where: str
    first: int

    def batches(self, base: str) -> Iterator[pl.DataFrame]:
        """Yield the columns key, label and split; keys are relative to the base."""
        roots = [base] if "://" in base else list(dict.fromkeys((base, os.path.realpath(base))))
        row = self.first
        relative = pl.col("path")
        for root in roots:
            relative = relative.str.strip_prefix(root.rstrip("/") + "/")
        clean = relative.str.replace_all(r"/(\./|/)+", "/").str.replace(r"^(\./)+", "")
        for frame in self.frame.collect_batches(chunk_size=BATCH):
            named = frame.with_columns(key=clean, relative=relative)
            self._check(named, base, row)
            row += len(frame)
            # A line without anything is how many a CSV file ends.
            yield from named.filter(pl.col("path").is_not_null()).select("key", "label", "split").iter_slices(BATCH)

    def _check(self, frame: pl.DataFrame, base: str, before: int) -> None:
        missing = pl.col("path").is_null() & (pl.col("label").is_not_null() | pl.col("split").is_not_null())
        wrong = missing | (pl.col("key") == "") | pl.col("relative").str.contains(_OUTSIDE)
        found = frame.with_row_index("row").filter(wrong.fill_null(value=False)).head(1)
        for row, path in found.select("row", "path").iter_rows():
            raise DatasetError(
                f"{self.where}, row {before + row:,}",
                expected=f"a path below {_shown(base)}, absolute or relative to it",
                found=repr(path) if path else "no path",
                action="Say which directory the paths are relative to: --root DIRECTORY",
            )


@contextmanager
def _read(path: Path, url: str, form: TableForm) -> Iterator[_Table]:
    """Open a table's columns path, label and split."""
    columns = dict(form.columns)
    extension = path.suffix.lower()
    if extension == ".parquet" or extension in (".jsonl", ".ndjson"):
        if extension == ".parquet" and holds_images(path):
            raise refuse_packed(_shown(url), Arrangement("Parquet", 1, name_of(url)))
        frame = pl.scan_parquet(path, glob=False) if extension == ".parquet" else pl.scan_ndjson(path)
        names = frame.collect_schema().names()
        chosen = choose(names, columns, _shown(url)) if columns else recognised(names)
        if "path" not in chosen:
            raise no_paths(_shown(url), names)
        _refuse_lists(frame, chosen, url)
        if not columns:
            _tell_unused(names, chosen, url)
        yield _Table(_named(frame, names, chosen, spaced=False), _shown(url), 1)
        return
    with as_utf8(path) as text:
        with text.open("rb") as file:
            dialect = dialect_of(file.read(HEAD).decode("utf-8", "replace"), columns, _shown(url))
        frame = _blanks(text, dialect) if dialect.separator == BLANKS else _separated(text, dialect)
        if dialect.header and not columns:
            _tell_unused(dialect.names, dialect.chosen, url)
        names = frame.collect_schema().names()
        yield _Table(_named(frame, names, dialect.chosen, spaced=dialect.spaced), _shown(url), 1)


def _separated(path: Path, dialect: Dialect) -> pl.LazyFrame:
    return pl.scan_csv(path, separator=dialect.separator, has_header=dialect.header, infer_schema=False, glob=False)


def _blanks(path: Path, dialect: Dialect) -> pl.LazyFrame:
    """Read lines whose fields are separated by blanks. Of two fields the first may hold blanks itself."""
    lines = pl.scan_csv(
        path, separator=_ROW, quote_char=None, has_header=False, skip_rows=int(dialect.header), infer_schema=False,
        glob=False, new_columns=["line"],
    )  # fmt: skip
    line = pl.col("line").str.strip_chars()
    if len(dialect.names) == 2:
        pair = line.str.extract_groups(r"^(.*\S)[ \t]+(\S+)$")
        return lines.select(pair.struct.field("1"), pair.struct.field("2"))
    fields = line.str.replace_all(r"[ \t]+", _ROW).str.split_exact(_ROW, len(dialect.names) - 1)
    return lines.select(fields.struct.field(f"field_{place}") for place in range(len(dialect.names)))


def _named(frame: pl.LazyFrame, names: list[str], chosen: Mapping[str, int], *, spaced: bool) -> pl.LazyFrame:
    columns = []
    for wanted in SPELLINGS:
        text = pl.lit(None, pl.String)
        if wanted in chosen:
            text = pl.col(names[chosen[wanted]]).cast(pl.String)
            # A file's name may begin or end with a blank; those of classes and splits do not.
            text = text.str.strip_chars_start(" ") if wanted == "path" and spaced else text
            text = text.str.strip_chars() if wanted != "path" else text
            text = pl.when(text != "").then(text) if wanted != "path" else text
        columns.append(text.alias(wanted))
    return frame.select(columns)


def _refuse_lists(frame: pl.LazyFrame, chosen: Mapping[str, int], url: str) -> None:
    for wanted, place in chosen.items():
        name, kind = list(frame.collect_schema().items())[place]
        if kind.is_nested():
            raise DatasetError(
                f"{_shown(url)}, column {name}", expected=f"one {wanted} in each row", found=f"values of type {kind}",
                action="Give the columns to use: --columns path=NAME,label=NAME",
            )  # fmt: skip


def _tell_unused(names: Sequence[str], chosen: Mapping[str, int], url: str) -> None:
    """Warn of a table without a known column of labels that has others: one of them may be meant."""
    others = [name for place, name in enumerate(names) if place not in chosen.values() and name.strip()]
    if others and "label" not in chosen:
        warnings.warn(
            f"{_shown(url)}: no column of labels is known among {', '.join(others[:6])}; the images have no class. "
            f"If one of them has it, give its name: --columns path={names[chosen['path']]},label=NAME",
            LabelsWarning,
            stacklevel=2,
        )


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
