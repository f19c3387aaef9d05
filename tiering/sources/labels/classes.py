"""Classes: their names, and the numbers with which their samples are served.

docs/formats.md states the rule. A class map from the user decides. Otherwise integers in a table or in `.cls` members
keep their values, and names, including those of folders, are sorted bytewise and numbered from 0, as torchvision's
ImageFolder does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tiering.errors import DatasetError
from tiering.text import first_few

#: The largest number of classes. More distinct names are captions, or targets of a regression.
MOST_CLASSES: Final = 1 << 20

#: The number of samples without a class. A source may contain it itself.
NONE: Final = -1

_LARGEST: Final = (1 << 31) - 1
_WHOLE: Final = re.compile(r"-?[0-9]+", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|NaN|NAN)", re.ASCII)
_SEVERAL: Final = re.compile(r"[,;|]")
_SHOWN: Final = 5


class LabelsWarning(UserWarning):
    """The labels of a source may not be the intended ones."""


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Names of classes in the order of their numbers, which ascend."""

    names: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def counted(cls, names: Iterable[str]) -> ClassMap:
        """Return the map that numbers names from 0 in their order."""
        named = tuple(names)
        return cls(named, tuple(range(len(named))))

    @property
    def own(self) -> bool:
        """Whether every name is its number written out, as integers of a table are."""
        return all(_WHOLE.fullmatch(name) and int(name) == number for name, number in self._pairs())

    def names_measurements(self, labels: Collection[str]) -> bool:
        """Return whether the map has labels that are no classes by themselves, such as 0.5, as old stores do."""
        names = set(self.names)
        return any(name in names and _values([name]) is None for name in labels)

    def takes(self, labels: Collection[str], where: str, *, folders: bool = False) -> dict[str, int]:
        """Return the number of each label of a source. Every label must be in this map.

        labels: names, or numbers if none of them is a name of the map. where: the name of the source in errors.
        folders: the labels are names of folders, which are never numbers.
        Raises DatasetError for a label that the map lacks.
        """
        known, missing = self._look_up(labels, folders)
        if missing:
            raise DatasetError(
                where,
                expected=f"classes of the map, which has {len(self):,} ({_some(self.names)})",
                found=f"{len(missing):,} that it lacks: {_some(sorted(missing))}",
                action="Add them to the map, or convert without `classes`.",
            )
        return known

    def grown(self, labels: Collection[str], where: str, *, folders: bool = False) -> tuple[ClassMap, dict[str, int]]:
        """Return this map with the missing labels added, and the number of each label of a source.

        labels, where, folders: as for `takes`. A new integer is its own number if all others are; new names are sorted
        and get the numbers after the largest.
        Raises DatasetError for integers that mean nothing in a map of names.
        """
        known, missing = self._look_up(labels, folders)
        if not missing:
            return self, known
        values = {} if folders else {name: value for name in missing if (value := _whole_number(name)) is not None}
        if not self.own and len(values) == len(labels):
            raise DatasetError(
                where,
                expected=f"names of classes, as the store has them ({_some(self.names)}), or their numbers",
                found=f"other numbers: {_some(sorted(values))}",
                action="Write the classes by name.",
            )
        named = {number: name for name, number in self._pairs()}
        if self.own:
            known |= values
            named |= _written(values)
        rest = sorted((name for name in missing if name not in known), key=_bytes)
        first = max(named, default=-1) + 1
        known |= {name: number for number, name in enumerate(rest, first)}
        return map_of(named | dict(enumerate(rest, first))), known

    def refuse_doubtful(self, labels: Collection[str], where: str) -> None:
        """Raise DatasetError for integers that may be names or numbers, because the map's names are digits too."""
        values = _values(labels)
        if values is None or self.own or not any(map(_WHOLE.fullmatch, self.names)):
            return
        unknown = [name for name, value in values.items() if value != NONE and name not in self.names]
        if unknown:
            raise DatasetError(
                where,
                expected=f"names of classes, as the store has them ({_some(self.names)})",
                found=f"integers that may be new names or numbers of classes: {_some(sorted(unknown))}",
                action="Write the classes by name, or append a folder for each class.",
            )

    def _look_up(self, labels: Collection[str], folders: bool) -> tuple[dict[str, int], list[str]]:
        """Return the number of each known label, and the labels that are unknown."""
        values = None if folders else _values(labels)
        if values is not None and (self.own or not set(labels) & set(self.names)):
            numbers = set(self.numbers)
            known = {name: value for name, value in values.items() if value == NONE or value in numbers}
        else:
            number_of = dict(self._pairs())
            known = {name: NONE for name, value in (values or {}).items() if value == NONE}
            known |= {name: number_of[name] for name in labels if name in number_of}
        return known, [name for name in labels if name not in known]

    def _pairs(self) -> Iterable[tuple[str, int]]:
        return zip(self.names, self.numbers, strict=True)


