"""The rows of a table's file: path, label and split as text, for every format and dialect."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from tiering.errors import DatasetError
from tiering.sources.labels.classes import LabelsWarning
from tiering.sources.packed_datasets import PackedDataset, already_packed, holds_images
from tiering.sources.tables.column_names import SPELLINGS, recognised
from tiering.sources.tables.dialects import BLANKS, HEAD, Dialect, as_utf8, choose, dialect_of, no_paths
from tiering.sources.trees.walk import BATCH
from tiering.storage.urls import name_of
from tiering.text import display, shown

#: Matches paths that are not below the table's root, or are no paths.
_OUTSIDE: Final = r"^/|://|(^|/)\.\.(/|$)|\x00"

#: Replaces runs of blanks as the separator of fields.
_UNIT: Final = "\x1f"


@dataclass(frozen=True, slots=True)
class Table:
    """An open table: its columns path, label and split as text, and its name for errors."""

    frame: pl.LazyFrame
    where: str

    def batches(self, base: str) -> Iterator[pl.DataFrame]:
        """Yield the columns key, label and split. Keys are relative to the base."""
        roots = [base] if "://" in base else list(dict.fromkeys((base, os.path.realpath(base))))
        row = 1
        relative = pl.col("path")
        for root in roots:
            relative = relative.str.strip_prefix(root.rstrip("/") + "/")
        clean = relative.str.replace_all(r"/(\./|/)+", "/").str.replace(r"^(\./)+", "")
        for frame in self.frame.collect_batches(chunk_size=BATCH):
            named = frame.with_columns(key=clean, relative=relative)
            self._check(named, base, row)
            row += len(frame)
            # Many CSV files end with an empty line.
            yield from named.filter(pl.col("path").is_not_null()).select("key", "label", "split").iter_slices(BATCH)

    def _check(self, frame: pl.DataFrame, base: str, before: int) -> None:
        labelled = pl.col("label").is_not_null() | pl.col("split").is_not_null() | ~pl.col("blank")
        missing = pl.col("path").is_null() & labelled
        wrong = missing | (pl.col("key") == "") | pl.col("relative").str.contains(_OUTSIDE)
        found = frame.with_row_index("row").filter(wrong.fill_null(value=False)).head(1)
        for row, path in found.select("row", "path").iter_rows():
            raise DatasetError(
                f"{self.where}, row {before + row:,}",
                expected=f"a path below {display(base)}, absolute or relative to it",
                found=repr(path) if path else "no path",
                action="Say which directory the paths are relative to: `root` DIRECTORY",
            )


@contextmanager
def opened(path: Path, url: str, columns: Mapping[str, str]) -> Iterator[Table]:
    """Open the columns path, label and split of a table.

    path: a file on this machine. url: its name in errors. columns: as in TableForm.
    Raises DatasetError if there is no column of paths, or the table itself contains images; UsageError for a column
    that does not exist.
    """
    extension = path.suffix.lower()
    if extension == ".parquet" or extension in (".jsonl", ".ndjson"):
        if extension == ".parquet" and holds_images(path):
            raise already_packed(display(url), PackedDataset("Parquet", 1, name_of(url)))
        frame = pl.scan_parquet(path, glob=False) if extension == ".parquet" else _json_lines(path)
        names = frame.collect_schema().names()
        chosen = choose(names, columns, display(url)) if columns else recognised(names)
        if "path" not in chosen:
            raise no_paths(display(url), names)
        _refuse_lists(frame, chosen, url)
        if not columns:
            _warn_of_unused(names, chosen, url)
        yield Table(_named(frame, names, chosen, spaced=False, in_text=False), display(url))
        return
    with as_utf8(path) as text:
        with text.open("rb") as file:
            dialect = dialect_of(file.read(HEAD).decode("utf-8", "replace"), columns, display(url))
        frame = _blanks(text, dialect) if dialect.separator == BLANKS else _separated(text, dialect)
        if dialect.header and not columns:
            _warn_of_unused(dialect.names, dialect.chosen, url)
        names = frame.collect_schema().names()
        yield Table(_named(frame, names, dialect.chosen, spaced=dialect.spaced, in_text=True), display(url))


def _json_lines(path: Path) -> pl.LazyFrame:
    """Read every value as text: the type of a column in the first rows does not hold for the others.

    A first pass finds the columns, which may start in any row, and those with lists or objects anywhere. It keeps one
    line in memory and takes 1.7 us for a line of two fields.
    """
    schema: dict[str, pl.DataType] = {}
    with path.open("rb") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue  # Polars refuses this line.
            for name, value in row.items() if isinstance(row, dict) else ():
                if isinstance(value, dict | list):
                    schema[name] = pl.Struct({}) if isinstance(value, dict) else pl.List(pl.String)
                elif name not in schema:
                    schema[name] = pl.String()
    return pl.scan_ndjson(path, schema=schema)


def _separated(path: Path, dialect: Dialect) -> pl.LazyFrame:
    return pl.scan_csv(path, separator=dialect.separator, has_header=dialect.header, infer_schema=False, glob=False)


def _blanks(path: Path, dialect: Dialect) -> pl.LazyFrame:
    """Read lines whose fields are separated by blanks. If there are two fields, the first may contain blanks."""
    lines = pl.scan_csv(
        path, separator=_UNIT, quote_char=None, has_header=False, skip_rows=int(dialect.header), infer_schema=False,
        glob=False, new_columns=["line"],
    )  # fmt: skip
    line = pl.col("line").str.strip_chars()
    if len(dialect.names) == 2:
        pair = line.str.extract_groups(r"^(.*\S)[ \t]+(\S+)$")
        alone = pl.when(line != "").then(line)  # a line of one field
        return lines.select(pair.struct.field("1").fill_null(alone), pair.struct.field("2"))
    fields = line.str.replace_all(r"[ \t]+", _UNIT).str.split_exact(_UNIT, len(dialect.names) - 1)
    return lines.select(fields.struct.field(f"field_{position}") for position in range(len(dialect.names)))


def _named(
    frame: pl.LazyFrame, names: list[str], chosen: Mapping[str, int], *, spaced: bool, in_text: bool
) -> pl.LazyFrame:
    """Return the columns path, label and split, and whether a line is completely empty.

    spaced: whether a blank follows each separator. in_text: whether lines may be empty.
    """
    columns = []
    for wanted in SPELLINGS:
        text = pl.lit(None, pl.String)
        if wanted in chosen:
            text = pl.col(names[chosen[wanted]]).cast(pl.String)
            # File names may start or end with a blank; names of classes and splits do not.
            text = text.str.strip_chars_start(" ") if wanted == "path" and spaced else text
            text = text.str.strip_chars() if wanted != "path" else text
            text = pl.when(text != "").then(text) if wanted != "path" else text
        columns.append(text.alias(wanted))
    return frame.select(*columns, blank=pl.all_horizontal(pl.all().is_null()) if in_text else pl.lit(value=True))


def _refuse_lists(frame: pl.LazyFrame, chosen: Mapping[str, int], url: str) -> None:
    for wanted, position in chosen.items():
        name, kind = list(frame.collect_schema().items())[position]
        if kind.is_nested():
            raise DatasetError(
                f"{display(url)}, column {name}", expected=f"one {wanted} in each row", found=f"values of type {kind}",
                action="Give the columns to use: `columns` path=NAME,label=NAME",
            )  # fmt: skip


def _warn_of_unused(names: Sequence[str], chosen: Mapping[str, int], url: str) -> None:
    """Warn if no column of labels is known but other columns remain: one of them may hold labels."""
    others = [name for position, name in enumerate(names) if position not in chosen.values() and name.strip()]
    if others and "label" not in chosen:
        message = (
            f"{display(url)}: none of the columns {', '.join(others[:6])} is known to hold labels; the images have no "
            f"class. If one of them does, name it: `columns` path={names[chosen['path']]},label=NAME"
        )
        warnings.warn(shown(message), LabelsWarning, stacklevel=2)
