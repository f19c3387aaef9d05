"""Fields as columns of a Parquet table: their types, and their values as a Polars series."""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
import polars as pl

from tiering.packing.exports.batches import FieldValues
from tiering.store.schema import Field

#: Types of numbers. Few programs read halves, and a float32 holds each of them.
_NUMBERS: Final[dict[str, pl.DataType]] = {
    "|i1": pl.Int8(), "<i2": pl.Int16(), "<i4": pl.Int32(), "<i8": pl.Int64(), "|u1": pl.UInt8(), "<u2": pl.UInt16(),
    "<u4": pl.UInt32(), "<u8": pl.UInt64(), "<f2": pl.Float32(), "<f4": pl.Float32(), "<f8": pl.Float64(),
}  # fmt: skip

#: An image as Hugging Face stores it.
IMAGE: Final = pl.Struct({"bytes": pl.Binary(), "path": pl.String()})


def number_type(dtype: str) -> pl.DataType:
    """Return the type of numbers. dtype: as NumPy writes it."""
    return _NUMBERS[dtype]


def type_of(field: Field) -> pl.DataType:
    """Return the type of a field's column. Vectors are lists of lists for each dimension."""
    if field.numeric:
        found = _NUMBERS[field.dtype]
        for _ in field.shape:
            found = pl.List(found)
        return found
    if field.kind == "image":
        return IMAGE
    return pl.String() if field.kind in ("string", "json") else pl.Binary()


def series_of(name: str, field: Field, values: FieldValues) -> pl.Series:
    """Return the values of a field as a column. Raises PolarsError for a text that is not UTF-8."""
    kind = type_of(field)
    if isinstance(values.values, np.ndarray):
        return _numbers(name, values.values, values.missing, kind)
    given = [None if each is None else bytes(each) for each in values.values]
    if field.kind == "image":
        return images_of(name, given, [None] * len(given))
    return pl.Series(name, given, pl.Binary).cast(kind)


def images_of(name: str, images: list[Any], paths: list[str | None]) -> pl.Series:
    """Return a column of images with their paths; null for no image."""
    data = pl.Series("bytes", images, pl.Binary)
    found = pl.DataFrame([data, pl.Series("path", paths, pl.String)]).to_struct(name)
    if not data.null_count():
        return found
    return pl.select(pl.when(data.is_not_null()).then(found).alias(name)).to_series()


def _numbers(name: str, numbers: Any, missing: Any, kind: pl.DataType) -> pl.Series:
    if numbers.dtype == np.float16:
        numbers = numbers.astype(np.float32)
    if numbers.ndim < 3 and numbers.size:
        found = pl.Series(name, np.ascontiguousarray(numbers)).cast(kind)
    else:
        found = pl.Series(name, cast("list[Any]", numbers.tolist()), kind)
    if missing is None or not missing.any():
        return found
    return pl.select(pl.when(pl.Series(~missing)).then(found).alias(name)).to_series()
