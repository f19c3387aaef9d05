"""Slots: which payloads of a dataset lie where in the extents, as a table that readers need no lock for."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tiering.order import IndexArray

_Table = npt.NDArray[np.uint32]

#: A slot: number of the extent + 1 (0: nothing), place in it, CRC-32C of the payload, and a check of these three.
SLOT_BYTES: Final = 16
_SLOT: Final = np.dtype("<u4")

#: Slots looked at together by who goes through all of them.
_AT_ONCE: Final = 1 << 16

# struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK: Final = struct.Struct("hhqqi4x")


class Slots:
    """The table of a dataset's units, mapped by all processes.

    path: of SLOT_BYTES a unit; key: differs from one filling to the next, so that what one left behind means nothing to
    another.
    A slot is written in one go and carries a check of itself with its number: what was half written, or is of another
    filling, is no slot.
    """

    def __init__(self, path: Path, units: int, key: int) -> None:
        self._path, self._key = path, np.uint32(key)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), units * SLOT_BYTES)
        self._table: _Table = np.frombuffer(self._map, dtype=_SLOT).reshape(units, 4)
        self._descriptor, self._process = -1, 0

    def find(self, units: IndexArray) -> tuple[IndexArray, IndexArray, _Table, _Table]:
        """Return where units lie: int64 numbers of extents, -1 for none, and int64 offsets.

        And two uint32 of each: CRC-32C, and the check, which differs for the same unit at another place.
        """
        rows = self._table[units]
        extent = rows[:, 0].astype(np.int64) - 1
        extent[rows[:, 3] != self._check(units.astype(np.uint32), rows)] = -1
        return extent, rows[:, 1].astype(np.int64), rows[:, 2], rows[:, 3]

    def publish(self, unit: int, extent: int, offset: int, crc: int) -> None:
        """Write a unit's slot, once its payload is written."""
        row = np.array([[extent + 1, offset, crc, 0]], dtype=_SLOT)
        row[0, 3] = self._check(np.array([unit], dtype=np.uint32), row)[0]
        self._table[unit] = row[0]

    def withdraw(self, unit: int) -> None:
        """Empty a unit's slot, because its payload is not what it says."""
        self._table[unit] = 0

    def filled(self) -> Iterator[tuple[IndexArray, IndexArray, IndexArray, _Table]]:
        """Go through the units that have a payload, many at a time: units, extents, offsets and CRC-32Cs."""
        for begin in range(0, len(self._table), _AT_ONCE):
            units = np.arange(begin, min(begin + _AT_ONCE, len(self._table)), dtype=np.int64)
            extent, offset, crc, _ = self.find(units)
            there = extent >= 0
            yield units[there], extent[there], offset[there], crc[there]

    def lock(self, unit: int) -> bool:
        """Take the lock of a unit, which dies with this process; False where another process has it."""
        try:
            self._lock(unit, fcntl.F_WRLCK)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True

    def unlock(self, unit: int) -> None:
        """Let go of the lock of a unit."""
        self._lock(unit, fcntl.F_UNLCK)

    def close(self) -> None:
        """Let go of the locks."""
        if self._descriptor >= 0 and self._process == os.getpid():
            os.close(self._descriptor)
        self._descriptor = -1

    def _lock(self, unit: int, kind: int) -> None:
        if self._process != os.getpid():
            # These locks belong to an open file, which a fork would share.
            self._descriptor, self._process = os.open(self._path, os.O_RDWR), os.getpid()
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, unit, 1, 0))

    def _check(self, units: npt.NDArray[np.uint32], rows: _Table) -> npt.NDArray[np.uint32]:
        """Mix a slot's number, its fields and the key: never 0 for what was never written."""
        mixed = units ^ self._key
        for column in range(3):
            mixed = (mixed ^ rows[:, column]) * np.uint32(0x9E3779B1)
            mixed ^= mixed >> np.uint32(15)
        return mixed | np.uint32(1)
