"""Faults: errors of single samples while a batch is served, passed on as values.

A generator that raises is finished: its next call reports the end of the epoch, and the ranks of a job wait for each
other forever. So the generators yield an error as a value, Failed. ContinuingIterator raises it instead of the batch,
and continues with the next batch.
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
from tiering.store.concat import part_with
from tiering.store.protocol import Store
from tiering.store.sample import Buffer
from tiering.store.selection import Selection
from tiering.text import shown

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed:
    """The exception of a batch, or of a part of one, that could not be served."""

    error: Exception


class ContinuingIterator(Iterator[T], Generic[T]):
    """An iterator that can continue after an exception: the next call returns the batch after the failed one.

    Args:
        outcomes: Yields batches, and a Failed for each exception to raise.
    """

    def __init__(self, outcomes: Iterator[T | Failed]) -> None:
        self._outcomes = outcomes

    def __next__(self) -> T:
        found = next(self._outcomes)
        if not isinstance(found, Failed):
            return found
        error = found.error
        if isinstance(error, StopIteration):
            # Raised as it is, it would end the epoch silently. Generators convert it, too (PEP 479).
            error = RuntimeError("a transform raised StopIteration")
            error.__cause__ = found.error
        try:
            raise error
        finally:
            # The error's traceback keeps this frame. Without these names, the frame does not keep the error and the
            # threads alive in turn.
            del found, error, self

    def close(self) -> None:
        """End the iteration: stop the threads, and drop the batches that were read ahead."""
        close = getattr(self._outcomes, "close", None)
        if close is not None:
            close()


def note_of(store: Store, index: int, key: bytes) -> str:
    """Return the note for an exception that names its sample, by its number in the store of a selection."""
    if isinstance(store, Selection):
        index = int(store.in_origin(np.array([index]))[0])
    return f"sample {index:,} ({shown(key)}) of {shown(str(store.location))}"


def named(store: Store, index: int, image: Buffer | PixelArray, error: Exception) -> Exception:
    """Return the exception for a sample that could not be decoded or transformed, with its number, key and store.

    The error of a decoder becomes an error that names the store and says what to do. Any other exception keeps its
    type, and gets a note.

    Args:
        store: The store of the sample.
        index: The number of the sample.
        image: Its image, as the store returned it.
        error: The original exception.
    """
    store, index = part_with(store, index)
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

    To find it, the samples are read again one by one, but not from a remote store, where each may take minutes. There
    the check that failed names the sample.
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
    skip = 'To continue without such images: `on_error="skip"`.'
    crcs = store.index.crc32c
    if not len(crcs):
        return DatasetError(
            where, rule=error.rule, expected=error.expected, found=error.found, action=f"{error.action} {skip}"
        )
    if google_crc32c.value(bytes(image)) != crcs[index]:
        return StoreError(
            where, expected="the bytes that were packed", found="other bytes, which cannot be decoded",
            action=f"The store is damaged. To see where: {command('tiering', 'verify', store.location)}",
        )  # fmt: skip
    every = command("tiering", "verify", store.location, "--decode")
    return DatasetError(
        where, rule=error.rule, expected=error.expected, found=error.found,
        action=f"The file was packed like this. To find all such files: {every}. {skip}",
    )  # fmt: skip


def _note_on(store: Store, number: int) -> str:
    store, number = part_with(store, number)
    try:
        return note_of(store, number, store.index.keys(np.array([number]))[0])
    except StoreError:  # its key is part of the damage
        return f"sample {number:,} of {shown(os.fspath(store.location.url))}"
