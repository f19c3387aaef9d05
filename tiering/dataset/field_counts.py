"""The fields that a dataset has, how many of its images have each, and how their values are spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from tiering.dataset.distributions import Distribution, ValueSample
from tiering.literals import FieldKind
from tiering.sources.cell_kinds import CellKind
from tiering.sources.fields import place_column, value_column
from tiering.sources.found_field import FoundField
from tiering.units import format_bytes, format_number

#: The kinds whose values are numbers.
NUMBERS: Final = ("integer", "float")

#: Integers from here on are shown with four digits and an exponent.
_LONG: Final = 1e12


class ProfiledField(BaseModel):
    """A field of the samples of a dataset."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: FieldKind
    count: int = Field(description="images that have a value; an estimate if the profile is sampled")
    suffix: str = Field(default="", description="of the value's file beside an image: mask.png")
    distribution: Distribution | None = Field(
        default=None,
        description="of the values, for integers and floats, else of their sizes in bytes (of text, the bytes of its "
        "UTF-8); null for vectors, and for numbers in files",
    )

    @property
    def numeric(self) -> bool:
        """Whether the distribution is of the values themselves, not of their sizes."""
        return self.kind in NUMBERS

    def shown(self, value: float) -> str:
        """Return a value of the distribution as text: a number, or a size with its unit."""
        if not self.numeric:
            return format_bytes(value)
        return f"{value:,.0f}" if self.kind == "integer" and abs(value) < _LONG else format_number(value)


class FieldCounts:
    """Counts the fields in the frames of a source. seed: of the samples of values."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._counts: Counter[str] = Counter()
        self._cells: dict[str, CellKind] = {}
        self._numbers: dict[str, ValueSample] = {}
        self._sizes: dict[str, ValueSample] = {}

    def add(self, frame: pl.DataFrame, fields: Mapping[str, FoundField]) -> None:
        """Count the fields of some samples. fields: those announced so far, by name."""
        for name, found in fields.items():
            if (column := place_column(name, "key")) in frame:
                self._counts[name] += frame[column].count()
                # Files are not read, so of numbers in files only the sizes would be known.
                if found.kind not in (*NUMBERS, "vector"):
                    there = frame.filter(pl.col(column).is_not_null())
                    self._add(self._sizes, name, there[place_column(name, "size")])
            elif (column := value_column(name)) in frame:
                values = frame[column].drop_nulls()
                self._counts[name] += len(values)
                if found.kind == "cell":
                    self._cells.setdefault(name, CellKind()).update(values)
                if found.kind in ("cell", *NUMBERS):
                    self._add(self._numbers, name, values.cast(pl.String, strict=False).cast(pl.Float64, strict=False))
                if found.kind not in (*NUMBERS, "vector"):
                    self._add(self._sizes, name, values.bin.size())

    def found(self, fields: Iterable[FoundField]) -> list[ProfiledField]:
        """Return the fields with their counts and distributions."""
        return [self._field(each) for each in fields]

    def _field(self, found: FoundField) -> ProfiledField:
        kind = self._cells.get(found.name, CellKind()).kind if found.kind == "cell" else found.kind
        samples = self._numbers if kind in NUMBERS else self._sizes
        sample = samples.get(found.name)
        return ProfiledField(
            name=found.name,
            kind=kind,
            count=self._counts[found.name],
            suffix=found.suffix,
            distribution=sample.distribution(whole=kind != "float") if sample is not None else None,
        )

    def _add(self, samples: dict[str, ValueSample], name: str, values: pl.Series) -> None:
        numbers = values.drop_nulls().cast(pl.Float64).to_numpy()
        samples.setdefault(name, ValueSample(self._seed)).add(numbers)
