"""Inspect the images of a dataset: in a tree, a table or tar files, local or behind a URL."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tiering.dataset.header_reads import Fault, Seen, in_threads, inspect_files, inspect_remote, look, unreadable
from tiering.errors import DatasetError
from tiering.sources.account import kind_of
from tiering.sources.byte_ranges import Found, read_files, read_remote
from tiering.sources.source import Source, read_samples
from tiering.sources.trees.glance import DirectoryContents, glance, glance_remote
from tiering.sources.trees.remote import look_up
from tiering.sources.trees.remote_folder import RemoteFolder
from tiering.storage.bucket import REQUESTS
from tiering.storage.failures import asking
from tiering.storage.urls import joined
from tiering.text import display

_Result = TypeVar("_Result")

#: How many sizes one thread looks up in a row.
_SLICE: Final = 500


class Tree(Protocol):
    """A tree of files, local or remote."""

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> DirectoryContents:
        """List a directory; the result is empty if it cannot be read.

        prefix: its path below the root, "" or ending in "/". keep: how many images to keep by name, drawn at random if
        there are more.
        """
        ...

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of files, int64 (n,), -1 for one that is missing or not a file."""
        ...

    def inspect(self, keys: Sequence[bytes]) -> Sequence[Seen]:
        """Return for each file its header, or the reason why it is not a complete image or cannot be read."""
        ...

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> Sequence[bytes]:
        """Return a hash of each file's contents, or of its first bytes; b"" if it cannot be read."""
        ...

    def contents(self, keys: Sequence[bytes], sizes: npt.NDArray[np.int64]) -> Iterator[tuple[int, Found]]:
        """Yield the number of each key and its file's bytes, or the error that prevented reading it, in any order.

        sizes: bytes of the files, int64 (n,).
        """
        ...


class LocalTree:
    """A Tree on this machine."""

    def __init__(self, root: bytes) -> None:
        self.root = root

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> DirectoryContents:
        """List a directory. Raises MachineError if the root cannot be read."""
        return glance(self.root, prefix, keep, random)

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of files, at about 4 us each, and 16 at a time if the disk must be read."""
        parts = [keys[begin : begin + _SLICE] for begin in range(0, len(keys), _SLICE)]
        with ThreadPoolExecutor(16) as pool:
            found = pool.map(lambda part: [self._size(key) for key in part], parts)
            return np.array([size for part in found for size in part], np.int64)

    def inspect(self, keys: Sequence[bytes]) -> list[Seen]:
        """Inspect the beginning and the end of files."""
        return inspect_files(self.root, keys)

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        """Hash the contents of files."""

        def read(key: bytes) -> bytes:
            with Path(os.fsdecode(self.root + b"/" + key)).open("rb") as file:
                return file.read(-1 if limit is None else limit)

        return in_threads(lambda key: _digest(lambda: read(key)), keys, 16)

    def contents(self, keys: Sequence[bytes], sizes: npt.NDArray[np.int64]) -> Iterator[tuple[int, Found]]:
        """Read files one after the other."""
        return enumerate(read_files(self.root, keys, sizes.tolist()))

    def _size(self, key: bytes) -> int:
        try:
            about = os.stat(self.root + b"/" + key)  # noqa: PTH116 - bytes paths
        except OSError:
            return -1
        return about.st_size if stat.S_ISREG(about.st_mode) else -1


class RemoteTree:
    """A Tree behind a URL. Raises as tiering.sources.trees.remote.connect does."""

    def __init__(self, url: str) -> None:
        self.top = RemoteFolder.top(url)
        self.url, self.system, self.root = url, self.top.system, self.top.root
        self._threads = REQUESTS if self.system.async_impl else 1

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> DirectoryContents:
        """List a directory. Raises MachineError if the server does not answer."""
        return glance_remote(self.top.below(prefix), keep, random)

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of files, with one request each."""
        return np.array([size for size, _ in look_up(self.system, self.url, self.root, keys)], np.int64)

    def inspect(self, keys: Sequence[bytes]) -> list[Seen]:
        """Inspect the beginning and the end of files."""
        with asking(self.url):
            return inspect_remote(self.system, self.root, keys, self._threads)

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        """Hash the contents of files."""

        def read(key: bytes) -> bytes:
            return bytes(self.system.cat_file(joined(self.root, _text(key)), start=0, end=limit))

        with asking(self.url):
            return in_threads(lambda key: _digest(lambda: read(key)), keys, self._threads, 1)

    def contents(self, keys: Sequence[bytes], sizes: npt.NDArray[np.int64]) -> Iterator[tuple[int, Found]]:
        """Read files, some of them ahead."""
        names = (joined(self.url, _text(key)) for key in keys)
        return enumerate(
            read_remote(self.url, ((name, -1, size) for name, size in zip(names, sizes.tolist(), strict=True)))
        )


class SourceTree:
    """The images of a table, of tar files or of a packed dataset as a Tree, which cannot be listed.

    ranges: file number, offset and size of each image that may be requested.
    """

    def __init__(self, source: Source, ranges: dict[bytes, tuple[int, int, int]]) -> None:
        self.source = source
        self.ranges = ranges

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> Any:  # noqa: ARG002 - as in Tree
        """Refuse: these are read from front to back instead."""
        raise NotADirectoryError(prefix)

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of images."""
        return np.array([self.ranges[key][2] for key in keys], np.int64)

    def inspect(self, keys: Sequence[bytes]) -> list[Seen]:
        """Read and inspect images."""
        return self._each(keys, lambda key, data: _look(data, display(key)))

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        """Hash the contents of images."""
        return self._each(keys, lambda _, data: b"" if isinstance(data, Exception) else digest_of(data[:limit]))

    def contents(
        self,
        keys: Sequence[bytes],
        sizes: npt.NDArray[np.int64] | None = None,  # noqa: ARG002 - as in Tree
    ) -> Iterator[tuple[int, Found]]:
        """Read images in the order of the files."""
        rows = np.array([self.ranges[key] for key in keys], np.int64).reshape(-1, 3)
        order = np.lexsort((rows[:, 1], rows[:, 0]))
        ordered = [keys[at] for at in order.tolist()]
        found = read_samples(self.source, ordered, rows[order, 0].astype(np.int32), rows[order, 1], rows[order, 2])
        return zip(order.tolist(), found, strict=True)

    def _each(self, keys: Sequence[bytes], see: Callable[[bytes, Found], _Result]) -> list[_Result]:
        """Return what is seen of each image. Only results are kept."""
        results = {at: see(keys[at], data) for at, data in self.contents(keys)}
        return [results[at] for at in range(len(keys))]


def tree_at(url: str) -> LocalTree | RemoteTree:
    """Return the tree at a local path or a URL. Raises as RemoteTree does."""
    return RemoteTree(url) if "://" in url else LocalTree(os.fsencode(url))


def digest_of(data: bytes) -> bytes:
    """Return a hash of 16 bytes that identifies contents."""
    return hashlib.blake2b(data, digest_size=16).digest()


def _digest(read: Callable[[], bytes]) -> bytes:
    try:
        return digest_of(read())
    except OSError:
        return b""


def _look(data: bytes | OSError | DatasetError, name: str) -> Seen:
    if isinstance(data, OSError):
        return unreadable(data)
    return Fault(data.found, kind_of(data)) if isinstance(data, DatasetError) else look(data, name)


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