def classes_of(labels: Collection[str], where: str) -> tuple[ClassMap, dict[str, int]]:
    """Number the labels of a table or of `.cls` members. Return the class map and the number of each label.

    labels: the distinct labels, as text. Integers keep their values, -1 meaning no class. So do whole numbers with a
    decimal point (1.0), which pandas writes for integers in a column with missing values. Names are sorted bytewise.
    Raises DatasetError for integers below -1 or outside int32, and for measurements: other decimal numbers, which are
    no classes.
    """
    values = whole_numbers(labels, where)
    if values is None:
        known = ClassMap.counted(sorted(labels, key=_bytes))
        return known, dict(zip(known.names, known.numbers, strict=True))
    return map_of(_written(values)), values


def whole_numbers(labels: Collection[str], where: str) -> dict[str, int] | None:
    """Return the values of labels that are all integers; None if some are names.

    Raises DatasetError as classes_of does.
    """
    numbers = [name for name in labels if _NUMBER.fullmatch(name)]
    if len(numbers) < len(labels):
        _refuse_measurements(labels, numbers, where)
        return None
    if not labels:
        return None
    values = {name: _whole_number(name) for name in labels}
    for name, value in values.items():
        if value is None:
            raise measurements(where, name)
    found = {name: value for name, value in values.items() if value is not None}
    outside = [name for name, value in found.items() if not NONE <= value <= _LARGEST]
    if outside:
        raise DatasetError(
            where,
            expected=f"numbers of classes from 0 to {_LARGEST:,}, and -1 for none",
            found=_some(outside),
            action="Use other numbers for the classes, or their names.",
        )
    return found


def _refuse_measurements(labels: Collection[str], numbers: list[str], where: str) -> None:
    """Raise DatasetError for labels such as 0.5 and nan among names: they are neither classes nor names."""
    odd = next((name for name in numbers if not _WHOLE.fullmatch(name) and _whole_number(name) in (None, NONE)), None)
    if odd is None:
        return
    name = next(name for name in labels if not _NUMBER.fullmatch(name))
    raise DatasetError(
        where,
        expected="classes: names, or whole numbers",
        found=f"names such as {name!r} beside {odd!r}",
        action="Leave missing labels empty, and write the others as names.",
    )


def _values(labels: Collection[str]) -> dict[str, int] | None:
    """Return the values of labels that are all valid class numbers; None if some are anything else."""
    values = {
        name: value for name in labels if (value := _whole_number(name)) is not None and NONE <= value <= _LARGEST
    }
    return values if values and len(values) == len(labels) else None


def combined(classes: ClassMap) -> str:
    """Describe a name that looks like several classes of one image ("a,b" beside "b"); "" if there is none."""
    names = set(classes.names)
    for name in classes.names:
        parts = [part.strip() for part in _SEVERAL.split(name)]
        if len(parts) > 1 and names.intersection(parts):
            return (
                f"Labels such as {name!r} look like several classes of one image. A sample has one class: "
                "each combination is a class of its own. A table can keep them as a field instead: "
                "`columns` image=path,tags:string=label."
            )
    return ""


def measurements(where: str, example: str) -> DatasetError:
    """Return the error for labels that are decimal numbers."""
    return DatasetError(
        where,
        expected="classes: names or whole numbers",
        found=f"measurements as labels, such as {example}",
        action="Pack them as a field: give the column a name of its own, for example `columns` image=path,value=label.",
    )


def _written(values: Mapping[str, int]) -> dict[int, str]:
    """Return the name of each number: as written in the source, or in plain digits if written in two ways (7, 007)."""
    names: dict[int, str] = {}
    for name, value in values.items():
        names[value] = name if value not in names and _WHOLE.fullmatch(name) else str(value)
    names.pop(NONE, None)
    return names


def map_of(names: Mapping[int, str]) -> ClassMap:
    """Return a class map from the name of each number."""
    numbers = sorted(names)
    return ClassMap(tuple(names[number] for number in numbers), tuple(numbers))


def _whole_number(text: str) -> int | None:
    """Return the value of a whole number, -1 for "nan", None for anything else."""
    if _WHOLE.fullmatch(text):
        return int(text[:20])
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    if value != value:  # noqa: PLR0124 - NaN, which pandas writes for a missing value
        return NONE
    return int(value) if value.is_integer() else None


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _some(names: Collection[str]) -> str:
    return first_few(list(names), _SHOWN, separator=", ")
