"""Slot table: where each payload of a dataset is in the extents, read without a lock."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tiering.arrays import IndexArray
from tiering.cache.files import open_file

_Table = npt.NDArray[np.uint32]

#: A slot: number of the extent + 1 (0: empty), offset in it, CRC-32C of the payload, and a check of these three.
SLOT_BYTES: Final = 16
_SLOT: Final = np.dtype("<u4")

#: Slots in a bucket, in any of which a unit may be: 128 bytes, two lines of the processor's cache.
_WAYS: Final = 8

#: Slots for each payload that fits into the cache. With fewer, some units would find their buckets full.
_SPARE: Final = 4

#: Lock bytes of buckets start here, after those of all units.
_BUCKETS_AT: Final = 1 << 40
_TRIES: Final = 100
_PAUSE: Final = 1e-4

# struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK: Final = struct.Struct("hhqqi4x")


class SlotLookup(NamedTuple):
    """Where units are, each array (n,).

    Attributes:
        extent: Numbers of extents; -1 for a unit without a slot.
        offset: Offsets of the payloads, in bytes.
        crc: CRC-32Cs of the payloads.
        check: Checks of the slots. A unit that is stored again elsewhere has another one.
        slot: Numbers of the slots.
    """

    extent: IndexArray
    offset: IndexArray
    crc: npt.NDArray[np.uint32]
    check: npt.NDArray[np.uint32]
    slot: IndexArray


def table_bytes(units: int, capacity: int) -> int:
    """Return the size of a table for a dataset's units, in a cache that can hold `capacity` of them."""
    return -(-max(1, min(units, _SPARE * capacity)) // _WAYS) * _WAYS * SLOT_BYTES


def is_table(path: Path, units: int) -> bool:
    """Return whether a file has a possible size for a table of this many units."""
    size = path.stat().st_size
    return 0 < size <= table_bytes(units, units) and size % (_WAYS * SLOT_BYTES) == 0


class SlotTable:
    """The table of a dataset's units, mapped by all processes. Its size depends on the cache, not on the dataset.

    Unit u may be in any of the eight slots of bucket u modulo the number of buckets. A slot contains a check of its own
    fields, the number of its unit, and the key of this filling. So a slot that was half written, or belongs to another
    filling, counts as empty.

    Args:
        path: The file, of table_bytes().
        key: A number that differs from one filling to the next.
    """

    def __init__(self, path: Path, key: int) -> None:
        self._path, self._key = path, np.uint32(key)
        with os.fdopen(open_file(path, os.O_RDWR), "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._table: _Table = np.frombuffer(self._map, dtype=_SLOT).reshape(-1, _WAYS, 4)
        self._descriptor, self._process = -1, 0

    def __len__(self) -> int:
        return len(self._table) * _WAYS

    def find(self, units: IndexArray) -> SlotLookup:
        """Return where units are."""
        bucket = units % len(self._table)
        rows = self._table[bucket]
        same = rows[:, :, 3] == self._check(units.astype(np.uint32)[:, None], rows)
        way = same.argmax(axis=1)
        rows = rows[np.arange(len(units)), way]
        extent = rows[:, 0].astype(np.int64) - 1
        extent[~same.any(axis=1)] = -1
        return SlotLookup(extent, rows[:, 1].astype(np.int64), rows[:, 2], rows[:, 3], bucket * _WAYS + way)

    def has_free(self, unit: int) -> bool:
        """Return whether there is a free slot for a unit."""
        return not self._table[unit % len(self._table), :, 0].all()

    def publish(self, unit: int, extent: int, offset: int, crc: int) -> bool:
        """Write a unit's slot, once its payload is written.

        Returns:
            False if no slot was free, or another process held the bucket's lock for too long.
        """
        row = np.array([[extent + 1, offset, crc, 0]], dtype=_SLOT)
        row[0, 3] = self._check(np.array([unit], dtype=np.uint32), row)[0]
        bucket = unit % len(self._table)
        lock = _BUCKETS_AT + bucket
        for _ in range(_TRIES):
            if self.lock(lock):
                break
            time.sleep(_PAUSE)
        else:
            return False
        try:
            way = int(self._table[bucket, :, 0].argmin())
            free = not self._table[bucket, way, 0]
            if free:
                self._table[bucket, way] = row[0]
        finally:
            self.unlock(lock)
        return free

    def withdraw(self, unit: int) -> None:
        """Empty a unit's slot, because its payload is damaged."""
        found = self.find(np.array([unit]))
        if found.extent[0] >= 0:
            self._table.reshape(-1, 4)[found.slot[0]] = 0

    def filled(self) -> tuple[IndexArray, IndexArray]:
        """Return the extents and offsets of all slots in use. The heads of the payloads name their units."""
        table = self._table.reshape(-1, 4)
        there = np.flatnonzero(table[:, 0])
        return table[there, 0].astype(np.int64) - 1, table[there, 1].astype(np.int64)

    def lock(self, unit: int) -> bool:
        """Take the lock of a unit; return False if another process holds it. It ends with this process."""
        try:
            self._lock(unit, fcntl.F_WRLCK)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True

    def unlock(self, unit: int) -> None:
        """Release the lock of a unit."""
        self._lock(unit, fcntl.F_UNLCK)

    def close(self) -> None:
        """Release all locks."""
        if self._descriptor >= 0 and self._process == os.getpid():
            os.close(self._descriptor)
        self._descriptor = -1

    def _lock(self, at: int, kind: int) -> None:
        if self._process != os.getpid():
            # These locks belong to an open file, which a fork would share with its parent.
            self._descriptor, self._process = open_file(self._path, os.O_RDWR), os.getpid()
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, at, 1, 0))

    def _check(self, units: npt.NDArray[np.uint32], rows: _Table) -> npt.NDArray[np.uint32]:
        """Mix a unit's number, a slot's fields and the key. The result is never 0, as it is in an empty slot."""
        mixed = units ^ self._key
        for column in range(3):
            mixed = (mixed ^ rows[..., column]) * np.uint32(0x9E3779B1)
            mixed ^= mixed >> np.uint32(15)
        return mixed | np.uint32(1)


