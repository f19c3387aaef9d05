"""Trees and files behind a URL, through fsspec: connections, versions, listings and look-ups."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from tiering.sources.contents import ZARR_BYTES, is_zarr_metadata, look_at_head
from tiering.sources.formats import HEAD, is_image_name
from tiering.sources.left_out import MISSING, NOT_AN_IMAGE, PACKED, UNKNOWN_SIZE, UNREACHABLE, ZARR_MARKS, unlooked
from tiering.sources.siblings import with_keys
from tiering.sources.walk import BATCH, WALK_SCHEMA, Row, Walk
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
        """Yield what is in the directory, see tiering.sources.walk.Folder; a file's version is version_of it.

        Of a file whose name is no image's the first bytes are fetched, many at a time.
        Raises MachineError where the server cannot be asked.
        """
        prefix = self.prefix.encode("utf-8", "surrogateescape")
        try:
            listed = list_directory(
                self.system, self.url, joined(self.root, self.prefix).rstrip("/") if self.prefix else self.root
            )
        except FileNotFoundError:
            walk.ledger.leave_out(MISSING, prefix, reason="it vanished during the walk")
            return
        if self._is_zarr(prefix, listed):
            walk.ledger.leave_out(PACKED, prefix)
            return
        if walk.passed_over and not prefix:
            listed = listed.filter(~pl.col("key").is_in(list(walk.passed_over)))
        table = listed.sort("key")
        names = (name for batch in table.iter_slices(BATCH) for name in batch["key"])
        shared = with_keys(names)
        for batch in table.iter_slices(BATCH):
            heads = self._heads(prefix, [row[:2] for row in batch.iter_rows() if not is_image_name(row[0])])
            for name, size, version in batch.iter_rows():
                _, key = next(shared)
                yield from self._entry(walk, prefix, (name, size, version), key, heads)

    def _is_zarr(self, prefix: bytes, listed: pl.DataFrame) -> bool:
        """Tell whether the directory is a Zarr store, see tiering.sources.contents.is_zarr."""
        marks = listed.filter(pl.col("key").is_in(list(ZARR_MARKS)) & pl.col("size").is_between(1, ZARR_BYTES))
        if not len(marks) or any(map(is_image_name, listed["key"])):
            return False
        base = joined(self.root, prefix.decode("utf-8", "surrogateescape")) if prefix else self.root
        files = [(name, size) for name, size in marks.select("key", "size").iter_rows()]
        return any(map(is_zarr_metadata, first_bytes(self.system, self.url, base, files, end=ZARR_BYTES)))

    def _entry(
        self,
        walk: Walk,
        prefix: bytes,
        row: tuple[bytes, int | None, int],
        shared: bytes | None,
        heads: dict[bytes, bytes],
    ) -> Iterator[Row | RemoteFolder]:
        name, size, version = row
        key = prefix + name
        if kind := unlooked(name):
            walk.ledger.leave_out(kind, key, 0 if name.endswith(b"/") else size or 0)
        elif name == b"/":
            walk.ledger.leave_out(UNREACHABLE, key, reason="no path leads to a directory without a name")
        elif name.endswith(b"/"):
            yield RemoteFolder(self.url, self.system, self.root, key.decode("utf-8", "surrogateescape"))
        elif size is None:
            walk.ledger.leave_out(UNKNOWN_SIZE, key, reason="the server tells no size")
        else:
            kind, why = look_at_head(heads[name], name) if name in heads else ("", "")
            if kind == NOT_AN_IMAGE:
                walk.other(prefix, name, shared, size)
            elif kind:
                walk.ledger.leave_out(kind, key, size, why)
            elif walk.takes(prefix, name, shared, size):
                yield key, size, version

    def _heads(self, prefix: bytes, files: list[tuple[bytes, int | None]]) -> dict[bytes, bytes]:
        """Return the first bytes of some files; hidden ones and directories are not asked for."""
        wanted = [(name, size or 0) for name, size in files if not name.endswith(b"/") and unlooked(name) is None]
        base = joined(self.root, prefix.decode("utf-8", "surrogateescape")) if prefix else self.root
        heads = first_bytes(self.system, self.url, base, wanted)
        return {name: head for (name, _), head in zip(wanted, heads, strict=True)}


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


def list_directory(system: Any, url: str, path: str) -> pl.DataFrame:
    """List one remote directory in WALK_SCHEMA's columns; names of directories end in "/", one without a name is "/".

    Raises FileNotFoundError, and MachineError where the server cannot be asked.
    """
    with asking(url):
        listed = system.ls(path, detail=True)
    rows = []
    path = split_query(path)[0]
    for info in listed:
        raw = split_query(str(info["name"]))[0]
        name = raw.rstrip("/").removeprefix(path).removeprefix("/")
        directory = info["type"] == "directory"
        if not name and directory and raw == f"{path}/" and url.startswith(("s3://", "s3a://")):
            rows.append((b"/", None, 0))  # of keys such as cats//1.jpg
            continue
        # A directory may list an empty object of its own name, which is how some tools make directories.
        if not name or "/" in name:
            continue
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
