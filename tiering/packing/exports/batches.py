"""Read the samples of an export in their order, a bounded number of bytes at a time, and check every CRC-32C."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c
import numpy as np

from tiering.arrays import AnyArray, IndexArray, MaskArray
from tiering.errors import StoreError, command
from tiering.images.encoding import encode_pixels
from tiering.store.field_values import raw_values
from tiering.store.protocol import Store, shape_of
from tiering.store.sample import Buffer
from tiering.store.schema import VALID, Field

#: How many samples, and how many bytes of them, are in memory at once.
_SAMPLES: Final = 1024
_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class FieldValues:
    """The values of a field in some samples.

    values: numbers (n,), vectors (n, *shape), or a list of bytes. missing: of numbers, where there is no value; a list
    has None there.
    """

    values: AnyArray | list[Buffer | None]
    missing: MaskArray | None = None

    def __getitem__(self, at: int) -> Any:
        """Return the value of one sample: a NumPy scalar or array, or bytes; None if it has none."""
        return None if self.missing is not None and self.missing[at] else self.values[at]


@dataclass(frozen=True, slots=True)
class ExportBatch:
    """Some samples of an export.

    rows: their numbers in the store, int64 (n,). keys: as in the store. images: the contents of their files. fields:
    their values by name.
    """

    rows: IndexArray
    keys: list[bytes]
    images: list[bytes]
    fields: Mapping[str, FieldValues]


def checked_batches(store: Store, fields: Iterable[Field], parts: Iterable[IndexArray]) -> Iterator[ExportBatch]:
    """Yield samples with some of their fields.

    parts: their numbers in the store, in the order to read. Raises StoreError for a CRC-32C that is wrong.
    """
    wanted = list(fields)
    for rows in parts:
        for some in _bounded(store, wanted, rows):
            keys = store.index.keys(some)
            yield ExportBatch(
                some, keys, _images(store, some, keys), {each.name: _values(store, each, some, keys) for each in wanted}
            )


def sizes_of(store: Store, fields: Iterable[Field], rows: IndexArray) -> IndexArray:
    """Return the bytes of each sample with its fields, int64 (n,)."""
    sizes = np.array(store.index.size[rows], dtype=np.int64)
    for field in fields:
        if field.numeric:
            sizes += np.dtype(field.dtype).itemsize * math.prod(field.shape)
        else:
            sizes += np.maximum(store.runs[field.name].index.size[rows], 0)
    return sizes


def _bounded(store: Store, fields: list[Field], rows: IndexArray) -> Iterator[IndexArray]:
    for begin in range(0, len(rows), _SAMPLES):
        some = rows[begin : begin + _SAMPLES]
        group = np.cumsum(sizes_of(store, fields, some)) // _BYTES
        yield from np.split(some, np.flatnonzero(np.diff(group)) + 1)


def _images(store: Store, rows: IndexArray, keys: list[bytes]) -> list[bytes]:
    shape = shape_of(store.manifest)
    crcs = store.index.crc32c[rows].tolist() if len(store.index.crc32c) else None
    found = []
    for at, image in enumerate(store.read(rows)):
        data = bytes(image)
        if crcs and google_crc32c.value(data) != crcs[at]:
            raise _damaged(store, f"the CRC-32C of {os.fsdecode(keys[at])!r}")
        found.append(data if shape is None else encode_pixels(np.asarray(image), shape))
    return found


def _values(store: Store, field: Field, rows: IndexArray, keys: list[bytes]) -> FieldValues:
    columns = store.index.fields
    if field.numeric:
        return FieldValues(
            columns[field.name][rows], columns[field.name + VALID][rows] == 0 if field.nullable else None
        )
    runs = store.runs[field.name]
    values = raw_values(runs, field, rows)
    # A plain folder has no CRC-32Cs.
    crcs = runs.index.crc32c[rows].tolist() if len(runs.index.crc32c) else []
    for key, value, crc in zip(keys, values, crcs, strict=False):
        if value is not None and google_crc32c.value(bytes(value)) != crc:
            raise _damaged(store, f"the CRC-32C of the field {field.name} of {os.fsdecode(key)!r}")
    return FieldValues(values)


def _damaged(store: Store, expected: str) -> StoreError:
    return StoreError(
        str(store.location), expected=expected, found="other bytes",
        action=f"See what is damaged: {command('tiering', 'verify', store.location)}",
    )  # fmt: skip
