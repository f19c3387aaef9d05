"""What a Parquet table that `tiering export` wrote says about its columns, so that they become the same fields again.

Types of Parquet do not tell JSON from text, nor paths of files from names. The description lies in the table's metadata
under the name "tiering". Other programs ignore it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

import polars as pl
from polars.exceptions import PanicException, PolarsError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tiering.literals import FieldKind
from tiering.sources.found_field import FIELD_NAME, FoundField

_KEY: Final = "tiering"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DescribedColumn(_Part):
    """A column that is a field."""

    column: str
    name: Annotated[str, StringConstraints(pattern=rf"^{FIELD_NAME.pattern}$")]
    kind: FieldKind
    dtype: str = Field(default="", pattern=r"^([<|][iuf][1248])?$", description="of the numbers of a vector")
    suffix: str = ""
    description: str = ""
    paths: bool = Field(default=False, description="the cells are paths of files that hold the values")

    @property
    def found(self) -> FoundField:
        """The field as a source announces it."""
        return FoundField(self.name, self.kind, self.suffix, self.description)


class TableDescription(_Part):
    """The columns of a table: that of the images or their paths, those of labels and splits, and the fields."""

    version: Literal[1] = 1
    image: str
    label: str | None = None
    split: str | None = Field(default=None, description="column of the names of splits")
    whole_split: str = Field(default="", description="the split of all rows, if there is no such column")
    fields: tuple[DescribedColumn, ...] = ()

    @property
    def metadata(self) -> dict[str, str]:
        """The description as metadata of a Parquet file."""
        return {_KEY: self.model_dump_json(exclude_defaults=True)}

    def fits(self, columns: Iterable[str]) -> bool:
        """Return whether a table has all columns that are described, each of them once."""
        named = [self.image, *(each for each in (self.label, self.split) if each is not None)]
        named += [field.column for field in self.fields]
        names = {field.name.casefold() for field in self.fields}
        return set(named) <= set(columns) and len(set(named)) == len(named) and len(names) == len(self.fields)


def description_of(path: Path) -> TableDescription | None:
    """Return the description of a local Parquet file; None if it has none, or one that does not fit it."""
    try:
        text = pl.read_parquet_metadata(path).get(_KEY)
        found = None if text is None else TableDescription.model_validate_json(text)
        return found if found and found.fits(pl.read_parquet_schema(path)) else None
    except (PolarsError, PanicException, ValidationError, OSError):
        return None
