"""Mapped files: byte ranges of many files as views, and the hint to the kernel that they will be wanted."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from tiering.errors import StoreError

#: Files kept open. Each costs up to two descriptors, and the usual soft limit of a process is 1,024.
KEPT: Final = 256

IndexArray = npt.NDArray[np.int64]
_T = TypeVar("_T")


class MappedFiles:
    """Files mapped on first use and read as views, KEPT of them at a time.

    paths: the files; sizes: the bytes each must have. Nothing is opened before the first read, and a map that a fork
    inherits stays valid, so one object serves parents, children and threads: its tables are replaced, never changed.
    """

    def __init__(self, paths: Sequence[Path], sizes: Sequence[int]) -> None:
        self.paths = list(paths)
        self._sizes = list(sizes)
        self._views: dict[int, memoryview] = {}
        self._opened: dict[int, io.FileIO] = {}

    def views(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> list[memoryview]:
        """Return one view a range; the floor is a slice of a memoryview, about 0.1 us a sample."""
        views, found = self._views, []
        for number, begin, end in zip(file.tolist(), offset.tolist(), (offset + size).tolist(), strict=True):
            view = views.get(number)
            if view is None:
                view = self._map(number)
                views = self._views
            found.append(view[begin:end])
        return found

    def announce(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> None:
        """Start reading ranges into the page cache without waiting for them.

        One posix_fadvise(WILLNEED) a run of neighbouring ranges. Told of the next few hundred samples, the kernel keeps
        the device's queue full, which 4 KiB page faults one after another never do. A call costs 40 us for 110 KB,
        nearly all of it the kernel's; it does not hold the interpreter lock, so a thread can make it.
        """
        if not hasattr(os, "posix_fadvise"):
            return
        order = np.lexsort((offset, file))
        file, begin, end = file[order], offset[order], (offset + size)[order]
        apart = np.flatnonzero((file[1:] != file[:-1]) | (begin[1:] > end[:-1])) + 1
        firsts = np.concatenate(([0], apart))
        for number, start, stop in zip(
            file[firsts].tolist(), begin[firsts].tolist(), np.maximum.reduceat(end, firsts).tolist(), strict=True
        ):
            opened = self._opened.get(number)
            if opened is None:
                opened = self._open(number)
                self._opened = _with(self._opened, number, opened)
            os.posix_fadvise(opened.fileno(), start, stop - start, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Drop the maps; each is unmapped when its last view is gone."""
        self._views, self._opened = {}, {}

    def _map(self, number: int) -> memoryview:
        with self._open(number) as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            # What is needed is announced; read-ahead around a fault would fetch megabytes nobody asked for.
            mapped.madvise(mmap.MADV_RANDOM)
        view = memoryview(mapped)
        self._views = _with(self._views, number, view)
        return view

    def _open(self, number: int) -> io.FileIO:
        path, size = self.paths[number], self._sizes[number]
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise _changed(path, size, "no such file") from None
        found = os.fstat(file.fileno()).st_size
        if found != size:
            file.close()
            raise _changed(path, size, f"{found:,}")
        return file


def _with(table: dict[int, _T], number: int, item: _T) -> dict[int, _T]:
    """Return a table with one more entry, and without its oldest where that makes too many."""
    kept = list(table.items())[-(KEPT - 1) :]
    return dict([*kept, (number, item)])


def _changed(path: Path, size: int, found: str) -> StoreError:
    return StoreError(
        str(path),
        expected=f"{size:,} bytes by the manifest",
        found=found,
        action="The store is damaged or its copy incomplete: copy or convert it again.",
    )
