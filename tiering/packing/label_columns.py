"""Number labels and splits: provisionally while a source is listed, finally when all names are known."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.arrays import row_parts
from tiering.errors import DatasetError
from tiering.packing.listed_fields import ListedField
from tiering.sources.labels.classes import MOST_CLASSES, ClassMap, classes_of, whole_numbers
from tiering.sources.labels.numbering import ClassNumbering, split_order
from tiering.sources.number_files import class_of_text
from tiering.sources.source import Source

_MOST_SPLITS: Final = int(np.iinfo(np.int8).max)


class NumberedNames:
    """Numbers names in the order they come."""

    def __init__(self, what: str, where: str) -> None:
        self._what, self._where = what, where
        self._most = MOST_CLASSES if what == "label" else _MOST_SPLITS
        self._numbers: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._numbers)

    @property
    def names(self) -> list[str]:
        """The names in the order of their provisional numbers."""
        return list(self._numbers)

    def number(self, names: pl.Series) -> npt.NDArray[np.int32]:
        """Return the provisional number of each name, -1 for none."""
        if names.null_count() == len(names):
            return np.full(len(names), -1, dtype=np.int32)
        for name in names.drop_nulls().unique(maintain_order=True):
            self._numbers.setdefault(name, len(self._numbers))
        if len(self._numbers) > self._most:
            if self._what == "label":
                whole_numbers(self.names, self._where)  # raises a clearer error for measurements
            raise DatasetError(
                f"{self._where}, {self._what}s", found=f"more than {self._most:,} different names",
                action="Captions and measurements are no classes: pack them as a field, with a name of its own.",
            )  # fmt: skip
        codes = names.replace_strict(self._numbers, default=-1, return_dtype=pl.Int32)
        return codes.fill_null(-1).to_numpy().astype(np.int32)


def number_class_files(names: NumberedNames, files: ListedField, source: Source, path: Path, dtype: str) -> None:
    """Write the provisional numbers of the classes that .cls files name to a column on disk."""
    column = np.memmap(path, dtype=dtype, mode="r+")
    for rows in row_parts(len(column)):
        found = [class_of_text(data) if isinstance(data, bytes) else None for data in files.rows(rows).read(source)]
        column[rows] = names.number(pl.Series(found, dtype=pl.String))
    column.flush()


def number_labels(names: NumberedNames, path: Path, dtype: str, given: ClassNumbering | None, where: str) -> ClassMap:
    """Replace provisional numbers of labels by final ones in a column on disk, and return the classes."""
    if given is None or not given.classes.names_measurements(names.names):
        classes, numbers = classes_of(names.names, where)  # also refuses labels that are not classes
    if given:
        classes, numbers = given.number(names.names, where)
    if names:
        renumber(path, dtype, [numbers[name] for name in names.names])
    return classes


def number_splits(names: NumberedNames, path: Path, dtype: str) -> list[str]:
    """Replace provisional numbers of splits by final ones in a column on disk, and return the names in order."""
    ordered = split_order(names.names)
    number_of = {name: number for number, name in enumerate(ordered)}
    if ordered:
        renumber(path, dtype, [number_of[name] for name in names.names])
    return ordered


def renumber(path: Path, dtype: str, numbers: list[int]) -> None:
    """Replace number i by numbers[i] in a column on disk. -1 stays."""
    final = np.array([*numbers, -1], dtype=dtype)
    column = np.memmap(path, dtype=dtype, mode="r+")
    for rows in row_parts(len(column)):
        column[rows] = final[column[rows]]
    column.flush()
