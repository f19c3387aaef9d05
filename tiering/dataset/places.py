"""Directories of a tree as a survey sees them: names now, sizes only of the files that it asks about."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tiering.dataset.entries import is_image_name, reason, special
from tiering.dataset.remote import REQUESTS, connect, list_directory
from tiering.errors import from_os_error
from tiering.place import remote_errors

Key = tuple[bytes, int]

#: Sizes that are asked for by one thread at a time.
_SLICE = 500


@dataclass(slots=True)
class Listing:
    """What is in one directory.

    images: names of the image files. sizes: their bytes where the listing tells them, else None. folders: name of each
    directory in it, how much it is likely to hold (in any unit; only the ratios count), and whether it is known to hold
    no directory. others: other files. skipped: reason and name of what was left out.
    """

    images: list[bytes] = field(default_factory=list)
    sizes: list[int] | None = None
    folders: list[tuple[bytes, float, bool]] = field(default_factory=list)
    others: Counter[bytes] = field(default_factory=Counter)
    skipped: list[tuple[str, bytes]] = field(default_factory=list)


class Tree(Protocol):
    """A tree of files, wherever it lies."""

    def list(self, prefix: bytes) -> Listing:
        """List a directory, its path below the root being "" or ending in "/"; empty where it cannot be read."""
        ...

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of some files, int64, -1 for one that is gone or is none."""
        ...


class LocalTree:
    """A tree on this machine."""

    def __init__(self, root: bytes) -> None:
        self.root = root

    def list(self, prefix: bytes) -> Listing:
        """List a directory, see Tree; about 1 us an entry. Raises MachineError where the root cannot be read.

        Directories of common file systems take bytes in step with their number of entries, and have one link of each
        directory in them: what they hold can be guessed, and most of them need not be listed to know that they have
        none.
        """
        found = Listing()
        folders: list[bytes] = []
        try:
            with os.scandir(self.root + b"/" + prefix) as entries:
                for entry in entries:
                    name = entry.name
                    if name[0] == 46:  # a dot
                        continue
                    if entry.is_file():
                        if is_image_name(name):
                            found.images.append(name)
                        else:
                            found.others[name.rpartition(b".")[2].lower() if b"." in name else b""] += 1
                    elif entry.is_dir():
                        folders.append(name)
                    else:
                        found.skipped.append((self._why(prefix + name), name))
        except OSError as error:
            if not prefix:
                raise from_os_error(error) from error
            found.skipped.append(("unreadable directory", b""))
            return found
        for name in folders:
            try:
                about = os.stat(self.root + b"/" + prefix + name)  # noqa: PTH116 - bytes paths
            except OSError:
                found.skipped.append(("unreadable directory", name))
                continue
            found.folders.append((name, float(about.st_size), about.st_nlink == 2))
        return found

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of some files, see Tree; about 4 us each, and 16 at a time where the disk must be asked."""
        parts = [keys[begin : begin + _SLICE] for begin in range(0, len(keys), _SLICE)]
        with ThreadPoolExecutor(16) as pool:
            found = pool.map(lambda part: [self._size(key) for key in part], parts)
            return np.array([size for part in found for size in part], np.int64)

    def _size(self, key: bytes) -> int:
        try:
            about = os.stat(self.root + b"/" + key)  # noqa: PTH116 - bytes paths
        except OSError:
            return -1
        return about.st_size if stat.S_ISREG(about.st_mode) else -1

    def _why(self, key: bytes) -> str:
        path = self.root + b"/" + key
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116 - bytes paths
        except OSError as error:
            return reason(error, link=os.path.islink(path))  # noqa: PTH114 - bytes paths
        return special(mode)


class RemoteTree:
    """A tree behind a URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.system, self.root = connect(url)

    def list(self, prefix: bytes) -> Listing:
        """List a directory, see Tree. Raises MachineError where the server cannot be asked.

        Nothing is known of what directories hold before they are listed.
        """
        found = Listing(sizes=[])
        try:
            path = f"{self.root}/{prefix.decode('utf-8', 'surrogateescape')}".rstrip("/")
            listed = list_directory(self.system, self.url, path)
        except FileNotFoundError:
            found.skipped.append(("vanished directory", b""))
            return found
        sizes: list[int | None] = []
        for name, size, _ in listed.iter_rows():
            if name.endswith(b"/"):
                found.folders.append((name[:-1], 1.0, False))
            elif is_image_name(name):
                found.images.append(name)
                sizes.append(size)
            else:
                found.others[name.rpartition(b".")[2].lower() if b"." in name else b""] += 1
        found.sizes = None if None in sizes else [size for size in sizes if size is not None]
        return found

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of some files, see Tree; one request each."""

        def ask(key: bytes) -> int:
            try:
                info = self.system.info(f"{self.root}/{key.decode('utf-8', 'surrogateescape')}")
            except FileNotFoundError:
                return -1
            return int(info["size"]) if info["type"] == "file" and info["size"] is not None else -1

        with remote_errors(self.url), ThreadPoolExecutor(REQUESTS if self.system.async_impl else 1) as pool:
            return np.fromiter(pool.map(ask, keys), np.int64, len(keys))
