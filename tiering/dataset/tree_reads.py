"""The images of a dataset that somebody wants to look into: in a tree, a table or tar files, here or behind a URL."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from tiering.dataset.header_reads import Fault, Seen, in_threads, inspect_files, inspect_remote, look, unreadable
from tiering.errors import DatasetError
from tiering.sources.account import kind_of
from tiering.sources.source import Source, read_samples
from tiering.sources.trees.glance import Listing, glance, glance_remote
from tiering.sources.trees.remote_folder import RemoteFolder
from tiering.storage.bucket import REQUESTS
from tiering.storage.failures import asking
from tiering.storage.urls import joined
from tiering.text import display

#: Sizes that are asked for by one thread at a time.
_SLICE: Final = 500


class Tree(Protocol):
    """A tree of files, wherever it lies."""

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> Listing:
        """List a directory, its path below the root being "" or ending in "/"; empty where it cannot be read.

        keep: images to keep by name, drawn at random where there are more.
        """
        ...

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of some files, int64, -1 for one that is gone or is none."""
        ...

    def inspect(self, keys: Sequence[bytes]) -> Sequence[Seen]:
        """Return the header of some files, or why one is no whole image or cannot be read."""
        ...

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> Sequence[bytes]:
        """Return a hash of the contents of some files, or of their first bytes; b"" for one that cannot be read."""
        ...


class LocalTree:
    """A tree on this machine, see Tree."""

    def __init__(self, root: bytes) -> None:
        self.root = root

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> Listing:
        """List a directory. Raises MachineError where the root cannot be read."""
        return glance(self.root, prefix, keep, random)

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of some files; about 4 us each, and 16 at a time where the disk must be asked."""
        parts = [keys[begin : begin + _SLICE] for begin in range(0, len(keys), _SLICE)]
        with ThreadPoolExecutor(16) as pool:
            found = pool.map(lambda part: [self._size(key) for key in part], parts)
            return np.array([size for part in found for size in part], np.int64)

    def inspect(self, keys: Sequence[bytes]) -> list[Seen]:
        """Look at the beginning and the end of some files."""
        return inspect_files(self.root, keys)

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        """Hash the contents of some files."""

        def read(key: bytes) -> bytes:
            with Path(os.fsdecode(self.root + b"/" + key)).open("rb") as file:
                return file.read(-1 if limit is None else limit)

        return in_threads(lambda key: _digest(lambda: read(key)), keys, 16)

    def _size(self, key: bytes) -> int:
        try:
            about = os.stat(self.root + b"/" + key)  # noqa: PTH116 - bytes paths
        except OSError:
            return -1
        return about.st_size if stat.S_ISREG(about.st_mode) else -1


class RemoteTree:
    """A tree behind a URL, see Tree. Raises what tiering.sources.trees.remote.connect raises."""

    def __init__(self, url: str) -> None:
        self.top = RemoteFolder.top(url)
        self.url, self.system, self.root = url, self.top.system, self.top.root
        self._threads = REQUESTS if self.system.async_impl else 1

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> Listing:
        """List a directory. Raises MachineError where the server cannot be asked."""
        return glance_remote(self.top.below(prefix), keep, random)

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of some files; one request each."""

        def ask(key: bytes) -> int:
            try:
                info = self.system.info(joined(self.root, _text(key)))
            except FileNotFoundError:
                return -1
            return int(info["size"]) if info["type"] == "file" and info["size"] is not None else -1

        with asking(self.url):
            return np.array(in_threads(ask, keys, self._threads, 1), np.int64)

    def inspect(self, keys: Sequence[bytes]) -> list[Seen]:
        """Look at the beginning and the end of some files."""
        with asking(self.url):
            return inspect_remote(self.system, self.root, keys, self._threads)

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        """Hash the contents of some files."""

        def read(key: bytes) -> bytes:
            return bytes(self.system.cat_file(joined(self.root, _text(key)), start=0, end=limit))

        with asking(self.url):
            return in_threads(lambda key: _digest(lambda: read(key)), keys, self._threads, 1)


class SourceTree:
    """The images of a table or of tar files, see Tree; nothing is listed here.

    places: number of the file, offset and size of each image that may be asked for.
    """

    def __init__(self, source: Source, places: dict[bytes, tuple[int, int, int]]) -> None:
        self.source = source
        self.places = places

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> Any:  # noqa: ARG002 - as in Tree
        """Tables and tar files are read from front to back instead."""
        raise NotADirectoryError(prefix)

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of some images."""
        return np.array([self.places[key][2] for key in keys], np.int64)

    def inspect(self, keys: Sequence[bytes]) -> list[Seen]:
        """Look at some images, which are read for it."""
        return [_look(data, display(key)) for key, data in zip(keys, self._read(keys), strict=True)]

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        """Hash the contents of some images."""
        return [b"" if isinstance(data, Exception) else digest_of(data[:limit]) for data in self._read(keys)]

    def _read(self, keys: Sequence[bytes]) -> Any:
        rows = np.array([self.places[key] for key in keys], np.int64).reshape(-1, 3)
        return read_samples(self.source, list(keys), rows[:, 0].astype(np.int32), rows[:, 1], rows[:, 2])


def tree_at(url: str) -> LocalTree | RemoteTree:
    """Return the tree at a local path or a URL. Raises what RemoteTree raises."""
    return RemoteTree(url) if "://" in url else LocalTree(os.fsencode(url))


def digest_of(data: bytes) -> bytes:
    """Return a hash of 16 bytes, by which the contents of two files are told to be the same."""
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
