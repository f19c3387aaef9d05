"""Mapped files: byte ranges of many files as views, and the hint to the kernel that they will be wanted."""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.errors import StoreError

#: A Python map holds a descriptor; the usual soft limit of a process is 1,024 of them.
MAPS: Final = 512

IndexArray = npt.NDArray[np.int64]


class MappedFiles:
    """Files mapped on first use and read as views, at most MAPS of them at a time.

    paths: the files; sizes: the bytes each must have. Nothing is opened before the first read, and a map that a fork
    inherits stays valid, so one object serves parents and children alike.
    """

    def __init__(self, paths: Sequence[Path], sizes: Sequence[int]) -> None:
        self.paths = list(paths)
        self._sizes = list(sizes)
        self._maps: OrderedDict[int, tuple[mmap.mmap, memoryview]] = OrderedDict()

    def views(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> list[memoryview]:
        """Return one view a range; the floor is a slice of a memoryview, about 0.1 us a sample."""
        ends = (offset + size).tolist()
        if len(self.paths) == 1:
            view = self._map(0)[1]
            return [view[begin:end] for begin, end in zip(offset.tolist(), ends, strict=True)]
        found = []
        for number, begin, end in zip(file.tolist(), offset.tolist(), ends, strict=True):
            mapped = self._maps.get(number) or self._map(number)
            found.append(mapped[1][begin:end])
        return found

    def announce(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> None:
        """Start reading ranges into the page cache without waiting for them.

        One madvise(MADV_WILLNEED) a run of neighbouring pages. Told of the next few hundred samples, the kernel keeps
        the device's queue full, which 4 KiB page faults one after another never do.
        """
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        page = mmap.PAGESIZE
        begin = offset // page * page
        end = offset + size
        order = np.lexsort((begin, file))
        file, begin, end = file[order], begin[order], end[order]
        apart = np.flatnonzero((file[1:] != file[:-1]) | (begin[1:] > end[:-1])) + 1
        firsts = np.concatenate(([0], apart))
        for number, start, stop in zip(
            file[firsts].tolist(), begin[firsts].tolist(), np.maximum.reduceat(end, firsts).tolist(), strict=True
        ):
            self._map(number)[0].madvise(mmap.MADV_WILLNEED, start, stop - start)

    def close(self) -> None:
        """Drop the maps; each is unmapped when its last view is gone."""
        self._maps.clear()

    def _map(self, number: int) -> tuple[mmap.mmap, memoryview]:
        mapped = self._maps.get(number)
        if mapped is not None:
            self._maps.move_to_end(number)
            return mapped
        path = self.paths[number]
        try:
            with path.open("rb") as file:
                found = file.seek(0, 2)
                if found != self._sizes[number]:
                    raise _changed(path, self._sizes[number], f"{found:,}")
                opened = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise _changed(path, self._sizes[number], "no such file") from None
        if hasattr(mmap, "MADV_RANDOM"):
            # What is needed is announced; read-ahead around a fault would fetch megabytes nobody asked for.
            opened.madvise(mmap.MADV_RANDOM)
        self._maps[number] = opened, memoryview(opened)
        if len(self._maps) > MAPS:
            self._maps.popitem(last=False)
        return self._maps[number]


def _changed(path: Path, size: int, found: str) -> StoreError:
    return StoreError(
        str(path),
        expected=f"{size:,} bytes by the manifest",
        found=found,
        action="The store is damaged or its copy incomplete: copy or convert it again.",
    )
