"""Runs: the values of one field as a store of bytes, so that they are read, cached and checked like images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from tiering.arrays import IndexArray, PixelArray
from tiering.store.generation import FileIdentities, Generation, runs_manifest
from tiering.store.indices import as_indices, inside
from tiering.store.mapped_files import Copies, MappedFiles
from tiering.store.protocol import ByteRanges, Images, Store
from tiering.store.range_store import RangeStore
from tiering.store.sample import Buffer
from tiering.store.schema import CRC, OFFSET, SIZE, Field

#: The fewest values that are copied with one call.
_FEWEST: Final = 8


class RunStore(RangeStore):
    """The values of one field of a packed store, with the keys and labels of its samples.

    A sample without a value has an offset of -1 and no bytes.

    whole: the store. seen: the identities of the files that another process opened, to read the same files.
    """

    def __init__(self, whole: RangeStore, field: Field, seen: FileIdentities | None) -> None:
        self._whole, self._name = whole, field.name
        manifest = runs_manifest(whole.manifest, field)
        columns = whole.index.fields
        index = replace(
            whole.index,
            size=columns[field.name + SIZE],
            offset=columns[field.name + OFFSET],
            crc32c=columns[field.name + CRC],
            fields={},
        )
        generation = Generation(whole.location, manifest, seen) if whole.location.local else None
        super().__init__(whole.location, manifest, index, generation)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the whole store, and the name of the field."""
        return _run_of, (self._whole, self._name)

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> Images:
        """Return values in the order asked for, as views; b"" for a sample without one.

        Raises StoreError as a packed store does.
        """
        indices = as_indices(indices, len(self))
        there = np.flatnonzero(self.index.size[indices])
        if len(there) == len(indices):
            return super().read(indices, out)
        found: list[Buffer] = [b""] * len(indices)
        for at, value in zip(there.tolist(), super().read(indices[there]), strict=True):
            found[at] = value
        return found

    def copied(self, indices: IndexArray) -> Copies | None:
        """Return copies of small values in the order asked for, no bytes for a sample without one.

        indices: int64 (n,), valid. Returns None where `read` is better, and for a damaged index, which `read` reports.
        """
        if not isinstance(self._files, MappedFiles) or len(indices) < _FEWEST:
            return None
        file = self._ends.searchsorted(indices, side="right")
        offset, size = self.index.offset[indices], self.index.size[indices]
        if not size.all():
            # In place of nothing, which may be in a file that is not there, take a part of the longest.
            absent, longest = size == 0, int(np.argmax(size))
            file[absent], offset[absent] = file[longest], offset[longest]
        return self._files.copied(file, offset, size)

    def announce(self, indices: IndexArray) -> None:
        """Start reading values into the page cache without waiting for them."""
        if self._files.resident():
            return
        indices = inside(indices, len(self))
        super().announce(indices[self.index.size[indices] != 0])

    def _check_names(self, indices: IndexArray) -> None:
        """Do nothing: the store itself checks labels and splits."""

    def _ranges(self, indices: IndexArray, limit: IndexArray) -> ByteRanges:
        there = self.index.size[indices] != 0
        if there.all():
            return super()._ranges(indices, limit)
        found = super()._ranges(indices[there], limit)
        ranges = ByteRanges(*(np.zeros(len(indices), dtype=np.int64) for _ in range(3)))
        ranges.file[there], ranges.offset[there], ranges.size[there] = found.file, found.offset, found.size
        return ranges

    @property
    def seen(self) -> FileIdentities | None:
        """The identities of the files of a local store, for another process that should read the same ones."""
        return self._generation.seen if self._generation else None


def _run_of(whole: RangeStore, name: str) -> Store:
    return whole.runs[name]


def runs_of(store: RangeStore, seen: Mapping[str, FileIdentities | None]) -> Mapping[str, RunStore]:
    """Return the runs of all fields whose values are bytes, by name.

    seen: the identities of the files of some fields that another process opened.
    """
    return {
        field.name: RunStore(store, field, seen.get(field.name)) for field in store.manifest.fields if not field.numeric
    }
