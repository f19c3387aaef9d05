"""A file of a store, written from front to back, with its size and CRC-32C.

Where a disk allows it, the file goes past the page cache in large pieces. The kernel then neither finds a page for each
4 KiB nor copies, which takes several times the processor time, and no dirty pages are left that a sync has to wait for.
"""

from __future__ import annotations

import errno
import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import google_crc32c
import numpy as np

from tiering.system.direct_writes import ALIGNMENT, bypass_page_cache

#: Bytes of a buffer: a huge page. Smaller ones take more processor time for writes.
_BUFFER: Final = 2 << 20

#: The polynomial of CRC-32C, its lowest power in the highest bit.
_POLYNOMIAL: Final = 0x82F63B78


class DirectFile:
    """Gathers what is written in two buffers in turn. While one is filled, a thread writes the other.

    They are used again and again. Fresh memory would cost more than the copy: 25 page faults for an image of 110 kB.

    file: open for writing, at its beginning. local: whether it is a file of this machine, at `file.name`.
    """

    def __init__(self, file: BinaryIO, *, local: bool) -> None:
        self._file, self._local, self._direct = file, local, False
        self._buffer, self._other = _memory(), _memory()
        self._held = self._written = self._crc = 0
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    @property
    def size(self) -> int:
        """Bytes that were written."""
        return self._written + self._held

    @property
    def crc(self) -> int:
        """CRC-32C of all bytes."""
        return self._crc_with(self._held)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write some bytes. Raises OSError, perhaps of an earlier write."""
        size = len(data)
        if self._held + size > _BUFFER:
            data = memoryview(data)
            while self._held + len(data) > _BUFFER:
                room = _BUFFER - self._held
                self._buffer[self._held :], data = data[:room], data[room:]
                self._write_buffer()
        end = self._held + len(data)
        self._buffer[self._held : end] = data
        self._held = end
        return size

    def finish(self, head: bytes = b"") -> None:
        """Write what is left, and make a local file durable. Raises OSError.

        head: replaces as many bytes at the beginning of a local file, which were written as zeros.
        """
        if not self._written:
            self._buffer[: len(head)] = head
            head = b""
        self._wait()
        self._crc = self._crc_with(self._held)
        last = self._buffer[: self._held]
        self._written, self._held = self.size, 0
        if not self._local:
            self._file.write(bytes(last))
            return
        aligned = len(last) // ALIGNMENT * ALIGNMENT
        self._put(last[:aligned])
        self._through_page_cache()
        self._put(last[aligned:])
        if head:
            zeros = google_crc32c.value(bytes(len(head)))
            self._crc ^= _followed(google_crc32c.value(head) ^ zeros, self.size - len(head))
            os.pwrite(self._file.fileno(), head, 0)
        os.fsync(self._file.fileno())

    def _write_buffer(self) -> None:
        """Write the buffer, which is full, and go on with the other one."""
        self._crc = self._crc_with(_BUFFER)
        self._wait()
        if not self._local:
            self._file.write(bytes(self._buffer))
        else:
            if self._thread is None:
                self._direct = bypass_page_cache(self._file.fileno(), Path(self._file.name))
                self._thread = ThreadPoolExecutor(1)
            self._writing = self._thread.submit(self._put, self._buffer)
        self._written, self._held = self._written + _BUFFER, 0
        self._buffer, self._other = self._other, self._buffer

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _crc_with(self, size: int) -> int:
        # google_crc32c takes no memoryview.
        return int(google_crc32c.extend(self._crc, np.frombuffer(self._buffer[:size], dtype=np.uint8)))

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


def _memory() -> memoryview:
    """Return page-aligned memory for a buffer, a huge page if the kernel has one: 0.1 ms, not 1.1 ms of page faults."""
    memory = mmap.mmap(-1, _BUFFER, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


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
