"""Open traces: decompress gzip, Zstandard and xz, and keep no file open between reads."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

#: How many B a decompressor reads from its file at a time.
_TAKEN = 1 << 16


class _Reopened(io.RawIOBase):
    """A file that is open only during a read, because a trace may have more files than a process may open.

    Reopening costs about 10 us per block.
    """

    def __init__(self, path: Path, reached: Callable[[int], None] | None) -> None:
        self._path, self._at, self._reached = path, 0, reached

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            raise io.UnsupportedOperation("the end is not looked for")
        self._at = offset + (self._at if whence == os.SEEK_CUR else 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._at)
            count = file.readinto(buffer) or 0
        self._at += count
        if self._reached is not None:
            self._reached(self._at)
        return count


class _Zstandard(io.RawIOBase):
    """The text of a Zstandard file with any number of frames.

    The library's own reader does not notice a truncated file. Frames are decompressed in small pieces, because four
    bytes can stand for 128 KiB. Memory is bounded by 16 MiB for any file.
    """

    _PIECE = 512

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._fed = b""
        self._text = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._text:
            self._fed = self._fed or self._file.read(self._PIECE)
            if not self._fed:
                if self._begun:
                    raise EOFError("the file ended before the end of its frame")
                return 0
            self._text = memoryview(self._frame.decompress(self._fed))
            self._begun, self._fed = not self._frame.eof, self._frame.unused_data
            if not self._begun:
                # Parallel compressors write several frames, and so does `cat a.zst b.zst`.
                self._frame = zstandard.ZstdDecompressor().decompressobj()
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._text))
        target[:count] = self._text[:count]
        self._text = self._text[count:]
        return count


#: The first bytes of compressed files, and what opens them.
_COMPRESSED: dict[bytes, Callable[[io.BufferedReader], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file, mode="rb"),
    b"\x28\xb5\x2f\xfd": lambda file: io.BufferedReader(_Zstandard(file)),
    b"\xfd7zXZ": lzma.LZMAFile,
}
#: Exceptions of decompressors for broken data.
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zstandard.ZstdError)

_TAKEN_FOR_COMPRESSED = (*_COMPRESSED, b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")


def open_trace(path: Path, reached: Callable[[int], None] | None = None) -> io.BufferedIOBase:
    """Open a trace for reading bytes, and decompress gzip, Zstandard and xz. Raises OSError and BROKEN.

    reached: called with the position in the file, in B, after each read from it.
    """
    with path.open("rb") as raw:
        head = raw.read(max(map(len, _COMPRESSED)))
    file: io.BufferedReader = io.BufferedReader(_Reopened(path, reached), _TAKEN)
    for magic, opened in _COMPRESSED.items():
        if head.startswith(magic):
            return opened(file)
    return file


def for_polars(lines: bytes) -> io.BytesIO:
    """Wrap text for Polars, masking a first byte that it would mistake for a compression header."""
    return io.BytesIO(b"?" + lines[1:] if lines.startswith(_TAKEN_FOR_COMPRESSED) else lines)
