"""The rows of a table's file: path, label and split as text, and fields, for every format and dialect."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from tiering.errors import DatasetError
from tiering.sources.described_columns import TableDescription, description_of
from tiering.sources.labels.classes import LabelsWarning
from tiering.sources.packed_datasets import PackedDataset, already_packed, holds_images
from tiering.sources.tables.column_names import SPELLINGS, recognised
from tiering.sources.tables.dialects import BLANKS, HEAD, Dialect, as_utf8, choose, dialect_of, no_paths
from tiering.sources.tables.json_lines import json_columns, json_rows
from tiering.sources.tables.table_fields import TableField, described_fields, fields_of, nested_columns, values_of
from tiering.sources.trees.walk import BATCH
from tiering.storage.urls import name_of
from tiering.text import display, shown

#: Matches paths that are not below the table's root, or are no paths.
_OUTSIDE: Final = r"^/|://|(^|/)\.\.(/|$)|\x00"

#: Replaces runs of blanks as the separator of fields.
_UNIT: Final = "\x1f"


@dataclass(frozen=True, slots=True)
class Table:
    """An open table.

    rows: reads it once more, in frames with the columns path, label and split as text, and those of the fields. where:
    its name for errors.
    """

    rows: Callable[[], Iterator[pl.DataFrame]]
    where: str
    fields: tuple[TableField, ...] = ()

    def batches(self, base: str) -> Iterator[pl.DataFrame]:
        """Yield the columns key, label and split, and those of the fields. Keys are relative to the base."""
        row = 1
        relative = _below(pl.col("path"), base)
        clean = cleaned(pl.col("path"), base)
        columns = [field.column for field in self.fields]
        for frame in self.rows():
            named = frame.with_columns(key=clean, relative=relative)
            self._check(named, base, row)
            row += len(frame)
            # Many CSV files end with an empty line.
            yield from (
                named.filter(pl.col("path").is_not_null()).select("key", "label", "split", *columns).iter_slices(BATCH)
            )

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


def cleaned(path: pl.Expr, base: str) -> pl.Expr:
    """Return paths relative to a directory, without . and empty parts."""
    return _below(path, base).str.replace_all(r"/(\./|/)+", "/").str.replace(r"^(\./)+", "")


def _below(path: pl.Expr, base: str) -> pl.Expr:
    for root in [base] if "://" in base else dict.fromkeys((base, os.path.realpath(base))):
        path = path.str.strip_prefix(root.rstrip("/") + "/")
    return path


def is_outside(key: pl.Expr) -> pl.Expr:
    """Return whether cleaned paths lead out of their directory, or are no paths."""
    return key.str.contains(_OUTSIDE) | (key == "")


@contextmanager
def opened(path: Path, url: str, columns: Mapping[str, str]) -> Iterator[Table]:
    """Open the columns path, label and split of a table.

    path: a file on this machine. url: its name in errors. columns: as in TableForm.
    Raises DatasetError if there is no column of paths, or the table itself contains images; UsageError for a column
    that does not exist.
    """
    extension = path.suffix.lower()
    where = display(url)
    if extension in (".jsonl", ".ndjson"):
        found = json_columns(path)
        names = list(found)
        nested = {name: kind for name, kind in found.items() if kind is not None}
        chosen, fields = _typed(names, {}, nested, columns, where)
        named = _named(names, {}, chosen, fields, spaced=False, in_text=False)
        yield Table(lambda: (raw.select(named) for raw in json_rows(path, names, where)), where, tuple(fields))
    elif extension == ".parquet":
        if holds_images(path):
            raise already_packed(where, PackedDataset("parquet", (name_of(url),)))
        frame = pl.scan_parquet(path, glob=False)
        kinds = frame.collect_schema()
        if not columns and (description := description_of(path)):
            chosen, fields = _described(description, kinds.names())
        else:
            chosen, fields = _typed(kinds.names(), kinds, nested_columns([frame]), columns, where)
        frame = frame.select(_named(kinds.names(), kinds, chosen, fields, spaced=False, in_text=False))
        yield Table(lambda: frame.collect_batches(chunk_size=BATCH), where, tuple(fields))
    else:
        with as_utf8(path) as text:
            yield _in_text(text, columns, where)


def _described(description: TableDescription, names: list[str]) -> tuple[Mapping[str, int], list[TableField]]:
    """Return what _typed returns, for a table that tiering wrote."""
    columns = {"path": description.image, "label": description.label, "split": description.split}
    chosen = {wanted: names.index(column) for wanted, column in columns.items() if column is not None}
    return chosen, described_fields(description, names)


def _typed(
    names: list[str],
    kinds: Mapping[str, pl.DataType],
    nested: Mapping[str, str],
    columns: Mapping[str, str],
    where: str,
) -> tuple[Mapping[str, int], list[TableField]]:
    """Return the positions of path, label and split, and the fields, of a table that may have nested values."""
    if columns:
        chosen = choose(names, columns, where)
    else:
        # Several classes of one image are a field, and no label.
        chosen = {name: at for name, at in recognised(names).items() if name == "path" or not nested.get(names[at])}
    if "path" not in chosen:
        raise no_paths(where, names)
    _refuse_lists(names, nested, chosen, where)
    if not columns:
        _warn_of_unused(names, chosen, where)
    return chosen, fields_of(names, kinds, nested, chosen, named=bool(columns), where=where)


def _in_text(path: Path, columns: Mapping[str, str], where: str) -> Table:
    """Open a table in plain text: its first line decides how it is written."""
    with path.open("rb") as file:
        dialect = dialect_of(file.read(HEAD).decode("utf-8", "replace"), columns, where)
    frame = _blanks(path, dialect) if dialect.separator == BLANKS else _separated(path, dialect)
    if dialect.header and not columns:
        _warn_of_unused(dialect.names, dialect.chosen, where)
    names = frame.collect_schema().names()
    titles = dialect.names if dialect.header and len(dialect.names) == len(names) else names
    fields = fields_of(titles, {}, {}, dialect.chosen, named=bool(columns), where=where)
    named = frame.select(_named(names, {}, dialect.chosen, fields, spaced=dialect.spaced, in_text=True))
    return Table(lambda: named.collect_batches(chunk_size=BATCH), where, tuple(fields))


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
    names: list[str],
    kinds: Mapping[str, pl.DataType],
    chosen: Mapping[str, int],
    fields: Sequence[TableField],
    *,
    spaced: bool,
    in_text: bool,
) -> list[pl.Expr]:
    """Return the columns path, label and split, those of the fields, and whether a line is completely empty.

    kinds: the types of columns; empty for text. spaced: whether a blank follows each separator. in_text: whether lines
    may be empty.
    """
    columns = []
    for wanted in SPELLINGS:
        text = pl.lit(None, pl.String)
        if wanted in chosen:
            text = pl.col(names[chosen[wanted]]).cast(pl.String)
            # File names may start or end with a blank; names of classes and splits do not.
            if wanted != "path":
                text = text.str.strip_chars()
                text = pl.when(text != "").then(text)
            elif spaced:
                text = text.str.strip_chars_start(" ")
        columns.append(text.alias(wanted))
    for field in fields:
        name = names[field.position]
        columns.append(values_of(field, name, kinds.get(name), spaced=spaced))
    blank = pl.all_horizontal(pl.all().is_null()) if in_text else pl.lit(value=True)
    return [*columns, blank.alias("blank")]


def _refuse_lists(names: Sequence[str], nested: Mapping[str, str], chosen: Mapping[str, int], where: str) -> None:
    for wanted, position in chosen.items():
        if wanted in SPELLINGS and names[position] in nested:
            raise DatasetError(
                f"{where}, column {names[position]}", expected=f"one {wanted} in each row",
                found="lists or objects",
                action="Give the columns to use: `columns` path=NAME,label=NAME",
            )  # fmt: skip


def _warn_of_unused(names: Sequence[str], chosen: Mapping[str, int], where: str) -> None:
    """Warn if no column of labels is known but other columns remain: one of them may hold labels."""
    others = [name for position, name in enumerate(names) if position not in chosen.values() and name.strip()]
    if others and "label" not in chosen:
        message = (
            f"{where}: none of the columns {', '.join(others[:6])} is known to hold labels; the images have no "
            f"class. If one of them does, name it: `columns` path={names[chosen['path']]},label=NAME"
        )
        warnings.warn(shown(message), LabelsWarning, stacklevel=2)
