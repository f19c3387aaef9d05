"""The fields of several stores together: one schema, and values from whichever store a sample is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tiering.arrays import AnyArray, IndexArray, PixelArray
from tiering.errors import UsageError
from tiering.store.indices import as_indices, inside
from tiering.store.joined_index import JoinedColumn, parts_of
from tiering.store.protocol import Images, Store, StoreBase, Values
from tiering.store.sample import Buffer
from tiering.store.schema import LABEL, Field, schema_of

if TYPE_CHECKING:
    from tiering.store.concat import ConcatStore


def merged_fields(stores: Sequence[Store]) -> Mapping[str, Field]:
    """Return the fields of several stores, merged by name, with the label first.

    A field that a store lacks has no value there. Numbers get a type that holds those of all stores; integers beside
    floats become floats.
    Raises UsageError for fields of one name and different kinds, or vectors of different shapes.
    """
    names = dict.fromkeys(name for store in stores for name in store.fields if name != LABEL.name)
    return schema_of(_merged(name, stores) for name in names)


def _merged(name: str, stores: Sequence[Store]) -> Field:
    found = [(store.fields[name], store.location) for store in stores if name in store.fields]
    fields = [field for field, _ in found]
    first, where = found[0]
    for field, location in found:
        if _form(field) != _form(first):
            raise UsageError(
                f"field {name}", expected="one kind in all stores",
                found=f"{_described(first)} in {where} and {_described(field)} in {location}",
                action="Leave one of the stores out, or convert it again with another name for the field.",
            )  # fmt: skip
    nullable = len(found) < len(stores) or any(field.nullable for field in fields)
    changes = {"nullable": nullable, "files": []}
    if first.numeric:
        dtype = np.result_type(*(np.dtype(field.dtype) for field in fields))
        kind = "float" if first.kind == "integer" and dtype.kind == "f" else first.kind
        changes |= {"dtype": dtype.str, "kind": kind}
    return first.model_copy(update=changes)


def _form(field: Field) -> str:
    """Return in what the fields of one name must agree: integers and floats go together."""
    return "float" if field.kind == "integer" else _described(field)


def _described(field: Field) -> str:
    return f"vector of shape {tuple(field.shape)}" if field.kind == "vector" else field.kind


def joined_values(store: ConcatStore, field: Field, indices: IndexArray) -> Values:
    """Return one field of samples of a concatenation, as Store.read_field does."""
    pieces = [
        (places, store.parts[part].read_field(field.name, numbers))
        for part, places, numbers in parts_of(store.begins, indices)
        if field.name in store.parts[part].fields
    ]
    if not field.numeric:
        found: list[Any] = [None] * len(indices)
        for places, values in pieces:
            for place, value in zip(places.tolist(), values, strict=True):
                found[place] = value
        return found
    joined = np.zeros((len(indices), *field.shape), dtype=field.dtype)
    lacking = np.ones(joined.shape, dtype=np.bool_)
    for places, values in pieces:
        joined[places] = np.ma.getdata(values)
        lacking[places] = np.ma.getmaskarray(np.asanyarray(values))
    return np.ma.MaskedArray(joined, lacking) if field.nullable else joined


class JoinedRuns(StoreBase):
    """The values of one field of a concatenation as a store of bytes; b"" where a store lacks the field.

    Args:
        whole: The concatenation.
        field: A field whose values are bytes.

    Attributes:
        parts: The values in each part; None where it lacks the field.
        begins: As those of the concatenation.
    """

    def __init__(self, whole: ConcatStore, field: Field) -> None:
        self._whole, self._field = whole, field
        self.begins = whole.begins
        self.parts = [part.runs.get(field.name) for part in whole.parts]
        self.location, self.manifest = whole.location, whole.manifest
        self.index = replace(
            whole.index,
            size=self._column("size", 0),
            offset=self._column("offset", -1),
            crc32c=self._column("crc32c", 0),
        )
        there = [run for run in self.parts if run is not None]
        self.views = all(run.views for run in there)
        self.block = max(run.block for run in there)

    def __len__(self) -> int:
        return len(self._whole)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the concatenation and the field."""
        return JoinedRuns, (self._whole, self._field)

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:  # noqa: ARG002 - values are bytes
        """Return values in the given order."""
        found: list[Buffer] = [b""] * len(indices)
        for part, places, numbers in parts_of(self.begins, as_indices(indices, len(self))):
            if run := self.parts[part]:
                for place, value in zip(places.tolist(), run.read(numbers), strict=True):
                    found[place] = value
        return found

    def announce(self, indices: IndexArray) -> None:
        """Announce that these values will be read soon."""
        for part, _, numbers in parts_of(self.begins, inside(indices, len(self))):
            if run := self.parts[part]:
                run.announce(numbers)

    @property
    def resident(self) -> bool:
        """Whether nothing needs to be announced to any part."""
        return all(run.resident for run in self.parts if run)

    def byte_ranges(self, indices: IndexArray) -> None:
        """Return None: the values are in the files of several stores."""

    def files(self) -> list[Path]:
        """Return the local files of all parts."""
        return [path for run in self.parts if run for path in run.files()]

    def _column(self, name: str, lacking: int) -> Any:
        dtype = np.uint32 if name == "crc32c" else np.int64
        columns: list[AnyArray] = [
            getattr(run.index, name) if run is not None else np.broadcast_to(np.array(lacking, dtype), (len(part),))
            for run, part in zip(self.parts, self._whole.parts, strict=True)
        ]
        return JoinedColumn(columns)
