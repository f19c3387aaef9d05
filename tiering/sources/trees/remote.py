"""Files behind a URL, through fsspec: connections, versions, listings, look-ups and first bytes."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import polars as pl

from tiering.images.formats import HEAD
from tiering.storage.bucket import REQUESTS, call_s3, file_system
from tiering.storage.failures import asking, remote_errors
from tiering.storage.urls import joined, split_query

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Drivers' names of the value that changes with a file, the most reliable first.
_VERSIONS: Final = (
    *("ETag", "etag", "generation", "md5Hash", "content_md5"),
    *("LastModified", "last_modified", "mtime", "modified", "updated", "created"),
)


def connect(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it.

    Raises UsageError if the driver is missing or the scheme is unknown, MachineError if it cannot connect.
    """
    with remote_errors(url):
        return file_system(url)


def version_of(info: dict[str, Any]) -> int:
    """Return 63 bits that change when a remote file does, from its ETag or modification time; 0 without either."""
    found = next((info[name] for name in _VERSIONS if info.get(name)), None)
    return 0 if found is None else hash63(str(found).strip('"'))


def hash63(text: str) -> int:
    """Return a hash of 63 bits that is the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()) >> 1


def look_up(system: Any, url: str, base: str, names: Sequence[bytes], threads: int = REQUESTS) -> list[tuple[int, int]]:
    """Return size and version of files in a remote directory, (-1, 0) for one that is missing or not a file.

    Arguments and errors are those of first_bytes.
    """

    def ask(name: bytes) -> tuple[int, int]:
        try:
            info = system.info(joined(base, _text(name)))
        except FileNotFoundError:
            return -1, 0
        if info["type"] != "file" or info["size"] is None:
            return -1, 0
        return int(info["size"]), version_of(info)

    return _each(system, url, ask, names, threads)


def first_bytes(
    system: Any, url: str, base: str, files: Sequence[tuple[bytes, int]], threads: int = REQUESTS, end: int = HEAD
) -> list[bytes]:
    """Return the first bytes of files in a remote directory, b"" for a file that is missing or empty.

    base: path of the directory in the file system. files: names in it, and their bytes. threads: requests at a time, if
    the driver is asynchronous. end: how many bytes. One request per file.
    Raises MachineError if the server does not answer.
    """

    def ask(file: tuple[bytes, int]) -> bytes:
        name, size = file
        if not size:
            return b""  # Servers refuse ranges of empty files.
        try:
            return bytes(system.cat_file(joined(base.rstrip("/"), _text(name)), start=0, end=end))
        except FileNotFoundError:
            return b""

    return _each(system, url, ask, files, threads)


def _each(system: Any, url: str, ask: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """Make a request for each item, many at a time if the driver is asynchronous."""
    if not items:
        return []
    with asking(url), ThreadPoolExecutor(threads if system.async_impl else 1) as pool:
        return list(pool.map(ask, items))


def as_os_error(error: BaseException, path: str) -> OSError:
    """Turn a driver's exception into an OSError that names the file. Kinds unknown to Python become EIO."""
    message = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "No such file", path)
    if isinstance(error, PermissionError):
        return PermissionError(errno.EACCES, message, path)
    if isinstance(error, TimeoutError):
        return TimeoutError(errno.ETIMEDOUT, message, path)
    if isinstance(error, OSError):
        return OSError(error.errno or errno.EIO, error.strerror or message, path)
    return OSError(errno.EIO, f"{type(error).__name__}: {message}", path)


LISTING_SCHEMA = {"key": pl.Binary, "size": pl.Int64, "version": pl.Int64}

#: An entry of a listing: its name, ending in "/" for a directory; its bytes, None if the server does not tell; its
#: version, as from version_of.
Listed = tuple[bytes, int | None, int]


def pages(system: Any, url: str, path: str) -> Iterator[list[Listed]]:
    """List a remote directory in sorted pages: a thousand names at a time for S3, all at once for others.

    system: fsspec's file system. path: in it. url: for errors. A directory without a name is "/".
    Raises FileNotFoundError, and MachineError if the server does not answer.
    """
    if url.startswith(("s3://", "s3a://")):
        yield from _s3_pages(url, path)
    else:
        yield sorted(_all_at_once(system, url, path))


def _all_at_once(system: Any, url: str, path: str) -> Iterator[Listed]:
    with asking(url):
        listed = system.ls(path, detail=True)
    path = split_query(path)[0]
    for info in listed:
        name = split_query(str(info["name"]))[0].rstrip("/").removeprefix(path).removeprefix("/")
        # A directory may contain an empty object of its own name: some tools make directories this way.
        if name and "/" not in name:
            yield _bytes(name) + b"/" * (info["type"] == "directory"), info["size"], version_of(info)


def _s3_pages(url: str, path: str) -> Iterator[list[Listed]]:
    base = path.partition("/")[2]
    prefix = f"{base}/" if base else ""
    more: dict[str, str] = {}
    while True:
        with asking(url):
            answer = call_s3(url, "list_objects_v2", Prefix=prefix, Delimiter="/", **more)
        folders, files = answer.get("CommonPrefixes", ()), answer.get("Contents", ())
        if prefix and not (more or folders or files):
            raise FileNotFoundError(url)
        page = [(_bytes(each["Prefix"][len(prefix) :]), None, 0) for each in folders]
        page += [(_bytes(each["Key"][len(prefix) :]), each["Size"], version_of(each)) for each in files]
        yield sorted(row for row in page if row[0])
        if not answer.get("IsTruncated"):
            return
        more = {"ContinuationToken": answer["NextContinuationToken"]}


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