#: The head of a payload: its size, and the number of its unit.
_HEAD: Final = struct.Struct("<II")
HEAD_BYTES: Final = _HEAD.size


class Payloads(NamedTuple):
    """The payloads of a dataset in one extent: their units, offsets and sizes, each int64 (n,)."""

    path: Path
    units: IndexArray
    offsets: IndexArray
    sizes: IndexArray


def head(unit: int, size: int) -> bytes:
    """Return the head that precedes a payload."""
    return _HEAD.pack(size, unit)


def payloads_of(slots: SlotTable, paths: dict[int, Path]) -> Iterator[Payloads]:
    """Yield the payloads that a table names, one extent at a time, without those whose slot or head is wrong.

    Args:
        slots: The table.
        paths: The extents to look at, by number; missing ones are skipped.
    """
    extents, offsets = slots.filled()
    for number, path in paths.items():
        here = offsets[extents == number]
        heads = _heads(path, here)
        if heads is None:
            continue
        units = heads[:, 1]
        found = slots.find(units)
        same = (found.extent == number) & (found.offset == here)
        yield Payloads(path, units[same], here[same], heads[same, 0])


def _heads(path: Path, offsets: IndexArray) -> IndexArray | None:
    """Read the heads of payloads: int64 (n, 2) of bytes and units; zeros for offsets outside the extent."""
    if not len(offsets):
        return None
    try:
        with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except FileNotFoundError:
        return None
    inside = (offsets >= HEAD_BYTES) & (offsets <= size)
    found = np.zeros((len(offsets), 2), dtype=np.int64)
    at = (offsets[inside] - HEAD_BYTES)[:, None] + np.arange(HEAD_BYTES)
    found[inside] = np.frombuffer(data, dtype=np.uint8)[at].view("<u4")
    return found
