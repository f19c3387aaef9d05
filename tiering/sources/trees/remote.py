"""Files behind a URL, through fsspec: connections, versions, look-ups and first bytes."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import polars as pl

from tiering.images.formats import HEAD
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


def first_bytes(
    system: Any, url: str, base: str, files: Sequence[tuple[bytes, int]], threads: int = REQUESTS, end: int = HEAD
) -> list[bytes]:
    """Return the first bytes of some files in a remote directory, b"" for one that is gone or empty.

    base: path of the directory in the file system. files: names in it, and bytes. One request a file; threads: at a
    time, where the driver can. end: how many bytes.
    Raises MachineError where the server cannot be asked.
    """

    def ask(file: tuple[bytes, int]) -> bytes:
        name, size = file
        if not size:
            return b""  # A server has no range of it.
        try:
            return bytes(
                system.cat_file(joined(base.rstrip("/"), name.decode("utf-8", "surrogateescape")), start=0, end=end)
            )
        except FileNotFoundError:
            return b""

    if not files:
        return []
    with asking(url), ThreadPoolExecutor(threads if system.async_impl else 1) as pool:
        return list(pool.map(ask, files))


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


LISTING_SCHEMA = {"key": pl.Binary, "size": pl.Int64, "version": pl.Int64}

#: What a listing says of one entry: its name, a directory's with "/" at its end; its bytes, None where the server does
#: not tell them; its version, see tiering.sources.trees.remote.version_of.
Listed = tuple[bytes, int | None, int]


def pages(system: Any, url: str, path: str) -> Iterator[list[Listed]]:
    """List a remote directory: of S3, a thousand names at a time; of others, all of it at once. A page is sorted.

    system: fsspec's file system; path: in it; url: for errors. A directory without a name is "/".
    Raises FileNotFoundError, and MachineError where the server cannot be asked.
    """
    if url.startswith(("s3://", "s3a://")):
        yield from _s3_pages(system, url, path)
    else:
        yield sorted(_all_at_once(system, url, path))


def list_directory(system: Any, url: str, path: str) -> pl.DataFrame:
    """List a whole remote directory in LISTING_SCHEMA's columns, sorted by name, see pages."""
    frames = [pl.DataFrame(page, schema=LISTING_SCHEMA, orient="row") for page in pages(system, url, path)]
    return pl.concat(frames).sort("key")


def _all_at_once(system: Any, url: str, path: str) -> Iterator[Listed]:
    with asking(url):
        listed = system.ls(path, detail=True)
    path = split_query(path)[0]
    for info in listed:
        name = split_query(str(info["name"]))[0].rstrip("/").removeprefix(path).removeprefix("/")
        # A directory may list an empty object of its own name, which is how some tools make directories.
        if name and "/" not in name:
            yield _bytes(name) + b"/" * (info["type"] == "directory"), info["size"], version_of(info)


def _s3_pages(system: Any, url: str, path: str) -> Iterator[list[Listed]]:
    bucket, _, base = path.partition("/")
    prefix = f"{base}/" if base else ""
    more: dict[str, str] = {}
    while True:
        with asking(url):
            answer: dict[str, Any] = system.call_s3(
                "list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/", **more
            )
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
