"""A file of a store, written from front to back in large blocks, with its size and CRC-32C.

Where a disk allows it, whole blocks go past the page cache. The kernel then neither finds a page for every 4 KiB nor
copies, which takes several times the processor time, and no dirty pages are left that a sync has to wait for.
"""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import BinaryIO, Final

import google_crc32c
import numpy as np

from tiering.system.direct_writes import ALIGNMENT, bypass_page_cache

#: Bytes of a block. With this size, one writer reaches four fifths of the speed of an NVMe disk, and two all of it.
_BLOCK: Final = 4 << 20

#: The polynomial of CRC-32C, its lowest power in the highest bit.
_POLYNOMIAL: Final = 0x82F63B78


class BlockFile:
    """Gathers what is written into blocks.

    All blocks use the same memory. Fresh memory would cost more than the copy: 25 page faults for an image of 110 kB.

    file: open for writing, at its beginning. local: whether it is a file of this machine, at `file.name`.
    """

    def __init__(self, file: BinaryIO, *, local: bool) -> None:
        self._file, self._local, self._direct = file, local, False
        self._block = memoryview(mmap.mmap(-1, _BLOCK))
        self._numbers = np.frombuffer(self._block, dtype=np.uint8)  # google_crc32c takes no memoryview
        self._held = self._written = self._crc = 0

    @property
    def size(self) -> int:
        """Bytes that were written."""
        return self._written + self._held

    @property
    def crc(self) -> int:
        """CRC-32C of all bytes."""
        return int(google_crc32c.extend(self._crc, self._numbers[: self._held]))

    def write(self, data: bytes | memoryview) -> int:
        """Write some bytes. Raises OSError."""
        size = len(data)
        if self._held + size > _BLOCK:
            data = memoryview(data)
            while self._held + len(data) > _BLOCK:
                room = _BLOCK - self._held
                self._block[self._held :], data = data[:room], data[room:]
                self._held = _BLOCK
                self._flush(_BLOCK)
        end = self._held + len(data)
        self._block[self._held : end] = data
        self._held = end
        return size

    def finish(self, head: bytes = b"") -> None:
        """Write what is left, and make a local file durable. Raises OSError.

        head: replaces as many bytes at the beginning of a local file, which were written as zeros.
        """
        if not self._written:
            self._block[: len(head)] = head
            head = b""
        whole = self._held // ALIGNMENT * ALIGNMENT if self._direct else 0
        self._flush(whole)
        self._through_page_cache()
        self._flush(self._held)
        if head:
            zeros = google_crc32c.value(bytes(len(head)))
            self._crc ^= _followed(google_crc32c.value(head) ^ zeros, self.size - len(head))
            os.pwrite(self._file.fileno(), head, 0)
        if self._local:
            os.fsync(self._file.fileno())

    def _flush(self, size: int) -> None:
        """Write the beginning of the block, and move up the rest."""
        if not self._local:
            self._file.write(bytes(self._block[:size]))
        else:
            if size == _BLOCK and not self._written:
                self._direct = bypass_page_cache(self._file.fileno(), Path(self._file.name))
            self._put(self._block[:size])
        self._crc = int(google_crc32c.extend(self._crc, self._numbers[:size]))
        self._held, self._written = self._held - size, self._written + size
        self._block[: self._held] = self._block[size : size + self._held]

    def _put(self, data: memoryview) -> None:
        while len(data):
            try:
                data = data[os.write(self._file.fileno(), data) :]
            except OSError as error:
                # A disk may want larger multiples, and a full one may take a part that is none.
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                self._through_page_cache()

    def _through_page_cache(self) -> None:
        if self._direct:
            self._direct = bypass_page_cache(self._file.fileno(), Path(self._file.name), wanted=False)


def _followed(crc: int, size: int) -> int:
    """Return the difference that one in the CRC-32C of some bytes makes to the CRC-32C of these and `size` more.

    It is multiplied by x^(8 size), modulo the polynomial: a square for each bit of the size.
    """
    power, bits = 1 << 23, size  # x^8
    while bits:
        if bits & 1:
            crc = _product(power, crc)
        power, bits = _product(power, power), bits >> 1
    return crc


def _product(one: int, other: int) -> int:
    """Return the product of two polynomials of 32 bits modulo that of CRC-32C."""
    found = 0
    for power in range(31, -1, -1):
        if one >> power & 1:
            found ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return found
