"""CacheLevel: one dataset in one cache directory, on disk or in memory, and where its units are there."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import uuid
import weakref
from dataclasses import asdict
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.cache import files
from tiering.cache.cached_datasets import (
    PARTS,
    DatasetNotes,
    checked_notes,
    in_use,
    open_slot_table,
    remove_dataset,
)
from tiering.cache.directory import CacheDirectory
from tiering.cache.extents import header_of
from tiering.cache.slot_table import table_bytes
from tiering.errors import MachineError, StoreError, from_os_error
from tiering.store.mapped_files import MappedFiles


class CacheUnits:
    """Units: groups of neighbouring samples that are fetched and stored together, all with the same number of samples.

    Args:
        size: int64 (n,), bytes of each sample.
        samples: Samples in a unit; the last one may hold fewer.
    """

    def __init__(self, size: IndexArray, samples: int) -> None:
        self.samples = samples
        self._size = size
        self._nth = np.arange(samples - 1)

    def __len__(self) -> int:
        return (len(self._size) + self.samples - 1) // self.samples

    def of(self, samples: IndexArray) -> IndexArray:
        """Return the units that samples belong to."""
        return samples // self.samples

    def members(self, unit: int) -> IndexArray:
        """Return the samples of a unit."""
        first = unit * self.samples
        return np.arange(first, min(first + self.samples, len(self._size)))

    def bytes_of(self, unit: int) -> int:
        """Return the bytes of a unit."""
        return int(self._size[unit * self.samples : (unit + 1) * self.samples].sum())

    def within(self, samples: IndexArray) -> IndexArray:
        """Return the offsets of samples in their units, in bytes."""
        if self.samples == 1:
            return np.zeros(len(samples), dtype=np.int64)
        nth = samples % self.samples
        before = np.minimum((samples - nth)[:, None] + self._nth, len(self._size) - 1)
        begins: IndexArray = np.where(self._nth < nth[:, None], self._size[before], 0).sum(axis=1)
        return begins

    def cut(self, payload: bytes, samples: IndexArray) -> list[bytes]:
        """Cut samples of one unit out of its payload."""
        begins, sizes = self.within(samples).tolist(), self._size[samples].tolist()
        return [payload[begin : begin + size] for begin, size in zip(begins, sizes, strict=True)]


class MappedExtents(MappedFiles):
    """The extents of all levels, numbered through; those that exist are mapped.

    Args:
        directories: The cache directories, those on disk first.
    """

    def __init__(self, directories: list[CacheDirectory]) -> None:
        pools = [each.pool for each in directories]
        super().__init__(
            [path for pool in pools for path in pool.paths()],
            [pool.extent_bytes for pool in pools for _ in range(pool.extents)],
        )
        #: How many of the extents, the first ones, are on disk.
        self.on_disk = sum(each.pool.extents for each in directories if not each.volatile)

    def watched(self) -> list[Path]:
        """Return the files to keep in the page cache."""
        return [path for path in self.paths[: self.on_disk] if path.exists()]

    def payload(self, extent: int, offset: int, size: int) -> memoryview | None:
        """Return bytes of one extent; None if it lacks them, because a slot may be damaged."""
        if extent >= len(self.paths):
            return None
        try:
            view = self.views(np.array([extent]), np.array([offset]), np.array([size]))[0]
        except StoreError:
            return None
        return view if len(view) == size else None


class CacheLevel:
    """One dataset in one cache directory, as a process finds it.

    Args:
        directory: The cache directory.
        name: The name of the dataset in it.
        notes: The notes to write if the dataset is new.
        units: The units of the dataset.
        extents: The extents of all levels.
        first: The number that the directory's first extent has among these.

    Raises:
        MachineError: If the dataset's slot table does not fit into the cache, or the directory cannot be written.
    """

    def __init__(
        self,
        directory: CacheDirectory,
        name: str,
        notes: DatasetNotes,
        units: CacheUnits,
        extents: MappedExtents,
        first: int,
    ) -> None:
        self.directory, self.units = directory, units
        self.dataset = directory.dataset(name)
        found, held = _join(directory, self.dataset, notes)
        self.header = header_of(name, bytes.fromhex(found.filling))
        self.slots = open_slot_table(self.dataset)
        self._extents, self._first = extents, first
        #: By slot, the check value of the payload that this process has compared with its CRC-32C.
        self._checked: npt.NDArray[np.uint32] = np.zeros(len(self.slots), dtype=np.uint32)
        self._leave = weakref.finalize(self, _leave, directory, held, os.getpid())

    def find(self, units: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return the extents (-1: not here) and offsets of units, each int64, as units.

        The first use of a payload by the process compares it with its CRC-32C. A damaged one loses its slot.
        """
        found = self.slots.find(units)
        extent, offset = found.extent, found.offset
        for at in np.flatnonzero((extent >= 0) & (self._checked[found.slot] != found.check)).tolist():
            slot, unit = int(found.slot[at]), int(units[at])
            if self._checked[slot] == found.check[at]:
                continue
            view = self._extents.payload(self._first + int(extent[at]), int(offset[at]), self.units.bytes_of(unit))
            if view is not None and google_crc32c.value(bytes(view)) == found.crc[at]:
                self._checked[slot] = found.check[at]
            else:
                self.slots.withdraw(unit)
                extent[at] = -1
        extent[extent >= 0] += self._first
        return extent, offset

    def has(self, unit: int) -> bool:
        """Return whether a unit is here."""
        return bool(self.slots.find(np.array([unit])).extent[0] >= 0)

    def close(self) -> None:
        """Close the dataset. A volatile one is removed unless another process uses it."""
        self.slots.close()
        self._leave()


