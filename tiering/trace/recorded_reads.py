"""Reads that a program told of, as rows of a trace: where they were, when, and encoded as Parquet."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import google_crc32c
import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.storage.parquet_rows import Column, RowGroup, row_group

T = TypeVar("T")

#: The operations of a recording.
_OPS: Final = ("read", "open", "close")


@dataclass(frozen=True, slots=True)
class Places:
    """Where some bytes are.

    Attributes:
        paths: Files, by path or URL.
        file: int64 (n,), the number in `paths` of each.
        offset: int64 (n,), bytes from the beginning of the file.
        size: int64 (n,), bytes.
        opens: bool (n,), whether the file is opened for this read alone, and closed after it.
    """

    paths: Sequence[str]
    file: IndexArray
    offset: IndexArray
    size: IndexArray
    opens: npt.NDArray[np.bool_]


def joined_places(found: Sequence[Places]) -> list[Places]:
    """Return places one after another as one."""
    begins = np.cumsum([0, *(len(each.paths) for each in found)])[:-1].tolist()
    file = np.concatenate([each.file + begin for each, begin in zip(found, begins, strict=True)])
    offset, size = (np.concatenate([getattr(each, name) for each in found]) for name in ("offset", "size"))
    opens = np.concatenate([each.opens for each in found])
    return [Places([path for each in found for path in each.paths], file, offset, size, opens)]


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """Some reads that were told together.

    Attributes:
        what: What was read, as `locate` takes it.
        count: How many reads.
        time: When they ended, s since 1970.
        duration: How long they took together, s.
    """

    what: T
    count: int
    time: float
    duration: float


def encoded(
    told: Sequence[Told[T]], locate: Callable[[list[T]], Sequence[Places]], job: int, *, timed: bool
) -> RowGroup | None:
    """Encode reads of at least a byte, with their opens and closes, in EVENT_SCHEMA; None if there are none.

    It costs 0.1 us a read (benchmarks/recording.py).

    Args:
        told: The reads.
        locate: As for the Recorder.
        job: The number of the job, for `group`.
        timed: Whether durations are known.
    """
    told = sorted(told, key=lambda each: each.time - each.duration) if timed else told
    places = locate([each.what for each in told])
    counts = [each.count for each in told]
    batch = np.tile(np.repeat(np.arange(len(told), dtype=np.uint32), counts), len(places))
    (found,) = joined_places(places) if len(places) > 1 else places
    kept = np.flatnonzero(found.size)
    if len(places) > 1:
        kept = kept[np.argsort(batch[kept], kind="stable")]
    if not len(kept):
        return None
    opens = found.opens[kept]
    # A read is one event, or the middle one of three.
    events = np.where(opens, 3, 1)
    rows = np.repeat(kept, events) if opens.any() else kept
    op = np.full(len(rows), _OPS.index("read"), np.uint8)
    at = (np.cumsum(events) - 2)[opens]
    op[at - 1], op[at + 1] = _OPS.index("open"), _OPS.index("close")
    reads = op == _OPS.index("read")
    paths, file = _distinct(found.paths, found.file[rows])
    batch = batch[rows]
    took = np.array([each.duration / max(1, each.count) for each in told])

    def same(value: object, kind: npt.DTypeLike) -> Column:
        return Column(np.array([value], kind), np.zeros(len(rows), np.uint8))

    columns = {
        "time": Column(np.array([each.time - each.duration for each in told]), batch),
        "op": Column(np.array(_OPS, object), op),
        "file": Column(np.array([_hash(path) for path in paths], np.uint64), file),
        "offset": Column(found.offset[rows], valid=reads),
        "size": Column(np.where(reads, found.size[rows], 0)),
        "pid": same(os.getpid(), np.int32),
        "group": same(job, np.int32),
        "duration": Column(took, batch, valid=reads & timed),
        "path": Column(np.array(paths, object), file),
        "flags": Column(np.array(["r"], object), np.zeros(len(rows), np.uint8), valid=op == _OPS.index("open")),
    }
    return row_group(columns, len(rows))


def _distinct(paths: Sequence[str], file: IndexArray) -> tuple[list[str], IndexArray]:
    """Return the distinct paths that are used, and for each of `file`, numbers in `paths`, its number among them."""
    numbers: dict[str, int] = {}
    number = np.zeros(len(paths), np.int64)
    for at in np.flatnonzero(np.bincount(file, minlength=len(paths))).tolist():
        number[at] = numbers.setdefault(paths[at], len(numbers))
    return list(numbers), number[file]


def _hash(path: str) -> int:
    """Return 64 bits that are the same in every process. Two checksums of 32 bits take 0.3 us, a digest 1 us."""
    data = path.encode("utf-8", "surrogateescape")
    return zlib.crc32(data) << 32 | int(google_crc32c.value(data))
