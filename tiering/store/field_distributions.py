"""How the values of a store's fields are spread, from the columns of its index. No value of variable size is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from tiering.arrays import AnyArray, row_parts
from tiering.dataset.distributions import ValueSample
from tiering.dataset.field_counts import ProfiledField
from tiering.store.protocol import Store
from tiering.store.schema import LABEL, VALID, Field

#: Rows of a column that are in memory at once: 8 MiB of numbers of 64 bits.
ROWS: Final = 1 << 20


def profiled_fields(store: Store, seed: int = 0) -> list[ProfiledField]:
    """Return each field of a store but the label: how many samples have a value, and how the values are spread.

    Every row of the columns is looked at: the numbers of integers and floats, and the sizes in bytes of other values.
    About 70 ns a sample and field; memory does not grow with the store (benchmarks/store_profile.py).

    Args:
        store: Any store. Only of a plain folder, files of numbers are read.
        seed: Of the random sample that the quantiles come from.

    Raises:
        TieringError: A column cannot be read.
    """
    return [_profiled(store, field, seed) for name, field in store.fields.items() if name != LABEL.name]


def _profiled(store: Store, field: Field, seed: int) -> ProfiledField:
    if field.kind == "vector":
        return ProfiledField(name=field.name, kind=field.kind, count=_vectors(store, field))
    sample, count = ValueSample(seed), 0
    for values in _numbers(store, field) if field.numeric else _sizes(store, field):
        count += len(values)
        sample.add(values.astype(np.float64))
    return ProfiledField(
        name=field.name,
        kind=field.kind,
        count=count,
        suffix=field.suffix,
        distribution=sample.distribution(whole=field.kind != "float"),
    )


def _numbers(store: Store, field: Field) -> Iterator[AnyArray]:
    """Yield the integers or floats of a field; nothing for rows without one."""
    for rows in row_parts(len(store), ROWS):
        yield np.ma.MaskedArray(store.read_field(field.name, rows)).compressed()


def _sizes(store: Store, field: Field) -> Iterator[AnyArray]:
    """Yield the sizes of the values of a field; nothing for rows without one."""
    index = store.runs[field.name].index
    for begin in range(0, len(store), ROWS):
        rows = slice(begin, begin + ROWS)
        yield index.size[rows][index.offset[rows] >= 0] if field.nullable else index.size[rows]


def _vectors(store: Store, field: Field) -> int:
    """Return how many samples have a vector. The vectors themselves may be many gigabytes."""
    if not field.nullable:
        return len(store)
    valid = store.index.fields.get(field.name + VALID)
    if valid is not None:
        return sum(int(np.count_nonzero(valid[rows])) for rows in row_parts(len(store), ROWS))
    found = 0
    for rows in row_parts(len(store), max(1, ROWS // max(1, math.prod(field.shape)))):
        lacking = np.ma.getmaskarray(np.ma.asanyarray(store.read_field(field.name, rows)))
        found += int(np.count_nonzero(~lacking.reshape(len(rows), -1).any(axis=1)))
    return found
