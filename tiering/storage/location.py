"""Locations: a local path or an fsspec URL, as somewhere to find and to put the files of a store.

A file that is written appears under its name whole or not at all: locally by renaming a temporary one, in an object
store because objects are so. What is written or removed below a local directory is reached without following a link.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import fsspec

from tiering.errors import InputError, MachineError, StoreError, TieringError, UsageError, from_os_error
from tiering.storage import local
from tiering.storage.names import relative_name
from tiering.storage.scratch import scratch_directory

#: Parts of an upload. Ten thousand of them are the most an S3 object may have.
_PART_BYTES: Final = 16 << 20
_PIECE: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Location:
    """A local path, or an fsspec URL such as s3://bucket/photos.lmdb.

    base: the local directory that somebody named, where this was made from it by `/`; only it may be reached through
    links when something is written.
    """

    url: str
    base: str | None = None

    @classmethod
    def of(cls, given: str | os.PathLike[str] | Location) -> Location:
        """Take a path, a URL or a location; a local path becomes absolute, so that workers elsewhere find it."""
        if isinstance(given, Location):
            return given
        text = os.fspath(given)
        if text.startswith("file://"):
            text = text.removeprefix("file://")
        return cls(text.rstrip("/") if "://" in text else str(Path(text).absolute()))

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Location:
        return Location(f"{self.url}/{name}", self.base or self.url)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def local(self) -> Path | None:
        """The path where this is on a local file system, else None."""
        return None if "://" in self.url else Path(self.url)

    def exists(self) -> bool:
        """Tell whether a file or directory is there."""
        if self.local:
            return os.path.lexists(self.local)
        with remote_errors(self.url):
            return bool(self._remote.exists(self.url))

    def is_directory(self) -> bool:
        """Tell whether a directory is there, or files below such a prefix."""
        if self.local:
            return self.local.is_dir()
        with remote_errors(self.url):
            return bool(self._remote.isdir(self.url))

    def size(self) -> int:
        """Return the bytes of a file. Raises FileNotFoundError."""
        if self.local:
            return self.local.stat().st_size
        with remote_errors(self.url):
            return int(self._remote.info(self.url)["size"])

    def read(self) -> bytes:
        """Return a whole file. Raises FileNotFoundError."""
        if self.local:
            with os.fdopen(local.open_to_read(self.local), "rb") as file:
                return file.read()
        with remote_errors(self.url):
            data: bytes = self._remote.cat_file(self.url)
        return data

    def ranges(self, files: list[Location], begins: list[int], ends: list[int]) -> list[bytes]:
        """Return byte ranges of remote files below this place, many requests at a time."""
        with remote_errors(self.url):
            found: list[bytes] = self._remote.cat_ranges([file.url for file in files], begins, ends, on_error="raise")
        return found

    def write(self, data: bytes, scratch: Location | None = None) -> None:
        """Write a whole file, durably; what has its name is replaced."""
        with self.writing(scratch) as file:
            file.write(data)

    def create(self, data: bytes) -> None:
        """Write a whole local file that must be new. Raises FileExistsError where anything has its name."""
        base, parts = self._below
        with os.fdopen(local.open_to_write(base, parts, os.O_WRONLY | os.O_EXCL), "wb") as file:
            file.write(data)

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
                # Closing would finish the upload: what breaks off must not appear.
                upload.discard()
                upload.closed = True
                raise
            upload.close()

    @contextmanager
    def building(self, scratch: Location | None = None) -> Iterator[Path]:
        """Build a file under a temporary local path; it is put in its place when the block ends without an error.

        The file is there already, empty. Its name is unique, so that a worker that was given up and its successor
        never meet. scratch: a directory below the same base for it; the file's own by default.
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
        temporary = (scratch / unique)._below[1] if scratch else [*parts[:-1], unique]  # noqa: SLF001 - of its own class
        path = base.joinpath(*temporary)
        os.close(local.open_to_write(base, temporary, os.O_WRONLY | os.O_EXCL))
        try:
            yield path
            sync(path)
            local.replace(base, temporary, parts)
        except BaseException:
            local.remove(base, temporary)
            raise

    def open_to_update(self) -> int:
        """Open or create a local file for reading and writing, and return its descriptor."""
        return local.open_to_write(*self._below, os.O_RDWR)

    def is_open_as(self, descriptor: int) -> bool:
        """Return whether a descriptor is of the local file that has this name now."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.lstat(self.url))
        except FileNotFoundError:
            return False

    def make_directory(self) -> None:
        """Make a local directory and what is missing above it. Raises StoreError where a link is in the way."""
        base, parts = self._below
        with local.opened_directory(base, parts, create=True):
            return

    def move(self, to: Location) -> None:
        """Put a file in another's place, below the same directory, in one step."""
        if self.local and to.local:
            base, parts = to._below
            if base != self._below[0]:
                raise ValueError(f"{self} and {to} do not lie below the same directory")
            local.replace(base, self._below[1], parts)
            return
        with remote_errors(self.url):
            self._remote.mv(self.url, to.url)

    def fetched(self, path: Path) -> Path:
        """Return a local path to a file's contents: its own, or `path` after downloading to it."""
        if self.local:
            return self.local
        with remote_errors(self.url):
            self._remote.get_file(self.url, str(path))
        return path

    def names(self) -> list[str]:
        """Return the files below this directory, relative and sorted. For stores, whose files are few."""
        if self.local:
            base = str(self.local)
            found = [os.path.join(at, name) for at, _, names in os.walk(base) for name in names]  # noqa: PTH118
            return sorted(os.path.relpath(path, base) for path in found)
        with remote_errors(self.url):
            remote = self._remote
            root = remote._strip_protocol(self.url)  # noqa: SLF001 - fsspec's own way to compare paths
            return sorted(str(path).removeprefix(root).lstrip("/") for path in remote.find(root))

    def remove(self) -> None:
        """Remove a file or a directory with all it holds; nothing there is fine."""
        if self.local:
            local.remove(*self._below)
            return
        with remote_errors(self.url):
            self._remote.invalidate_cache()
            if self._remote.exists(self.url):
                self._remote.rm(self.url, recursive=True)

    @property
    def _below(self) -> tuple[Path, list[str]]:
        """The directory that is trusted, and the names below it that lead here. Raises StoreError for a bad name."""
        base = Path(self.base) if self.base else Path(self.url).parent
        name = self.url.removeprefix(self.base).lstrip("/") if self.base else Path(self.url).name
        try:
            return base, relative_name(name).split("/")
        except ValueError as error:
            raise StoreError(str(base), found=str(error), action="Nothing was written or removed there.") from error

    @property
    def _remote(self) -> Any:
        with remote_errors(self.url):
            return fsspec.core.url_to_fs(self.url, use_listings_cache=False)[0]


