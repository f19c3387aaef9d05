"""A file that is written from front to back, with its size and CRC-32C."""

from __future__ import annotations

from typing import BinaryIO

import google_crc32c


class Summed:
    """Passes on what is written, and adds up."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.crc = 0

    def write(self, data: bytes) -> int:
        """Write some bytes."""
        self.size += len(data)
        self.crc = google_crc32c.extend(self.crc, data)
        return self._file.write(data)
