"""The fields of a plain folder: columns of tables of metadata, and numbers in files, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tiering.arrays import AnyArray, IndexArray, PixelArray, row_parts
from tiering.errors import StoreError
from tiering.io_sizes import BLOCK_BYTES
from tiering.store.field_values import MISSING, number_from, raw_values
from tiering.store.indices import as_indices
from tiering.store.protocol import Store, StoreBase, samples_in
from tiering.store.sample import Buffer
from tiering.store.schema import VALID, Field

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl


class CellValues(StoreBase):
    """The values of a field in a table of metadata as a store of bytes, in memory.

    whole: the folder. values: Binary, one for each image; null for none.
    """

    def __init__(self, whole: Store, values: pl.Series) -> None:
        self.location, self._cells = whole.location, values
        size = values.bin.size().fill_null(0).to_numpy().astype(np.int64)
        offset = np.where(values.is_null().to_numpy(), -1, 0).astype(np.int64)
        self.index = replace(whole.index, size=size, offset=offset, fields={})
        self.manifest = whole.manifest.model_copy(update={"image_bytes": int(size.sum())})
        self.views = False
        self.block = samples_in(BLOCK_BYTES, self.manifest)

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> list[Buffer]:  # noqa: ARG002 - no pixels here
        """Return values; b"" for an image without one."""
        found: list[Buffer] = self._cells.gather(as_indices(indices, len(self))).fill_null(b"").to_list()
        return found

    def byte_ranges(self, indices: IndexArray) -> None:
        """Return None: the values are not in a file of their own."""

    def announce(self, indices: IndexArray) -> None:
        """Do nothing: the values are in memory."""

    def files(self) -> list[Path]:
        """Return no files."""
        return []


class NumberColumns(Mapping[str, AnyArray]):
    """The columns of fields of numbers. The values of a field are parsed when one of its columns is first asked for.

    fields: of numbers. runs: the texts of each, or its vectors, as a store of bytes by name.
    """

    def __init__(self, fields: Iterable[Field], runs: Mapping[str, Store]) -> None:
        self._fields = {field.name: field for field in fields}
        self._runs = runs
        self._columns: dict[str, AnyArray | None] = {}
        for field in self._fields.values():
            self._columns |= {field.name: None} | ({field.name + VALID: None} if field.nullable else {})

    def __getitem__(self, column: str) -> AnyArray:
        found = self._columns[column]
        if found is None:
            self._read(self._fields[column.removesuffix(VALID)])
            found = self._columns[column]
        if found is None:
            raise KeyError(column)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def _read(self, field: Field) -> None:
        run = self._runs[field.name]
        numbers = np.full((len(run), *field.shape), MISSING, dtype=field.dtype)
        valid = np.zeros(len(run), np.uint8)
        try:
            for rows in row_parts(len(run)):
                for row, text in zip(rows.tolist(), raw_values(run, field, rows), strict=True):
                    if text and bytes(text).strip():
                        numbers[row], valid[row] = number_from(text, field), 1
        except (ValueError, OverflowError) as error:
            raise StoreError(
                str(run.location), expected=f"values of kind {field.kind} in the field {field.name}",
                found=str(error)[:200], action="Mend the value, or pack the folder: a store has such a field as text.",
            ) from None  # fmt: skip
        self._columns[field.name] = numbers
        if field.nullable:
            self._columns[field.name + VALID] = valid
