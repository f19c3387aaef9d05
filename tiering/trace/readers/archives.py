"""Unpack a directory of logs from a `.tar`, `.tar.gz` (or other compression) or `.zip`, without trusting it.

Only regular files are unpacked, with names that stay below the directory, and no more files and bytes than the logs of
one job can have. Links, devices and directories of the archive are never created.
"""

from __future__ import annotations

import io
import shutil
import stat
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self, cast

from tiering.errors import TraceError, from_os_error
from tiering.storage.names import relative_name
from tiering.text import shown
from tiering.trace.readers.opening import BROKEN, open_trace

#: Most members of an archive, and most B in all of its files.
MEMBERS, TOTAL = 100_000, 1 << 34
#: The share of the free space that they may use.
_ROOM = 0.5
_PIECE = 1 << 20
#: Most B read between two members. tarfile holds the whole of a name that has a header of its own.
_HEADERS = 1 << 20
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TAR, _TAR_AT = b"ustar", 257
_ACTION = "Unpack it yourself, and name the directory."
_WRONG = (*BROKEN, tarfile.TarError, zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError)


def is_archive(head: bytes) -> bool:
    """Return whether the first (decompressed) bytes are those of an archive."""
    return head.startswith(_ZIP) or head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR


def unpack(path: Path, to: Path) -> list[str]:
    """Unpack the regular files of an archive into an empty directory, and return the names of its links and devices.

    Raises TraceError for a damaged archive, a name that leads out of the directory, and too much data; MachineError if
    there is no space.
    """
    left = min(TOTAL, int(shutil.disk_usage(to).free * _ROOM))
    others: list[str] = []
    try:
        for count, (name, is_directory, content) in enumerate(_zipped(path) if _is_zip(path) else _tarred(path)):
            if count >= MEMBERS:
                raise _refused(path, f"it holds more than {MEMBERS:,} files")
            if content is None:
                others += [name.removeprefix("./")] * (not is_directory)
                continue
            target = to / relative_name(name.removeprefix("./"))
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                while piece := content.read(_PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise _refused(
                            path, f"it unpacks to more than {TOTAL:,} bytes, or half of the free space at {to.parent}"
                        )
                    file.write(piece)
    except _WRONG as error:
        raise _refused(path, f"it cannot be unpacked ({shown(str(error)[:200])})") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refused(path, "two of its members have one name, and one of them is a directory") from error
    except OSError as error:
        raise from_os_error(error) from error
    return others


class _Member(tarfile.TarInfo):
    """A header of a tar. tarfile mistakes a damaged header, or a cut between members, for the end of the tar."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf and not any(buf):
                raise
            raise tarfile.ReadError(f"no member and no end where one must be: {error}") from error


class _Tar(tarfile.TarFile):
    tarinfo = _Member
    #: The members that it keeps.
    members: list[tarfile.TarInfo]


class _Bounded:
    """A file from which a limited number of bytes can be read. `left` can be reset."""

    def __init__(self, file: IO[bytes] | io.BufferedIOBase) -> None:
        self._file, self.left = file, _HEADERS

    def read(self, size: int) -> bytes:
        """Read on. Raises tarfile.ReadError if the limit is reached."""
        piece = self._file.read(size)
        self.left -= len(piece)
        if self.left < 0:
            raise tarfile.ReadError(f"more than {_HEADERS:,} bytes of headers before a member")
        return piece


def _is_zip(path: Path) -> bool:
    """Decide by the first bytes, because zipfile.is_zipfile also finds a zip that is the last member of a tar."""
    with path.open("rb") as file:
        return file.read(max(map(len, _ZIP))).startswith(_ZIP)


def _tarred(path: Path) -> Iterator[tuple[str, bool, IO[bytes] | None]]:
    """Yield the members of a tar, with the contents of regular files. Links are other names, not logs."""
    with open_trace(path) as raw:
        bounded = _Bounded(raw)
        with _Tar.open(fileobj=cast("IO[bytes]", bounded), mode="r|") as archive:
            while (member := archive.next()) is not None:
                # Both would grow with each member.
                archive.members, archive.pax_headers = [], {}
                bounded.left = sys.maxsize
                yield member.name, member.isdir(), archive.extractfile(member) if member.isreg() else None
                bounded.left = _HEADERS


def _zipped(path: Path) -> Iterator[tuple[str, bool, IO[bytes] | None]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir() or kind not in (0, stat.S_IFREG):
                yield member.filename, member.is_dir(), None
                continue
            with archive.open(member) as content:
                yield member.filename, False, content


def _refused(path: Path, found: str) -> TraceError:
    return TraceError(str(path), found=found, action=_ACTION)
