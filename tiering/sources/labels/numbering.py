"""Number the classes and splits of many samples, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy.typing as npt

from tiering.arrays import IndexArray, row_parts
from tiering.errors import DatasetError
from tiering.sources.labels.annotations import FolderLabels
from tiering.sources.labels.classes import MOST_CLASSES, NONE, ClassMap
from tiering.text import display

#: Up to this many samples, keys are cut out of their column once for both passes.
_ONE_PART: Final = 1 << 16

#: Returns the keys of some rows.
Keys = Callable[[IndexArray], list[bytes]]


@dataclass(frozen=True, slots=True)
class ClassNumbering:
    """An existing class map by which a source is numbered.

    grows: whether missing classes are added or refused. by_number: whether a table may name classes by number although
    the names of the map are digits too.
    """

    classes: ClassMap
    grows: bool = False
    by_number: bool = True

    def number(self, labels: list[str], where: str, *, folders: bool = False) -> tuple[ClassMap, dict[str, int]]:
        """Return the class map and the number of each label of a source. folders: the labels are names of folders."""
        if not (folders or self.by_number):
            self.classes.refuse_doubtful(labels, where)
        if self.grows:
            return self.classes.grown(labels, where, folders=folders)
        return self.classes, self.classes.takes(labels, where, folders=folders)


def split_order(names: Iterable[str]) -> list[str]:
    """Return the names of splits in the order of their numbers: bytewise, or by value if all are numbers, as folds."""
    ordered = sorted(names, key=lambda name: name.encode("utf-8", "surrogateescape"))
    if all(name.isascii() and name.isdigit() for name in ordered):
        ordered.sort(key=int)
    return ordered


def number_folders(
    class_labels: FolderLabels,
    keys: Keys,
    n: int,
    columns: dict[str, npt.NDArray[Any]],
    numbering: ClassNumbering | None,
    where: str,
) -> tuple[ClassMap, list[str]]:
    """Number the classes and splits that folders define, and write them into columns that contain -1.

    columns: label (int32) and split (int8), or label alone, of shape (n,), writable.
    """
    found: dict[str, set[bytes]] = {"label": set(), "split": set()}
    parts = [(rows, keys(rows)) for rows in row_parts(n)] if n <= _ONE_PART else None
    for _, here in parts or ((rows, keys(rows)) for rows in row_parts(n)):
        for name, names_here in zip(found, class_labels.names_of(here), strict=True):
            found[name].update(each for each in names_here if each is not None)
        if len(found["label"]) > MOST_CLASSES:
            raise DatasetError(
                where, found=f"more than {MOST_CLASSES:,} class folders",
                action="Put the images of a class into one folder, or list them in a table.",
            )  # fmt: skip
    # Sorted by bytes, as in torchvision's ImageFolder. Names that are not UTF-8 may look equal and still differ.
    names = {name: sorted(values) for name, values in found.items()}
    shown = {name: [display(each) for each in values] for name, values in names.items()}
    classes = ClassMap.counted(shown["label"])
    numbers_of = {name: {each: number for number, each in enumerate(values)} for name, values in names.items()}
    if numbering and numbering.classes.names:
        classes, numbers = numbering.number(list(dict.fromkeys(shown["label"])), where, folders=True)
        numbers_of["label"] = {each: numbers[display(each)] for each in names["label"]}
    if not any(numbers_of.values()):
        return classes, shown["split"]
    for rows, here in parts or ((rows, keys(rows)) for rows in row_parts(n)):
        for name, values in zip(numbers_of, class_labels.of(here), strict=True):
            if name in columns and numbers_of[name]:
                columns[name][rows] = [NONE if value is None else numbers_of[name][value] for value in values]
    return classes, shown["split"]
