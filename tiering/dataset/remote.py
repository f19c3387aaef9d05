"""Trees and files behind a URL, through fsspec: connections, versions, listings and look-ups."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from tiering.dataset.walk import BATCH, WALK_SCHEMA, Row, Walk
from tiering.storage.bucket import REQUESTS, file_system
from tiering.storage.failures import asking, remote_errors
from tiering.storage.urls import joined, split_query

#: What drivers call the thing that changes when a file does, the most telling first.
_VERSIONS: Final = (
    *("ETag", "etag", "generation", "md5Hash", "content_md5"),
    *("LastModified", "last_modified", "mtime", "modified", "updated", "created"),
)


def connect(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL and the path in it.

    Raises UsageError where the driver is missing or the scheme is unknown, MachineError where it cannot connect.
    """
    with remote_errors(url):
        return file_system(url)


def version_of(info: dict[str, Any]) -> int:
    """Return 63 bits that change when a remote file does: of its ETag, or of its time of change; 0 without either."""
    found = next((info[name] for name in _VERSIONS if info.get(name)), None)
    return 0 if found is None else hash63(str(found).strip('"'))


def hash63(text: str) -> int:
    """Return a hash of 63 bits that is the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()) >> 1


def look_up(url: str, names: list[str]) -> list[tuple[int, int]]:
    """Return size and version of each remote file below a URL, (-1, 0) for one that is not there or no file.

    One request a file, 64 at a time where the driver can. Raises MachineError where the server cannot be asked.
    """
    system, path = connect(url)

    def ask(name: str) -> tuple[int, int]:
        try:
            info = system.info(joined(path, name))
        except FileNotFoundError:
            return -1, 0
        if info["type"] != "file" or info["size"] is None:
            return -1, 0
        return int(info["size"]), version_of(info)

    with asking(url), ThreadPoolExecutor(REQUESTS if system.async_impl else 1) as pool:
        return list(pool.map(ask, names))


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A directory behind a URL.

    url: of the tree, for errors. system: fsspec's file system. root: path of the tree in it. prefix: path below the
    root, "" or ending in "/".
    """

    url: str
    system: Any
    root: str
    prefix: str = ""

    @classmethod
    def top(cls, url: str) -> RemoteFolder:
        """Return the root of a tree. Raises what connect raises."""
        system, path = connect(url)
        return cls(url, system, path)

    def entries(self, walk: Walk) -> Iterator[Row | RemoteFolder]:
        """Yield what is in the directory, see tiering.dataset.walk.Folder; a file's version is version_of it.

        Raises MachineError where the server cannot be asked.
        """
        try:
            listed = list_directory(
                self.system, self.url, joined(self.root, self.prefix).rstrip("/") if self.prefix else self.root
            )
        except FileNotFoundError:
            walk.skip("vanished directory", self.prefix.encode("utf-8", "surrogateescape"))
            return
        for batch in listed.sort("key").iter_slices(BATCH):
            for name, size, version in batch.iter_rows():
                key = self.prefix.encode("utf-8", "surrogateescape") + name
                if name.endswith(b"/"):
                    yield RemoteFolder(self.url, self.system, self.root, key.decode("utf-8", "surrogateescape"))
                elif size is None:
                    walk.skip("file of unknown size", key)
                else:
                    yield key, size, version


def list_directory(system: Any, url: str, path: str) -> pl.DataFrame:
    """List one remote directory in WALK_SCHEMA's columns, without hidden entries; names of directories end in "/".

    Raises FileNotFoundError, and MachineError where the server cannot be asked.
    """
    with asking(url):
        listed = system.ls(path, detail=True)
    rows = []
    path = split_query(path)[0]
    for info in listed:
        # A directory may list an empty object of its own name, which is how some tools make directories.
        name = split_query(str(info["name"]))[0].rstrip("/").removeprefix(path).removeprefix("/")
        if not name or "/" in name or name.startswith("."):
            continue
        directory = info["type"] == "directory"
        row = (name.encode("utf-8", "surrogateescape") + b"/" * directory, info["size"], version_of(info))
        rows.append(row)
    return pl.DataFrame(rows, schema=WALK_SCHEMA, orient="row")


def as_os_error(error: BaseException, path: str) -> OSError:
    """Return what a driver raised as an OSError that names the file; a kind unknown to Python becomes EIO."""
    said = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "No such file", path)
    if isinstance(error, PermissionError):
        return PermissionError(errno.EACCES, said, path)
    if isinstance(error, TimeoutError):
        return TimeoutError(errno.ETIMEDOUT, said, path)
    if isinstance(error, OSError):
        return OSError(error.errno or errno.EIO, error.strerror or said, path)
    return OSError(errno.EIO, f"{type(error).__name__}: {said}", path)