@contextmanager
def remote_errors(url: str) -> Iterator[None]:
    """Turn what a file system behind a URL raises into errors that say what to do; FileNotFoundError passes."""
    try:
        yield
    except (TieringError, FileNotFoundError):
        raise
    except ImportError as error:
        scheme = url.split("://", 1)[0]
        extra = "pip install 'tiering[s3]'" if scheme in ("s3", "s3a") else f"Install what fsspec needs for {scheme}."
        raise UsageError(url, expected=f"a driver for {scheme}://", found=str(error), action=extra) from error
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise
        raise UsageError(url, expected="a URL scheme that fsspec knows", found=str(error)) from error
    except OSError as error:
        failure = from_os_error(error)
        kind = InputError if isinstance(failure, InputError) else MachineError
        raise kind(url, found=failure.found, action=failure.action or _CHECK) from error
    except Exception as error:
        # Drivers raise their own kinds (botocore, aiohttp, google.api_core); none of them is ours to import.
        if type(error).__module__.split(".")[0] in ("builtins", "tiering"):
            raise
        raise MachineError(url, found=f"{type(error).__name__}: {error}", action=_CHECK) from error


_CHECK: Final = "Check the address, the endpoint (AWS_ENDPOINT_URL for s3) and the credentials."


def sync(path: Path) -> None:
    """Make a file or a directory's entries durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
