"""Join the fields of a store's shards: the columns that its index needs, the files, and the documents of the files.

The samples of one shard may lack a field that others have, because it came with a later append.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tiering.arrays import AnyArray
from tiering.packing.receipts import Receipt
from tiering.store.layout import FIELDS, run_name
from tiering.store.schema import CRC, SIZE, VALID, Field, FieldFile, columns_of
from tiering.store.zarr_documents import zarr_documents


class JoinedFields:
    """The fields of a store that is being finished.

    fields: its schema, with the files of the shards that are there already.
    """

    def __init__(self, fields: Iterable[Field]) -> None:
        self._fields = list(fields)
        self._files = {field.name: list(field.files) for field in self._fields if not field.numeric}
        self._arrays: dict[str, dict[str, Any]] = {}

    @property
    def joined(self) -> list[Field]:
        """The schema, with the files of all shards."""
        return [field.model_copy(update={"files": self._files.get(field.name, [])}) for field in self._fields]

    def add(self, receipt: Receipt) -> dict[str, AnyArray]:
        """Add a shard, and return the columns of the index that its receipt lacks."""
        there = {field.name: field for field in receipt.fields}
        for name, files in self._files.items():
            file = there[name].files[0] if name in there else None
            if file is not None:
                self._arrays[run_name(name, receipt.shard.number, file.generation)] = array_of(file)
            files.append(file)
        return completed(receipt.columns, self._fields, receipt.shard.samples)

    @property
    def documents(self) -> dict[str, bytes]:
        """The zarr.json files of the added files: name -> contents."""
        return field_documents(self._arrays)


def lacking(fields: Iterable[Field], rows: int) -> dict[str, AnyArray]:
    """Return the columns of samples that have no value in any field."""
    return {
        f"{FIELDS}/{name}": np.full(
            (rows, *column.shape), 0 if name.endswith((VALID, SIZE, CRC)) else -1, dtype=np.int64
        ).astype(column.dtype)
        for field in fields
        for name, column in columns_of(field).items()
    }


def completed(held: Mapping[str, AnyArray], fields: Iterable[Field], rows: int) -> dict[str, AnyArray]:
    """Return the columns of fields that some samples lack, as those of an index.

    A field that the samples do not have has no value there. One that becomes nullable has a value in every sample.
    held: the columns that are there.
    """
    found = {name: column for name, column in lacking(fields, rows).items() if name not in held}
    for name in found:
        if name.endswith(VALID) and name.removesuffix(VALID) in held:
            found[name] = np.ones(rows, np.uint8)
    return found


def array_of(file: FieldFile) -> dict[str, Any]:
    """Describe the array of a file, as zarr.create_array takes it."""
    length = file.chunks * file.chunk_bytes
    return {
        "shape": (length,),
        "chunks": (file.chunk_bytes,),
        "shards": (length,),
        "dtype": np.dtype(np.uint8),
        "compressors": None,
    }


def field_documents(arrays: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Return the zarr.json files of arrays and of their groups: name -> contents. arrays: as by array_of, by path."""
    if not arrays:
        return {}
    return zarr_documents([FIELDS, *sorted({name.rpartition("/")[0] for name in arrays})], arrays)


def merged_schema(held: Iterable[Field], new: Iterable[Field], shards: int) -> list[Field]:
    """Return the schema of a store that gets more samples. Fields that one side lacks become nullable.

    held: the fields of the store, with their files. new: those of the samples to add. shards: of the store.
    """
    added = {field.name: field for field in new}
    joined = []
    for field in held:
        other = added.pop(field.name, None)
        joined.append(field.model_copy(update={"nullable": field.nullable or other is None or other.nullable}))
    for field in added.values():
        files = [] if field.numeric else [None] * shards
        joined.append(field.model_copy(update={"nullable": True, "files": files}))
    return joined
