"""The kind of a column of a table, by the text of its cells: integers, floats, or strings.

A number that starts with a zero, or that is too long to be exact, is an identifier: the column is then of strings.
"""

from __future__ import annotations

from typing import Final, Literal

import polars as pl

_INTEGER: Final = r"^-?(?:0|[1-9][0-9]{0,17})$"
#: An integer that a float cannot hold exactly.
_LONG: Final = r"^-?[0-9]{16,}$"
_WHOLE: Final = "(?:0|[1-9][0-9]*)"
_FLOAT: Final = rf"^[+-]?(?:{_WHOLE}|{_WHOLE}?\.[0-9]+|{_WHOLE}\.)(?:[eE][+-]?[0-9]{{1,3}})?$"
_NOT_FINITE: Final = r"(?i)^[+-]?(?:nan|inf(?:inity)?)$"


class CellKind:
    """What the cells of a column are, as far as they have been seen.

    Attributes:
        empty: Whether some cells are empty. An empty cell is no number, but a string.
    """

    def __init__(self) -> None:
        self.empty = False
        self._any = False
        self._integers = self._floats = True
        self._long = False

    @property
    def kind(self) -> Literal["integer", "float", "string"]:
        """The kind that fits all cells; that of a column of empty cells is "string"."""
        if self._any and self._integers:
            return "integer"
        return "float" if self._any and self._floats and not self._long else "string"

    @property
    def settled(self) -> bool:
        """Whether it is a string, whatever further cells hold."""
        return self._any and not (self._integers or self._floats)

    def update(self, cells: pl.Series) -> None:
        """Look at some cells. cells: Binary, UTF-8; null cells do not count."""
        texts = cells.drop_nulls().cast(pl.String)
        there = texts.filter(texts != "")
        self.empty |= len(there) < len(texts)
        self._any |= len(there) > 0
        self._long |= bool(there.str.contains(_LONG).any())
        if self._integers:
            self._integers = bool(there.str.contains(_INTEGER).all())
        if self._floats and not self._integers:
            finite = there.str.contains(_FLOAT)
            self._floats = bool((finite | there.str.contains(_NOT_FINITE) | there.str.contains(_INTEGER)).all())
