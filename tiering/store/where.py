"""Where: from what a user says about samples (a condition, a mask, keys, numbers, splits) to their rows."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tiering.arrays import AnyArray, IndexArray, row_parts
from tiering.errors import MachineError, UsageError, needs_package
from tiering.store.indices import as_indices
from tiering.store.rows import Rows, compact, even, flagged, joined, numbers_at
from tiering.text import first_few

if TYPE_CHECKING:
    from tiering.store.protocol import Store
    from tiering.store.selectable import Where


def chosen_rows(store: Store, where: Where | None, split: str | Sequence[str] | None) -> Rows:
    """Return the rows of a store for which `where` and `split` hold, as Selectable.select describes them.

    Raises UsageError if no row is left.
    """
    rows = range(len(store)) if where is None else _rows_where(store, where)
    if split is not None:
        rows = joined(_in_splits(store, rows, [split] if isinstance(split, str) else list(split)), len(store))
    if not len(rows):
        raise UsageError(
            "split" if where is None else "where",
            found=f"no sample of {len(store):,} fits the condition",
            action="tiering info shows the splits and classes.",
        )  # fmt: skip
    return rows


def rows_of_keys(store: Store, keys: Iterable[str | bytes]) -> Rows:
    """Return the rows of samples with some keys. Reads all keys of the store, a part at a time.

    Args:
        store: Any store.
        keys: Keys of its samples, in any order.

    Raises:
        UsageError: For keys that the store does not have.
    """
    wanted = {os.fsencode(key) for key in keys}
    found: set[bytes] = set()

    def parts() -> Iterator[IndexArray]:
        for rows in row_parts(len(store)):
            have = store.index.keys(rows)
            there = np.fromiter((key in wanted for key in have), np.bool_, len(have))
            found.update(have[at] for at in np.flatnonzero(there).tolist())
            yield rows[there]

    rows = joined(parts(), len(store))
    if missing := sorted(map(os.fsdecode, wanted - found)):
        raise UsageError(
            "where", expected=f"keys of samples in {store.location}",
            found=f"{len(missing):,} others: {first_few(missing, 3)}",
        )  # fmt: skip
    return rows


def _rows_where(store: Store, where: Any) -> Rows:
    samples = len(store)
    if isinstance(where, str) or type(where).__module__.startswith("polars.expr"):
        try:
            # Imported here: only an expression needs Polars.
            from tiering.store.conditions import rows_that_meet  # noqa: PLC0415
        except ImportError as error:
            raise MachineError("where", rule=needs_package("Polars", error), action="pip install polars") from error
        return rows_that_meet(store, where)
    if isinstance(where, slice):
        return even(range(samples)[where])
    if isinstance(where, range):
        if len(where):
            as_indices([where[0], where[-1]], samples)
        return even(where)
    values = _array(where)
    if values.dtype.kind in "OSU" and values.ndim == 1 and all(isinstance(each, str | bytes) for each in values):
        return rows_of_keys(store, values.tolist())
    if values.dtype == np.bool_:
        if values.shape != (samples,):
            raise UsageError(
                "where", expected=f"a mask of shape ({samples},), one value for each sample", found=f"{values.shape}"
            )
        return flagged(values)
    return compact(np.unique(as_indices(where if values.ndim != 1 else values, samples)), samples)


def _array(where: Any) -> AnyArray:
    if isinstance(where, np.ndarray):
        return where
    listed = list(where) if isinstance(where, Iterable) else where
    if isinstance(listed, list) and listed and isinstance(listed[0], str | bytes):
        return np.array(listed, dtype=object)
    try:
        found = np.asarray(listed)
    except ValueError:  # lists of different lengths
        found = np.empty((0, 0))
    if found.ndim == 0:
        raise TypeError(
            f"where must be a condition, a mask, keys or numbers of samples, got {reprlib.repr(where)} "
            f"({type(where).__name__})"
        )
    return found.astype(np.int64) if not found.size else found


def _in_splits(store: Store, rows: Rows, splits: list[str]) -> Iterator[IndexArray]:
    names = store.manifest.splits
    if unknown := [each for each in splits if each not in names]:
        if not names:
            raise UsageError("split", found="this store has no splits")
        found = first_few([str(each) for each in unknown], 3)
        raise UsageError("split", rule=f"must be one of {', '.join(names)}", found=found)
    numbers = [names.index(each) for each in splits]
    for part in row_parts(len(rows), 1 << 20):
        at = numbers_at(rows, part)
        yield at[np.isin(store.index.split[at], numbers)]
