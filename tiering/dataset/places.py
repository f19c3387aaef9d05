"""Directories of a tree as a survey sees them: names now, sizes only of the files that it asks about."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tiering.dataset.headers import Seen, in_threads, inspect_files
from tiering.errors import from_os_error
from tiering.sources.contents import broken, is_directory, is_zarr, look_at, special
from tiering.sources.entries import CHUNK, is_file
from tiering.sources.formats import is_image_name
from tiering.sources.left_out import (
    LOOP,
    NOT_AN_IMAGE,
    PACKED,
    SIDECAR,
    SPECIAL,
    UNREADABLE_DIRECTORY,
    LeftOut,
    unlooked,
)
from tiering.sources.siblings import with_keys

#: Sizes that are asked for by one thread at a time.
_SLICE = 500

#: Files of a directory, of those whose name is no image's, that are looked at; they stand for the others.
_LOOKED_AT = 32


@dataclass(slots=True)
class Listing:
    """What is in one directory.

    count: image files. images: names of all of them, or of a random sample. sizes: the bytes of these where the listing
    tells them, else None. folders: name of each
    directory in it, how much it is likely to hold (in any unit; only the ratios count), and whether it is known to hold
    no directory. left_out: everything else, by its name; bytes as far as they are known.
    others: files whose name is no image's and that nobody has looked at: name, kind by the name, size.
    by_content: some of the files whose name is no image's, and that are images all the same.
    """

    count: int = 0
    images: list[bytes] = field(default_factory=list)
    sizes: list[int] | None = None
    folders: list[tuple[bytes, float, bool]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    others: list[tuple[bytes, str, int]] = field(default_factory=list)
    by_content: list[bytes] = field(default_factory=list)


class Kept:
    """A simple random sample of names that come in parts, in their order, and the sizes that come with them."""

    def __init__(self, keep: int, random: np.random.Generator) -> None:
        self.count = 0
        self.endings: set[bytes] = set()
        self._keep, self._random, self._limit = keep, random, 1.0
        self._rows: list[tuple[float, bytes, int]] = []

    def add(self, names: Sequence[bytes], sizes: Sequence[int] | None = None) -> None:
        """Add names, and their sizes where these are known."""
        self.count += len(names)
        if len(self.endings) < 2:
            self.endings.update({name.partition(b".")[2] for name in names})
        numbers = self._random.random(len(names)).tolist()
        rows = zip(numbers, names, sizes or [0] * len(names), strict=True)
        self._rows += [row for row in rows if row[0] < self._limit]
        if len(self._rows) > 2 * self._keep + CHUNK:
            self._thin()

    def names(self) -> list[bytes]:
        """Return the names of the sample."""
        self._thin()
        return [name for _, name, _ in self._rows]

    def sizes(self) -> list[int]:
        """Return the sizes of the sample."""
        self._thin()
        return [size for _, _, size in self._rows]

    def _thin(self) -> None:
        if len(self._rows) > self._keep:
            self._limit = sorted(number for number, _, _ in self._rows)[self._keep]
            self._rows = [row for row in self._rows if row[0] < self._limit]


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
    """A tree on this machine."""

    def __init__(self, root: bytes) -> None:
        self.root = root

    def look_into(self, prefix: bytes, keep: int, random: np.random.Generator) -> Listing:
        """List a directory, see Tree; about 1 us an entry. Raises MachineError where the root cannot be read.

        Directories of common file systems take bytes in step with their number of entries, and have one link of each
        directory in them: what they hold can be guessed, and most of them need not be listed to know that they have
        none.
        """
        found = Listing()
        folders: list[bytes] = []
        others: list[bytes] = []
        kept = Kept(keep, random)
        if is_zarr(self.root + b"/" + prefix):
            found.left_out.add(PACKED, prefix)
            return found
        try:
            with os.scandir(self.root + b"/" + prefix) as entries:
                while chunk := list(islice(entries, CHUNK)):
                    kept.add(self._images(prefix, chunk, found, folders, others))
            self._tell_others(prefix, others, found, random, kept.endings)
        except OSError as error:
            if not prefix:
                raise from_os_error(error) from error
            found.left_out.add(UNREADABLE_DIRECTORY, prefix, reason=(error.strerror or str(error)).lower())
            return found
        found.count, found.images = kept.count, kept.names()
        for name in folders:
            try:
                about = os.stat(self.root + b"/" + prefix + name)  # noqa: PTH116 - bytes paths
            except OSError as error:
                found.left_out.add(UNREADABLE_DIRECTORY, prefix + name + b"/", reason=(error.strerror or "").lower())
                continue
            found.folders.append((name, float(about.st_size), about.st_nlink == 2))
        return found

    def sizes(self, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the bytes of some files, see Tree; about 4 us each, and 16 at a time where the disk must be asked."""
        parts = [keys[begin : begin + _SLICE] for begin in range(0, len(keys), _SLICE)]
        with ThreadPoolExecutor(16) as pool:
            found = pool.map(lambda part: [self._size(key) for key in part], parts)
            return np.array([size for part in found for size in part], np.int64)

    def inspect(self, keys: Sequence[bytes]) -> list[Seen]:
        """Look at the beginning and the end of some files, see Tree."""
        return inspect_files(self.root, keys)

    def digests(self, keys: Sequence[bytes], limit: int | None = None) -> list[bytes]:
        """Hash the contents of some files, see Tree."""

        def digest(key: bytes) -> bytes:
            try:
                with Path(os.fsdecode(self.root + b"/" + key)).open("rb") as file:
                    return digest_of(file.read(-1 if limit is None else limit))
            except OSError:
                return b""

        return in_threads(digest, keys, 16)

    def _size(self, key: bytes) -> int:
        try:
            about = os.stat(self.root + b"/" + key)  # noqa: PTH116 - bytes paths
        except OSError:
            return -1
        return about.st_size if stat.S_ISREG(about.st_mode) else -1

    def _images(
        self,
        prefix: bytes,
        entries: list[os.DirEntry[bytes]],
        found: Listing,
        folders: list[bytes],
        others: list[bytes],
    ) -> list[bytes]:
        """Return the names of the images among some entries; put the others where they belong."""
        names: list[bytes] = []
        for entry in entries:
            name = entry.name
            if name[0] != 46 and is_file(entry):  # a dot
                (names if is_image_name(name) else others).append(name)
                continue
            kind, why, directory = self._no_file(prefix, entry)
            if kind:
                found.left_out.add(kind, prefix + name + b"/" * directory, reason=why)
            else:
                folders.append(name)
        return names

    def _no_file(self, prefix: bytes, entry: os.DirEntry[bytes]) -> tuple[str, str, bool]:
        """Return why an entry is left out, "" for a directory to look into; and whether it is a directory."""
        path = self.root + b"/" + prefix + entry.name
        try:
            directory = entry.is_dir()
        except OSError:
            directory = False
        if kind := unlooked(entry.name + b"/" * directory):
            return kind, "", directory
        try:
            if not directory:
                return SPECIAL, special(os.stat(path).st_mode), False  # noqa: PTH116 - bytes paths
        except OSError as error:
            return *broken(error, path), False
        if not entry.is_symlink():
            return "", "", True
        # A link to a directory that it lies in, below the root or above, would lead here again.
        here, there = os.path.realpath(self.root + b"/" + prefix), os.path.realpath(path)
        return LOOP if (here + b"/").startswith(there.rstrip(b"/") + b"/") else "", "", True

    def _tell_others(
        self, prefix: bytes, others: list[bytes], found: Listing, random: np.random.Generator, endings: set[bytes]
    ) -> None:
        """Count the files whose name is no image's; a few are looked at, and have the size that stands for all.

        endings: of the images' names. Those of one extension and one dot share no key.
        """
        if not others and len(endings) < 2:
            return
        with os.scandir(self.root + b"/" + prefix) as entries:
            keys = dict(with_keys(sorted(entry.name + b"/" * is_directory(entry) for entry in entries)))
        found.left_out.shared.tell(prefix, keys.items())
        if not others:
            return
        few = [others[at] for at in random.permutation(len(others))[:_LOOKED_AT].tolist()]
        looked = [name for name in few if not look_at(self.root + b"/" + prefix + name, name)[0]]
        found.by_content += [prefix + name for name in looked]
        sizes = [max(self._size(prefix + name), 0) for name in few]
        mean = sum(sizes) // len(sizes)
        for name in others:
            found.left_out.add(NOT_AN_IMAGE if keys.get(name) is None else SIDECAR, prefix + name, mean)


def digest_of(data: bytes) -> bytes:
    """Return a hash of 16 bytes, by which the contents of two files are told to be the same."""
    return hashlib.blake2b(data, digest_size=16).digest()
