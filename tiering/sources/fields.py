"""Fields of samples as a source yields them: further columns of its frames.

A source announces each field once with `Ledger.add_field`, before the first frame that has it. A frame holds a field in
one of two forms:

- values, in one column: `field:NAME` (Binary);
- places in files, in five columns: `field:NAME:key` (Binary, path below Source.base), `field:NAME:size`,
  `field:NAME:version` (Int64), `field:NAME:file` (Int32, number in Source.files; -1 for a file of its own), and
  `field:NAME:offset` (Int64).

A value or key of null is missing. A field that a frame lacks is missing in all its rows. Values are bytes: the text of
a number, the text of a cell, or the contents of a file as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import polars as pl

from tiering.sources.found_field import FIELD_NAME, RESERVED, FoundField

__all__ = [
    "FIELD_NAME",
    "PLACE",
    "RESERVED",
    "FieldsWarning",
    "FoundField",
    "field_name",
    "is_field_column",
    "place_column",
    "value_column",
]

#: The parts of a place, with their types.
PLACE: Final = {
    "key": pl.Binary,
    "size": pl.Int64,
    "version": pl.Int64,
    "file": pl.Int32,
    "offset": pl.Int64,
}

_PREFIX: Final = "field:"


class FieldsWarning(UserWarning):
    """Something that a source has does not become a field."""


def value_column(name: str) -> str:
    """Return the name of the column that holds the values of a field."""
    return f"{_PREFIX}{name}"


def place_column(name: str, part: str) -> str:
    """Return the name of the column that holds one part of the places of a field. part: a key of PLACE."""
    return f"{_PREFIX}{name}:{part}"


def is_field_column(column: str) -> bool:
    """Return whether a column of a frame belongs to a field."""
    return column.startswith(_PREFIX)


def field_name(text: str, taken: Iterable[str] = ()) -> str:
    """Return a name for a field like a text, different from the names that are taken in more than upper and lower case.

    Characters that a name may not have become "_".

    Example: `field_name("Image Quality (1-5)")` returns "Image_Quality_1-5".
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")[:60] or "field"
    used = {name.casefold() for name in (*taken, *RESERVED)}
    names = (f"{plain}_{number}" if number else plain for number in (0, *range(2, len(used) + 3)))
    return next(name for name in names if name.casefold() not in used)
