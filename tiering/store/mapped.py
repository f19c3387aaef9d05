"""Mapped files: byte ranges of many files as views, and the hint to the kernel that they will be wanted."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tiering.place import Place
from tiering.store.advice import will_need
from tiering.store.columns import damaged

#: Files kept mapped. Each map holds a descriptor, and the usual soft limit of a process is 1,024.
KEPT: Final = 512

IndexArray = npt.NDArray[np.int64]


class _Mapped(NamedTuple):
    view: memoryview
    map: mmap.mmap
    address: int


class MappedFiles:
    """Files mapped on first use and read as views, KEPT of them at a time.

    paths: the files; sizes: the bytes each must have. Nothing is opened before the first use, and a map that a fork
    inherits stays valid, so one object serves parents, children and threads: its table is replaced, never changed.
    """

    def __init__(self, paths: Sequence[Path], sizes: Sequence[int]) -> None:
        self.paths = list(paths)
        self._sizes = list(sizes)
        self._mapped: dict[int, _Mapped] = {}

    def views(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> list[memoryview]:
        """Return one view a range; the floor is a slice of a memoryview, about 0.1 us a sample."""
        found, mapped = [], self._mapped
        for number, begin, end in zip(file.tolist(), offset.tolist(), (offset + size).tolist(), strict=True):
            if number not in mapped:
                mapped = self._with(number)
            found.append(mapped[number].view[begin:end])
        return found

    def announce(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> None:
        """Start reading ranges into the page cache without waiting for them.

        Told of the next few hundred samples, the kernel keeps the device's queue full, which 4 KiB page faults one
        after another never do. Submitting 110 KB costs 40 us, all of it the kernel's and without the interpreter lock.
        """
        numbers, nth = np.unique(file, return_inverse=True)
        used = [(self._mapped if number in self._mapped else self._with(number))[number] for number in numbers.tolist()]
        skew = offset % mmap.PAGESIZE
        start = offset - skew
        base = np.array([mapped.address for mapped in used], dtype=np.uint64)[nth]
        if will_need(base + start.astype(np.uint64), (size + skew).astype(np.uint64)):
            return
        if hasattr(mmap, "MADV_WILLNEED"):
            for at, begin, length in zip(nth.tolist(), start.tolist(), (size + skew).tolist(), strict=True):
                used[at].map.madvise(mmap.MADV_WILLNEED, begin, length)

    def close(self) -> None:
        """Drop the maps; each is unmapped when its last view is gone."""
        self._mapped = {}

    def _with(self, number: int) -> dict[int, _Mapped]:
        """Map one more file, drop the oldest where that makes too many, and return the new table."""
        kept = list(self._mapped.items())[-(KEPT - 1) :]
        self._mapped = dict([*kept, (number, self._map(number))])
        return self._mapped

    def _map(self, number: int) -> _Mapped:
        path, size = self.paths[number], self._sizes[number]
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno()).st_size
                if found != size:
                    raise damaged(Place.of(path), f"{size:,} bytes by the manifest", f"{found:,}")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise damaged(Place.of(path), f"{size:,} bytes by the manifest", "no such file") from None
        if hasattr(mmap, "MADV_RANDOM"):
            # What is needed is announced; read-ahead around a fault would fetch megabytes nobody asked for.
            mapped.madvise(mmap.MADV_RANDOM)
        view = memoryview(mapped)
        return _Mapped(view, mapped, np.frombuffer(view, dtype=np.uint8).ctypes.data)
