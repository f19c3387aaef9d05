"""Compare the fields of a store with those of its source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import google_crc32c
import numpy as np

from tiering.arrays import AnyArray, IndexArray, MaskArray
from tiering.errors import DatasetError
from tiering.packing.listed_fields import FieldRows
from tiering.packing.shard_fields import number_columns
from tiering.sources.source import Source
from tiering.store.protocol import Store
from tiering.store.schema import CRC, OFFSET, VALID, Field


def differing_fields(
    store: Store, samples: IndexArray, fields: Sequence[FieldRows], source: Source
) -> Iterator[tuple[str, MaskArray]]:
    """Yield each field that a store and its source both have, with the samples whose values differ.

    samples: int64 (n,), numbers in the store. fields: the values of the same samples in the source.
    """
    for rows in fields:
        held = store.fields.get(rows.field.name)
        if held is not None:
            yield (
                held.name,
                _numbers(store, held, samples, rows, source)
                if held.numeric
                else _runs(store, held, samples, rows, source),
            )


def further_fields(store: Store, fields: Sequence[FieldRows]) -> Iterator[tuple[str, MaskArray]]:
    """Yield each field that only the source has, with the samples that have a value there."""
    for rows in fields:
        if rows.field.name not in store.fields:
            yield rows.field.name, rows.size >= 0


def _numbers(store: Store, held: Field, samples: IndexArray, rows: FieldRows, source: Source) -> MaskArray:
    bad: dict[int, DatasetError] = {}
    found = number_columns(rows, source, bad)
    mine: AnyArray = store.index.fields[held.name][samples]
    other = found[held.name]
    if mine.dtype != other.dtype or mine.shape != other.shape:
        return np.ones(len(samples), dtype=bool)
    same = (mine == other) | ((mine != mine) & (other != other))  # noqa: PLR0124 - NaN differs from itself
    differs: MaskArray = ~same.reshape(len(samples), -1).all(axis=1)
    every = np.ones(len(samples), dtype=np.uint8)
    mine_valid = store.index.fields[held.name + VALID][samples] if held.nullable else every
    valid = found.get(held.name + VALID, every)
    differs = (differs & (valid > 0)) | (mine_valid != valid)
    differs[list(bad)] = True
    return differs


def _runs(store: Store, held: Field, samples: IndexArray, rows: FieldRows, source: Source) -> MaskArray:
    columns = store.index.fields
    crcs, there = columns[held.name + CRC][samples].tolist(), (columns[held.name + OFFSET][samples] >= 0).tolist()
    return np.array(
        [
            there[at] if value is None else not (there[at] and isinstance(value, bytes) and _crc(value) == crcs[at])
            for at, value in enumerate(rows.read(source))
        ],
        dtype=bool,
    )


def _crc(value: bytes) -> int:
    return int(google_crc32c.value(value))
