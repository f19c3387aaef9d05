"""Fields of samples from the columns of a table: which columns become fields, and of which kind."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

import numpy as np
import polars as pl

from tiering.errors import UsageError
from tiering.images.npy import npy_document
from tiering.literals import FieldKind
from tiering.sources.described_columns import TableDescription
from tiering.sources.fields import FIELD_NAME, FieldsWarning, FoundField, field_name, value_column
from tiering.sources.tables.column_names import SPELLINGS
from tiering.storage.json_text import json_text
from tiering.text import shown
from tiering.units import counted

#: The kinds that a caller may give to a column: `mask:image=mask_path`.
KINDS: Final = ("cell", "integer", "float", "string", "json", "image", "vector", "bytes", "array")

#: Kinds whose values are in files that the cells name. Only columns of bytes hold the values themselves.
IN_FILES: Final = ("image", "bytes", "array")

#: What every value of a nested column is: a JSON document, the dtype of lists of numbers of one length ("<f4"), or ""
#: for text, some of which is JSON.
Nested = Mapping[str, str]

JSON: Final = "json"


@dataclass(frozen=True, slots=True)
class TableField:
    """A column that becomes a field.

    found: as announced, unless its cells turn out to be paths of images. position: of the column. nested: as in Nested,
    "" for plain values. guess: whether the cells decide if it is a column of images, because no kind was given.
    paths: whether the cells are paths of files that hold the values.
    """

    found: FoundField
    position: int
    nested: str = ""
    guess: bool = False
    paths: bool = False

    @property
    def column(self) -> str:
        """The name of the field's column in frames."""
        return value_column(self.found.name)

    def in_files(self, kind: FieldKind) -> TableField:
        """Return the field with cells that are paths of files with values of a kind."""
        return replace(self, found=replace(self.found, kind=kind), guess=False, paths=True)


def parted(wanted: str) -> tuple[str, str]:
    """Return the name of a field and its kind, "" if none is given: mask:image is the field mask, an image."""
    name, _, kind = wanted.partition(":")
    return ("path" if name == "image" and not kind else name), kind


def check_wanted(wanted: str) -> None:
    """Raise UsageError for the left side of FIELD=COLUMN if it is neither a column of samples nor a field."""
    name, kind = parted(wanted)
    if name in SPELLINGS and not kind:
        return
    if not FIELD_NAME.fullmatch(name) or name in ("image", "key", *SPELLINGS) or (kind and kind not in KINDS):
        raise UsageError(
            "columns",
            rule="must be FIELD=COLUMN, FIELD one of image, label, split, or a name of letters, digits, - and _, "
            f"with a kind if it is not clear ({', '.join(KINDS[1:])})",
            found=wanted, action="Type, for example: `columns` image=0,label=1,mask:image=2",
        )  # fmt: skip


def fields_of(
    names: Sequence[str], kinds: Mapping[str, pl.DataType], nested: Nested, chosen: Mapping[str, int], *, named: bool,
    where: str,
) -> list[TableField]:  # fmt: skip
    """Return the fields of a table. Warns of columns that are left out, if the caller named some.

    names: of all columns, in order. kinds: their types; empty for text. nested: of nested columns. chosen: positions of
    path, label and split, and of the fields that the caller named. named: whether the caller named columns.
    """
    found: list[TableField] = []
    if named:
        _warn_of_left_out(names, chosen, where)
        for wanted, position in chosen.items():
            name, kind = parted(wanted)
            if any(each.found.name.casefold() == name.casefold() for each in found):
                raise UsageError(
                    "columns", expected="names of fields that differ in more than upper and lower case", found=wanted,
                    action="Give one of the two another name.",
                )  # fmt: skip
            if name not in SPELLINGS:
                found.append(_field(name, kind, names[position], position, kinds, nested))
        return found
    for position, column in enumerate(names):
        if position not in chosen.values():
            name = field_name(column or f"column {position}", (each.found.name for each in found))
            found.append(_field(name, "", column, position, kinds, nested))
    return found


def described_fields(description: TableDescription, names: Sequence[str]) -> list[TableField]:
    """Return the fields of a table that describes itself. names: of its columns, in order."""
    return [
        TableField(each.found, names.index(each.column), each.dtype, paths=each.paths) for each in description.fields
    ]


def _field(
    name: str, kind: str, column: str, position: int, kinds: Mapping[str, pl.DataType], nested: Nested
) -> TableField:
    described = "" if name == column else f"column {column}"
    holds = nested.get(column, "")
    known = cast("FieldKind", kind) if kind else _kind_of(kinds.get(column), holds)
    guess = not kind and known in ("cell", "string")
    paths = kind in IN_FILES and not holds and kinds.get(column) != pl.Binary
    return TableField(FoundField(name, known, description=described), position, holds, guess, paths)


