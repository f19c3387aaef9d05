"""The schema of a store: the named fields that every sample has beside its image and its key.

A number or a vector is a column of the index. Values of other kinds lie end to end in one file for each shard, a run of
bytes, and three columns of the index tell where each value is. So reading one field never reads another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic import Field as Limits

from tiering.images.npy import parse_npy
from tiering.literals import FieldKind
from tiering.sources.found_field import FoundField

#: Sums of such numbers fit into 64 bits, and doubles represent them exactly.
MOST_COUNT: Final = 1 << 53
Count = Annotated[int, Limits(ge=0, le=MOST_COUNT)]
Crc = Annotated[int, Limits(ge=0, lt=1 << 32)]

#: Kinds whose values are numbers of one type and shape. The values of all others are bytes.
NUMERIC: Final = frozenset({"integer", "float", "vector"})

#: Types of numbers, little-endian where that matters.
DTYPES: Final = frozenset({"|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8"})

#: Types of the numbers that sources give as text.
_DTYPES: Final = {"integer": "<i8", "float": "<f8"}

#: The most numbers in a vector: 128 MiB of doubles.
_MOST_NUMBERS: Final = 1 << 24

_NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"


class Frozen(BaseModel):
    """A part of the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldFile(Frozen):
    """The values of a field in one shard, as a one-dimensional Zarr array."""

    generation: int = Limits(ge=1, le=10**9, description="of the store, in which the file was written")
    bytes: Count = Limits(description="size of the file")
    crc32c: Crc = Limits(description="CRC-32C of the file")
    chunk_bytes: Count = Limits(description="bytes of one Zarr chunk", ge=1)
    chunks: Count = Limits(description="chunks of the array", ge=1)


class Field(Frozen):
    """A field of the samples of a store."""

    name: Annotated[str, StringConstraints(pattern=_NAME)]
    kind: FieldKind
    dtype: str = Limits(default="", description="type of the numbers, as NumPy writes it: <i8")
    shape: list[Annotated[int, Limits(ge=0, le=_MOST_NUMBERS)]] = Limits(default=[], description="of a vector")
    nullable: bool = Limits(default=False, description="some samples have no value")
    description: str = ""
    suffix: str = Limits(default="", description="of the value's file beside an image: mask.png")
    files: list[FieldFile | None] = Limits(
        default=[], description="of each shard; null where no sample has a value of any bytes; empty for numbers"
    )

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers, in a column of the index."""
        return self.kind in NUMERIC


class Column(NamedTuple):
    """A column of the index. dtype: of its elements. shape: of one row."""

    dtype: str
    shape: tuple[int, ...] = ()


#: Endings of the names of a field's columns: whether there is a value, and the place of a run of bytes.
VALID, OFFSET, SIZE, CRC = ".valid", ".offset", ".size", ".crc32c"

#: The field that every store has: the number of the sample's class, -1 for none.
LABEL: Final = Field(name="label", kind="integer", dtype="<i4", description="number of the class; -1 for none")

#: The fields that each re-encoded sample has: what it was made from.
ORIGINAL_BYTES, ORIGINAL_CRC = "original_bytes", "original_crc32c"
ORIGINAL: Final = (
    Field(name="original_width", kind="integer", dtype="<i4", description="pixels of the upright original"),
    Field(name="original_height", kind="integer", dtype="<i4", description="pixels of the upright original"),
    Field(name=ORIGINAL_BYTES, kind="integer", dtype="<i8", description="size of the original file"),
    Field(name=ORIGINAL_CRC, kind="integer", dtype="<u4", description="CRC-32C of the original file"),
)


def new_field(found: FoundField, kind: FieldKind, *, nullable: bool, first: bytes = b"") -> Field:
    """Return the schema of a field that a source has.

    Args:
        found: As the source announced it.
        kind: Of its values; that of cells is known once all have been seen.
        nullable: Whether some samples have no value.
        first: A value of a vector, which has their type and shape; without one, vectors are of one number.
    """
    dtype, shape = _DTYPES.get(kind, ""), list[int]()
    if kind == "vector":
        vector = parse_npy(first) if first else np.zeros(1)
        dtype, shape = vector.dtype.newbyteorder("<").str, list(vector.shape)
    return Field(
        name=found.name, kind=kind, dtype=dtype, shape=shape, suffix=found.suffix, description=found.description,
        nullable=nullable,
    )  # fmt: skip


def columns_of(field: Field) -> dict[str, Column]:
    """Return the columns that a field has in the index, by name.

    Example: a nullable integer field `score` has `score` and `score.valid`; a string field `caption` has
    `caption.offset` (-1 for no value), `caption.size` and `caption.crc32c`.
    """
    if field.numeric:
        own = {field.name: Column(field.dtype, tuple(field.shape))}
        return own | ({field.name + VALID: Column("|u1")} if field.nullable else {})
    return {field.name + OFFSET: Column("<i8"), field.name + SIZE: Column("<i8"), field.name + CRC: Column("<u4")}


def columns_of_all(fields: Iterable[Field]) -> dict[str, Column]:
    """Return the columns that some fields have in the index, by name."""
    return {name: column for field in fields for name, column in columns_of(field).items()}


def schema_of(fields: Iterable[Field]) -> Mapping[str, Field]:
    """Return the schema of a store by name, with the label first."""
    return {field.name: field for field in (LABEL, *fields)}


def wrong_fields(fields: list[Field], shards: int) -> Iterator[str]:
    """Yield the contradictions in the fields of a manifest. shards: how many the store has."""
    if len({field.name.casefold() for field in fields} | {LABEL.name}) <= len(fields):
        yield "fields: names that differ in more than upper and lower case, and are not label"
    for field in fields:
        where = f"fields.{field.name}"
        if field.numeric != (field.dtype in DTYPES) or (field.dtype and not field.numeric):
            yield f"{where}.dtype: {'a type of numbers' if field.numeric else 'none'}, found {field.dtype!r}"
            return
        is_float = field.numeric and np.dtype(field.dtype).kind == "f"
        if field.kind == ("integer" if is_float else "float"):
            yield f"{where}.dtype: one for {field.kind}, found {field.dtype!r}"
        if (field.kind != "vector" and field.shape) or math.prod(field.shape) > _MOST_NUMBERS:
            yield f"{where}.shape: of at most {_MOST_NUMBERS:,} numbers, and of a vector only, found {field.shape}"
        if len(field.files) != (0 if field.numeric else shards):
            yield f"{where}.files: one for each shard, and none for numbers, found {len(field.files):,}"
