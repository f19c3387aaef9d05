"""Faults: errors of single samples while a batch is served, as values.

A generator that raises is over: the next call says that the epoch has ended, and the ranks of a job wait for each other
for ever. So a fault travels as a value, Failed, and ContinuingIterator raises it for one batch
and goes on with the next.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import google_crc32c
import numpy as np

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import DatasetError, InputError, StoreError, command
from tiering.store.protocol import Buffer, Store
from tiering.text import shown

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed:
    """The exception of a batch, or of a part of one, that could not be served."""

    error: Exception


class ContinuingIterator(Iterator[T], Generic[T]):
    """An iterator that continues after an exception: it skips a failed batch and serves the next one.

    outcomes: yields batches, and Failed for exceptions to raise.
    """

    def __init__(self, outcomes: Iterator[T | Failed]) -> None:
        self._outcomes = outcomes

    def __next__(self) -> T:
        found = next(self._outcomes)
        if not isinstance(found, Failed):
            return found
        error = found.error
        if isinstance(error, StopIteration):
            # Raised as it is, it would end the epoch without a word. Generators do the same (PEP 479).
            error = RuntimeError("a transform raised StopIteration")
            error.__cause__ = found.error
        try:
            raise error
        finally:
            # An error keeps this frame: without these names it does not keep itself alive, and the threads with it.
            del found, error, self

    def close(self) -> None:
        """End the iteration: stop the threads and drop the batches that were read ahead."""
        close = getattr(self._outcomes, "close", None)
        if close is not None:
            close()


def note_of(store: Store, index: int, key: bytes) -> str:
    """Return the note on an exception that says which sample it befell."""
    return f"sample {index:,} ({shown(key)}) of {shown(str(store.location))}"


def named(store: Store, index: int, image: Buffer | PixelArray, error: Exception) -> Exception:
    """Return the exception for a sample that could not be decoded or transformed, with its number, key and store.

    error: the original exception. A decoder's error becomes one that names the store and the fitting advice; any other
    gets a note and keeps its type.
    """
    key = store.index.keys(np.array([index]))[0]
    where = note_of(store, index, key)
    if not isinstance(error, DatasetError) or error.where != "image":
        error.add_note(where)
        return error
    explained = _explained(store, index, where, image, error)
    explained.__cause__ = error
    return explained


def blamed(store: Store, indices: IndexArray, error: Exception) -> Exception:
    """Return the exception for samples that could not be read, with a note that names the first of them.

    The samples are read again one by one. Those of a remote store are not, because each may take minutes; the check
    that fails there names its sample.
    """
    if store.location.local is None:
        return error
    for number in indices.tolist():
        try:
            store.read(np.array([number], dtype=np.int64))
        except Exception as found:  # noqa: BLE001 - it is handed on
            found.add_note(_note_on(store, number))
            return found
    return error


def _explained(store: Store, index: int, where: str, image: Buffer | PixelArray, error: DatasetError) -> InputError:
    skip = 'To go on without such images: Loader(on_error="skip").'
    crcs = store.index.crc32c
    if not len(crcs):
        return DatasetError(where, expected=error.expected, found=error.found, action=f"{error.action} {skip}")
    if google_crc32c.value(bytes(image)) != crcs[index]:
        return StoreError(
            where, expected="the bytes that were packed", found="others, which cannot be decoded",
            action=f"The store is damaged. See where: {command('tiering', 'verify', store.location)}",
        )  # fmt: skip
    every = command("tiering", "verify", store.location, "--decode")
    return DatasetError(
        where, expected=error.expected, found=error.found,
        action=f"The file was packed as it is. To find all like it: {every}. {skip}",
    )  # fmt: skip


def _note_on(store: Store, number: int) -> str:
    try:
        return note_of(store, number, store.index.keys(np.array([number]))[0])
    except StoreError:  # its key is part of the damage
        return f"sample {number:,} of {shown(os.fspath(store.location.url))}"
