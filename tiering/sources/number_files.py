"""Files beside images whose endings promise numbers (.id, .index, .cls), and the text that they may hold instead.

If all files of a field hold numbers, it is a field of numbers; otherwise it is one of strings. So the kind of the field
is known when all its files have been read. Unlike in cells of tables, 007 is a number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from tiering.text import display

#: The longest file that may hold a number, and the most bytes of a class's name.
LONGEST_NUMBER: Final = 512
LONGEST_CLASS: Final = 4096


def as_cells(files: Iterable[bytes]) -> pl.Series:
    """Return the contents of files as cells of a table, whose kind CellKind finds: Binary.

    The text around a number and the zeros before it are no part of it.
    """
    texts = pl.Series([data.decode("utf-8", "replace").strip() for data in files], dtype=pl.String)
    return texts.str.replace(r"^\+", "").str.replace(r"^(-?)0+([0-9])", "${1}${2}").cast(pl.Binary)


def class_of_text(data: bytes) -> str | None:
    """Return the class that a .cls file names, as a WebDataset has it; None for an empty file. data: its contents."""
    return display(data[:LONGEST_CLASS]).strip() or None
