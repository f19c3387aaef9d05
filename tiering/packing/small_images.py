"""Reads and checks small original images in batches, where the C extensions are there.

Opening, reading, checking and summing a file of 1 kB takes Python 12 us, all but 4 of it with the interpreter's lock. A
batch takes 3 us, without the lock. An image that is not plainly whole is left to the way that takes one after another.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.arrays import MaskArray, stretches
from tiering.images import whole
from tiering.packing.listing import Rows
from tiering.sources.source import Source
from tiering.system import file_batches

#: The largest file of a batch, the most bytes of one, and the most files.
_LARGEST: Final = 64 << 10
_BATCH_BYTES: Final = 1 << 20
_BATCH: Final = 1024

#: Fewer small files between others are read one by one: the next ones are announced to the disk across both.
_FEW: Final = 16


@dataclass(frozen=True, slots=True)
class SmallBatch:
    """A batch of small images.

    begin, end: its rows. data: their bytes end to end, which stay only until the next batch. crcs: CRC-32C of each.
    whole: which of them are plainly whole; the bytes of the others mean nothing.
    """

    begin: int
    end: int
    data: memoryview
    crcs: npt.NDArray[np.uint32]
    whole: MaskArray


def small_batches(source: Source, rows: Rows) -> Iterator[SmallBatch | tuple[int, int]]:
    """Read rows in batches. Yields, in order, a batch, or the first and the last + 1 of rows to read one by one."""
    parts = _parts(source, rows)
    with ExitStack() as stack:
        directory = None
        if any(small for _, _, small in parts):
            # If that fails, reading the files raises the proper error.
            with suppress(OSError):
                directory = stack.enter_context(file_batches.opened_directory(os.fsencode(source.base)))
            memory = memoryview(mmap.mmap(-1, _BATCH_BYTES))
        for begin, end, small in parts:
            if directory is None or not small:
                yield begin, end
                continue
            first = int(rows.key_end[begin - 1]) if begin else 0
            sizes, ends = rows.size[begin:end], rows.key_end[begin:end] - first
            crcs, read = file_batches.read_files(
                directory, rows.key[first : first + int(ends[-1])], ends, sizes, memory
            )
            data = memory[: int(sizes.sum())]
            yield SmallBatch(begin, end, data, crcs, read & whole.plainly_whole(data, sizes))


def _parts(source: Source, rows: Rows) -> list[tuple[int, int, bool]]:
    """Cut rows into batches of small files and stretches of others. Few small files between others are no batch."""
    local = "://" not in source.base and not source.has_files and not source.compressed
    if not (file_batches.NATIVE and whole.NATIVE and local):
        return [(0, len(rows), False)]
    small = (rows.size > 0) & (rows.size <= _LARGEST)
    for first, last in list(stretches(small)):
        if last - first < _FEW:
            small[first:last] = False
    parts = []
    for first, last in stretches(small):
        if not small[first]:
            parts.append((first, last, False))
            continue
        running = np.cumsum(rows.size[first:last])
        begin = first
        while begin < last:
            before = int(running[begin - first - 1]) if begin > first else 0
            fits = first + int(np.searchsorted(running, before + _BATCH_BYTES, side="right"))
            end = min(fits, begin + _BATCH)
            parts.append((begin, end, True))
            begin = end
    return parts