def _leave(directory: CacheDirectory, held: int, process: int) -> None:
    """Close a dataset in the process that joined it; its forks share the descriptor."""
    if os.getpid() == process:
        os.close(held)
        directory.leave()


def _join(directory: CacheDirectory, dataset: Path, notes: DatasetNotes) -> tuple[DatasetNotes, int]:
    """Open a dataset, creating it if it is missing, and mark it as in use.

    Returns the notes in the cache, and a descriptor: the dataset counts as in use while it is open.
    """
    try:
        with directory.locked():
            if dataset.is_dir() and not _is_sound(dataset, notes) and not in_use(dataset):
                directory.pool.remove(dataset.name)
                remove_dataset(dataset)
            if not (dataset / "about.json").exists():
                _make(directory, dataset, notes)
            held = files.open_file(dataset / "in-use", os.O_RDWR | os.O_CREAT)
            fcntl.flock(held, fcntl.LOCK_SH)
            os.utime(dataset / "in-use")
        if not _is_sound(dataset, notes):
            os.close(held)
            raise StoreError(
                str(dataset), found="it holds another dataset, which is in use",
                action="Choose another `directory`.",
            )  # fmt: skip
    except OSError as error:
        raise from_os_error(error) from error
    return DatasetNotes.read(dataset), held


def _is_sound(dataset: Path, notes: DatasetNotes | None = None) -> bool:
    try:
        found = checked_notes(dataset)
    except StoreError:
        return False
    return notes is None or found.matches(notes)


def _make(directory: CacheDirectory, dataset: Path, notes: DatasetNotes) -> None:
    capacity = directory.pool.extents * directory.pool.extent_bytes
    size = table_bytes(notes.units, capacity * notes.units // max(1, notes.image_bytes))
    directory.tidy()
    if not directory.fits_table(size):
        raise MachineError(
            str(directory.path),
            found=f"the table of {notes.units:,} units needs {size} bytes, more than is free in the cache",
            action="Give a larger `size`.",
        )
    # Create it under another name, so that no process maps an unfinished table, even where locks do nothing.
    made = dataset.with_name(f".new-{uuid.uuid4().hex}")
    files.make_directory(made)
    try:
        files.allocate(made / "slots", size)
        files.write_file(made / "in-use", b"")
        files.write_file(made / "about.json", json.dumps(asdict(notes)).encode())
        _rename(made, dataset)
    except OSError:
        remove_dataset(made)
        raise


def _rename(made: Path, dataset: Path) -> None:
    """Give a new dataset its name, even if a directory with foreign files already has it."""
    try:
        made.rename(dataset)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    else:
        return
    if _is_sound(dataset):  # another process was first, on a file system where locks do nothing
        remove_dataset(made)
        return
    for name in reversed(PARTS):  # the notes last: only they make it a dataset
        try:
            (made / name).rename(dataset / name)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(dataset / name)) from error
    made.rmdir()
