"""Which bytes of a mapped file a thread read, from the page faults that it caused.

A fault on a page that is in memory maps its neighbours too: up to 16 pages, those of the aligned 64 KiB around it (the
kernel's fault_around_bytes), which then cause no fault. So a thread that reads on and on faults once in each 64 KiB, at
its first page, and one that reads a page here and there faults at just these pages. Faults that follow each other from
one 64 KiB to the next are therefore one run. Where the page cache holds larger pieces, as read-ahead makes them, the
same is true of pieces of up to 2 MiB. All of it was read, but perhaps its end: of its last 64 KiB, half of what
lies behind the fault is counted. A fault alone counts as its page. A major fault, which waited for storage, maps no
page that is not in memory yet: behind it the next page faults.

A piece of 2 MiB that is mapped as a whole has one fault. So where a process has two, its faults mapped 64 KiB each,
even if other parts of the file are mapped in such pieces.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

#: B of a page of memory, and the pages that one fault may map.
PAGE = os.sysconf("SC_PAGE_SIZE")
_AROUND = max(1, (1 << 16) // PAGE)
#: Pages of a piece that is mapped as a whole, with one entry of a higher page table.
_HUGE = max(1, (1 << 21) // PAGE)
#: Pages that the page cache may hold as one, and the kernel map at once, where a file is read on and on.
_FOLIOS = (32, 64, 128, 256, 512)


class PageFaults(NamedTuple):
    """Faults on data files, one value per fault.

    time: s since the epoch. pid, thread: who. file: its identity in the trace. page: in the file, from 0. memory_page:
    in memory. first: the first page of the map, in the file. limit: B into the file, where the map or the file ends.
    is_major: waited for storage. is_shared_for_writing: it may be a write that goes to the file. is_only: no other
    fault of the process on the same 2 MiB of memory is known.
    """

    time: npt.NDArray[np.float64]
    pid: npt.NDArray[np.int32]
    thread: npt.NDArray[np.int32]
    file: npt.NDArray[np.uint64]
    page: npt.NDArray[np.int64]
    memory_page: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    limit: npt.NDArray[np.int64]
    is_major: npt.NDArray[np.bool_]
    is_shared_for_writing: npt.NDArray[np.bool_]
    is_only: npt.NDArray[np.bool_]

    def at(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> PageFaults:
        """Return some of the faults, by index or mask."""
        columns: tuple[Any, ...] = self
        return PageFaults(*(column[rows] for column in columns))


NO_FAULTS = PageFaults(
    *(np.empty(0, kind) for kind in ("f8", "i4", "i4", "u8", "i8", "i8", "i8", "i8", "?", "?", "?"))
)  # fmt: skip


class Runs(NamedTuple):
    """What was read, a value for each run: the bytes from start to end of a file. most: B that it was at the most."""

    time: npt.NDArray[np.float64]
    pid: npt.NDArray[np.int32]
    file: npt.NDArray[np.uint64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    most: npt.NDArray[np.int64]
    is_shared_for_writing: npt.NDArray[np.bool_]

    def at(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Runs:
        """Return some of the runs, by index or mask."""
        columns: tuple[Any, ...] = self
        return Runs(*(column[rows] for column in columns))


def together(parts: list[PageFaults]) -> PageFaults:
    """Return all parts, at least one, as one."""
    return PageFaults._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def by_thread(faults: PageFaults) -> PageFaults:
    """Return faults thread by thread, in order of time."""
    return faults.at(np.lexsort((faults.time, faults.thread)))


def only_ones(memory_page: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which faults of one process are the only ones on their 2 MiB of memory."""
    _, which, counts = np.unique(memory_page // _HUGE, return_inverse=True, return_counts=True)
    alone: npt.NDArray[np.bool_] = counts[which] == 1
    return alone


def runs_of(faults: PageFaults, huge: Collection[int] = ()) -> tuple[Runs, npt.NDArray[np.intp]]:
    """Join faults to runs; return these, and the run of each fault.

    faults: thread by thread, in order of time. huge: the files of which perhaps a part is mapped in pieces of 2 MiB.
    """
    follows = np.zeros(len(faults.time), np.bool_)
    block, step = faults.memory_page // _AROUND, faults.page[1:] - faults.page[:-1]
    next_block = (faults.memory_page[1:] % _AROUND == 0) & (block[1:] == block[:-1] + 1)
    # Behind a fault that waited for storage only read-ahead brings the next pages, so that they do not wait, too.
    next_block &= ~faults.is_major[:-1] | ~faults.is_major[1:] | (faults.memory_page[:-1] % _AROUND == 0)
    # Further on in the same 64 KiB: the pages from there on were not in memory at the fault before.
    ahead = (step > 0) & (block[1:] == block[:-1]) & ~faults.is_major[:-1]
    same = (faults.thread[1:] == faults.thread[:-1]) & (faults.file[1:] == faults.file[:-1])
    same &= step == faults.memory_page[1:] - faults.memory_page[:-1]
    near = next_block | ahead | (step == 1)
    for folio in _FOLIOS:
        near |= (step == folio) & (faults.page[1:] % folio == 0)
    follows[1:] = same & near
    begins = np.flatnonzero(~follows)
    ends = np.append(begins[1:], len(follows))[: len(begins)] - 1
    begin, last = faults.at(begins), faults.at(ends)
    perhaps_huge = np.isin(faults.file, np.array(list(huge), np.uint64)) & faults.is_only
    # A run ends in a piece of 2 MiB only if its fault before the last one may have mapped such a piece, too.
    after = _mapped_behind(last, perhaps_huge[ends] & perhaps_huge[np.maximum(begins, ends - 1)])
    is_long = last.memory_page // _AROUND > begin.memory_page // _AROUND
    end = last.page + 1 + np.where(is_long, (after + 1) // 2, 0)
    most = last.page + 1 + _mapped_behind(last, perhaps_huge[ends])
    most -= begin.page - _mapped_before(begin, perhaps_huge[begins])
    start = begin.page * PAGE
    runs = Runs(
        begin.time,
        begin.pid,
        begin.file,
        start,
        np.maximum(start, np.minimum(end * PAGE, last.limit)),
        most * PAGE,
        begin.is_shared_for_writing,
    )
    return runs, np.cumsum(~follows) - 1


def _mapped_behind(faults: PageFaults, is_huge: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how many pages behind its own each fault may have mapped, within 64 KiB or 2 MiB, the map and the file."""
    around = np.where(is_huge, _HUGE, _AROUND)
    after = np.minimum(around - 1 - faults.memory_page % around, -(-faults.limit // PAGE) - faults.page - 1)
    return np.where(faults.is_major, 0, np.maximum(0, after))


def _mapped_before(faults: PageFaults, is_huge: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return how many pages before its own each fault may have mapped."""
    before = np.minimum(faults.memory_page % np.where(is_huge, _HUGE, _AROUND), faults.page - faults.first)
    return np.where(faults.is_major, 0, np.maximum(0, before))