def _kind_of(kind: pl.DataType | None, nested: str) -> FieldKind | Literal["cell"]:
    if nested:
        return "json" if nested == JSON else "vector"
    if kind is None:
        return "cell"
    if kind.is_integer() or kind == pl.Boolean:
        return "integer"
    if kind.is_float():
        return "float"
    return "bytes" if kind == pl.Binary else "string"


def values_of(field: TableField, column: str, kind: pl.DataType | None, *, spaced: bool) -> pl.Expr:
    """Return the expression of a field's values: text or bytes, and nested values as they are.

    kind: type of the column; None for text. spaced: whether a blank follows each separator.
    """
    value = pl.col(column)
    if kind == pl.Boolean:
        value = value.cast(pl.Int8)
    elif kind is not None and kind.is_float():
        # The text of a float64 is exact; that of a float32 is not the number that it stands for.
        value = value.cast(pl.Float64)
    if kind != pl.Binary and not (kind is not None and kind.is_nested()):
        value = value.cast(pl.String)
        value = value.str.strip_chars_start(" ") if spaced else value
    if kind is None and field.found.kind in ("cell", "integer", "float"):
        value = pl.when(value != "").then(value)
    return value.alias(field.column)


def as_bytes(field: TableField, values: pl.Series) -> pl.Series:
    """Return the values of a field as frames hold them: bytes."""
    if not field.nested:
        return values.cast(pl.Binary)
    given: Iterable[Any] = values.to_list()
    if field.nested == JSON:
        texts = given if values.dtype == pl.String else (None if each is None else json_text(each) for each in given)
        return pl.Series(values.name, [None if text is None else text.encode() for text in texts], pl.Binary)
    lists = (json.loads(each) if isinstance(each, str) else each for each in given)
    return pl.Series(
        values.name, [None if each is None else npy_document(np.array(each, field.nested)) for each in lists], pl.Binary
    )


def nested_columns(frames: Sequence[pl.LazyFrame]) -> dict[str, str]:
    """Return what the nested columns of tables with types hold, as in Nested. All tables have the same columns.

    Lists are read once, because only their lengths show whether all have the same.
    """
    schema = frames[0].collect_schema()
    found = {name: JSON for name, kind in schema.items() if kind.is_nested()}
    lists = {
        name: dtype for name, kind in schema.items() if isinstance(kind, pl.Array | pl.List) and (dtype := _dtype(kind))
    }
    lengths: dict[str, set[int | None]] = {name: set() for name in lists}
    for frame in frames if lists else ():
        there = frame.collect_schema()
        each = [_length(pl.col(name), there[name]).alias(name) for name in lists if there.get(name) == schema[name]]
        for name, length in (frame.select(each).collect().row(0, named=True) if each else {}).items():
            lengths[name].add(length)
    return found | {name: lists[name] for name, those in lengths.items() if len(those) == 1 and those != {None}}


def _length(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return the length that all lists have; null if they differ, or if a number is missing."""
    if isinstance(kind, pl.Array):
        full = column.arr.explode().null_count() == column.null_count() if len(kind.shape) == 1 else pl.lit(value=True)
        return pl.when(full & column.is_not_null().any()).then(pl.lit(kind.shape[0]))
    lengths = column.list.len()
    gaps = column.list.eval(pl.element().is_null().any()).list.first().any().fill_null(value=False)
    return pl.when((lengths.min() == lengths.max()) & (lengths.min() > 0) & ~gaps).then(lengths.min())


def _dtype(kind: pl.Array | pl.List) -> str | None:
    """Return the dtype of lists of numbers, None for lists of anything else."""
    inner: Any = kind.inner
    while isinstance(kind, pl.Array) and isinstance(inner, pl.Array):
        inner = inner.inner
    named = {
        pl.Int8: "|i1", pl.Int16: "<i2", pl.Int32: "<i4", pl.Int64: "<i8", pl.UInt8: "|u1", pl.UInt16: "<u2",
        pl.UInt32: "<u4", pl.UInt64: "<u8", pl.Float32: "<f4", pl.Float64: "<f8",
    }  # fmt: skip
    return next((dtype for each, dtype in named.items() if inner == each), None)


def _warn_of_left_out(names: Sequence[str], chosen: Mapping[str, int], where: str) -> None:
    left = [name or f"number {at}" for at, name in enumerate(names) if at not in chosen.values()]
    if left:
        several = f"{counted(len(left), 'column')} {'is' if len(left) == 1 else 'are'}"
        listed = ", ".join(left[:10]) + (", ..." if len(left) > 10 else "")
        message = f"{where}: {several} left out, because `columns` does not name them: {listed}."
        warnings.warn(shown(message), FieldsWarning, stacklevel=2)
