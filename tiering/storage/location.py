"""Locations: local paths or fsspec URLs where the files of a store are read and written.

A written file appears under its name whole or not at all: locally by renaming a temporary file, in an object store
because uploads work that way. Writing and removing below a local directory follows no links.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from tiering.errors import StoreError
from tiering.storage import conditional, local
from tiering.storage.bucket import file_system, within_time
from tiering.storage.failures import asked, asking, remote_errors
from tiering.storage.names import is_relative
from tiering.storage.scratch import scratch_directory
from tiering.storage.urls import joined, name_of, refuse_mistyped
from tiering.text import without_secrets

#: Bytes of one part of an upload. An S3 object may have ten thousand parts.
_PART_BYTES: Final = 16 << 20
_PIECE: Final = 4 << 20


@dataclass(frozen=True, slots=True, repr=False)
class Location:
    """A local path, or an fsspec URL such as s3://bucket/photos.lmdb.

    base: the local directory that somebody named, if this was made from it by `/`; writing follows links only up to it.
    """

    url: str
    base: str | None = None

    @classmethod
    def of(cls, given: str | os.PathLike[str] | Location) -> Location:
        """Take a path (made absolute, for workers elsewhere), a URL or a location. Raises UsageError for a typo."""
        if isinstance(given, Location):
            return given
        text = os.fspath(given)
        if text.startswith("file://"):
            text = text.removeprefix("file://")
        refuse_mistyped(text)
        return cls(text.rstrip("/") if "://" in text else str(Path(text).absolute()))

    def __str__(self) -> str:
        """Return the path or URL without secrets, for people, notes and messages."""
        return without_secrets(self.url)

    def __repr__(self) -> str:
        return f"Location({str(self)!r})"

    def __truediv__(self, name: str) -> Location:
        return Location(joined(self.url, name), self.base or self.url)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return name_of(self.url)

    @property
    def local(self) -> Path | None:
        """The path where this is on a local file system, else None."""
        return None if "://" in self.url else Path(self.url)

    def exists(self) -> bool:
        """Return whether a file or directory is there."""
        if self.local:
            return os.path.lexists(self.local)
        return bool(self._ask("exists"))

    def is_directory(self) -> bool:
        """Return whether a directory is there, or files with this prefix."""
        if self.local:
            return self.local.is_dir()
        return bool(self._ask("isdir"))

    def size(self) -> int:
        """Return the size of a file in bytes. Raises FileNotFoundError; StoreError if it is not a regular file."""
        if self.local:
            return local.size(self.local)
        return int(self._ask("info")["size"])

    def modified(self) -> datetime | None:
        """Return when a file was written last, in UTC; None if the server does not tell. Raises FileNotFoundError."""
        if self.local:
            return datetime.fromtimestamp(int(os.stat(self.local).st_mtime), UTC)  # noqa: PTH116 - as in local.size
        found = self._ask("info").get("LastModified")
        return found.astimezone(UTC) if isinstance(found, datetime) else None

    def read(self, most: int | None = None) -> bytes:
        """Return a whole file. Raises FileNotFoundError, and StoreError for one of more than `most` bytes."""
        if self.local:
            return local.read(self.local, most)
        if most is not None:
            local.refuse_longer(self.url, self.size(), most)
        return bytes(asked(self.url, lambda: self._remote.cat_file(self.url)))

    def read_version(self) -> tuple[bytes, str]:
        """Return a whole file and its version, for write_if. Raises FileNotFoundError.

        The version is the server's own (ETag or generation); locally it is the SHA-256 of the contents.
        """
        if self.local:
            data = self.read()
            return data, hashlib.sha256(data).hexdigest()
        return asked(self.url, lambda: conditional.read_version(self.url))

    def ranges(self, files: list[Location], begins: list[int], ends: list[int]) -> list[bytes]:
        """Return byte ranges of remote files below this location, many requests at a time."""
        urls = [file.url for file in files]
        return list(asked(self.url, lambda: self._remote.cat_ranges(urls, begins, ends, on_error="raise")))

    def write(self, data: bytes, scratch: Location | None = None) -> None:
        """Write a whole file durably, replacing an existing one."""
        with self.writing(scratch) as file:
            file.write(data)

    def create(self, data: bytes) -> None:
        """Write a new file. Raises FileExistsError if there is one; UsageError for a server that cannot check that."""
        if self.local is None:
            with asking(self.url):
                conditional.create(self.url, data)
            return
        with self.creating() as file:
            file.write(data)

    def write_if(self, data: bytes, version: str, scratch: Location | None = None) -> None:
        """Replace a file that still has the version from read_version. Raises StoreError if it changed.

        Behind a URL the server decides in one request; a server that cannot do so is refused (UsageError). Locally this
        takes two steps, and the lock of the store keeps other writers out between them.
        """
        if self.local is None:
            with asking(self.url):
                conditional.write_if(self.url, data, version)
            return
        try:
            same = self.read_version()[1] == version
        except FileNotFoundError:
            same = False
        if not same:
            raise conditional.changed(self.url)
        self.write(data, scratch)

    @contextmanager
    def creating(self) -> Iterator[BinaryIO]:
        """Write a new local file piece by piece. Raises FileExistsError if anything has its name."""
        with os.fdopen(local.open_to_write(*self._below, os.O_WRONLY | os.O_EXCL), "wb") as file:
            yield file

    @contextmanager
    def writing(self, scratch: Location | None = None) -> Iterator[BinaryIO]:
        """Write a file piece by piece; it appears when the block ends without an error.

        scratch: directory on the same file system for the temporary file; the file's own by default.
        """
        if self.local:
            with self.building(scratch) as path, path.open("wb") as file:
                yield file
            return
        with remote_errors(self.url):
            upload: Any = self._remote.open(self.url, "wb", block_size=_PART_BYTES)
            try:
                yield upload
            except BaseException:
                # Closing would finish the upload, and an incomplete file must not appear.
                upload.discard()
                upload.closed = True
                raise
            upload.close()

    @contextmanager
    def building(self, scratch: Location | None = None) -> Iterator[Path]:
        """Build a file at a temporary local path; it takes its place when the block ends without an error.

        The temporary file exists already, empty. Its name is unique, so a worker that was given up and its successor
        never collide. scratch: a directory for it below the same base; by default the file's own directory.
        """
        if self.local is None:
            with scratch_directory() as directory:
                path = directory / self.name
                yield path
                with remote_errors(self.url):
                    self._remote.put_file(str(path), self.url)
            return
        base, parts = self._below
        unique = f".{self.name}.{uuid.uuid4().hex}.tmp"
        temporary = (scratch / unique)._below[1] if scratch else [*parts[:-1], unique]  # noqa: SLF001 - of this class
        path = base.joinpath(*temporary)
        os.close(local.open_to_write(base, temporary, os.O_WRONLY | os.O_EXCL))
        try:
            yield path
            local.sync(path)
            local.replace(base, temporary, parts)
        except BaseException:
            local.remove(base, temporary)
            raise

    def open_to_update(self) -> int:
        """Open or create a local file for reading and writing, and return its descriptor."""
        return local.open_to_write(*self._below, os.O_RDWR)

    def is_open_as(self, descriptor: int) -> bool:
        """Return whether a descriptor belongs to the local file that has this name now."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.lstat(self.url))
        except FileNotFoundError:
            return False

    def make_directory(self) -> None:
        """Make a local directory and its missing parents. Raises StoreError if a link is in the way."""
        base, parts = self._below
        with local.opened_directory(base, parts, create=True):
            return

    def move(self, to: Location) -> None:
        """Rename a file in one step, replacing the other one. Both must lie below the same directory."""
        if self.local and to.local:
            base, parts = to._below
            if base != self._below[0]:
                raise ValueError(f"{self} and {to} do not lie below the same directory")
            local.replace(base, self._below[1], parts)
            return
        with asking(self.url):
            self._remote.mv(self.url, to.url)

    def fetched(self, path: Path) -> Path:
        """Return a local path to a file's contents: its own path, or `path` after a download."""
        if self.local:
            return self.local
        asked(self.url, lambda: self._remote.get_file(self.url, str(path)))
        return path

    def names(self) -> list[str]:
        """Return the files and links below this directory, relative and sorted. For stores, whose files are few."""
        if self.local:
            base = str(self.local)
            found = [
                os.path.join(at, name)  # noqa: PTH118
                for at, directories, names in os.walk(base)
                for name in [*names, *(each for each in directories if os.path.islink(os.path.join(at, each)))]  # noqa: PTH114, PTH118
            ]
            return sorted(os.path.relpath(path, base) for path in found)
        root = self._remote._strip_protocol(self.url)  # noqa: SLF001 - fsspec's own way to compare paths
        found = asked(self.url, lambda: self._remote.find(root))
        return sorted(str(path).removeprefix(root).lstrip("/") for path in found)

    def remove(self) -> None:
        """Remove a file, or a directory with its contents, if it exists."""
        if self.local:
            local.remove(*self._below)
            return
        with asking(self.url):
            self._remote.invalidate_cache()
            # What goes away meanwhile is removed, too.
            with suppress(FileNotFoundError):
                self._remote.rm(self.url, recursive=True)

    def remove_empty_directories(self) -> None:
        """Remove the empty directories below a local one, and the directory itself if nothing is left in it."""
        if self.local:
            for directory, _, _ in os.walk(self.local, topdown=False):
                with suppress(OSError):  # directories that are not empty stay
                    os.rmdir(directory)  # noqa: PTH106

    @property
    def _below(self) -> tuple[Path, list[str]]:
        """The directory that is trusted, and the names below it that lead here. Raises StoreError for a bad name."""
        base = Path(self.base) if self.base else Path(self.url).parent
        name = self.url.removeprefix(self.base).lstrip("/") if self.base else Path(self.url).name
        # Keys of samples and names from users may hold any byte; names from files were validated when they were read.
        if not is_relative(os.fsencode(name)):
            found = f"expected a relative path without .., found {name[:100]!r}"
            raise StoreError(str(base), found=found, action="Nothing was written or removed there.")
        return base, name.split("/")

    def _ask(self, what: str) -> Any:
        """Make a single request to the server. what: a method of fsspec's file systems."""
        remote = self._remote
        return asked(self.url, lambda: getattr(remote, what)(self.url, **within_time(remote)))

    @property
    def _remote(self) -> Any:
        with remote_errors(self.url):
            return file_system(self.url)[0]
