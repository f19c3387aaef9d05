"""Walk a tree of images depth first, so that its keys come sorted while no more than one directory's names are held."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol

import polars as pl

from tiering.errors import DatasetError, from_os_error
from tiering.sources.account import Ledger
from tiering.sources.contents import broken, is_zarr, look_at, special
from tiering.sources.formats import is_image_name
from tiering.sources.left_out import (
    LOOP,
    MISSING,
    NOT_AN_IMAGE,
    PACKED,
    SIDECAR,
    SPECIAL,
    UNREADABLE_DIRECTORY,
    LeftOut,
    unlooked,
)
from tiering.sources.siblings import DESCRIPTIONS, is_plain, with_keys
from tiering.text import display
from tiering.units import format_count

__all__ = ["BATCH", "WALK_SCHEMA", "Folder", "LocalFolder", "Row", "Walk", "display", "marked_name", "sorted_names"]

WALK_SCHEMA: Final = {"key": pl.Binary, "size": pl.Int64, "version": pl.Int64}
BATCH: Final = 50_000

#: A file: its key, its size in bytes, and its version.
Row = tuple[bytes, int, int]


class Folder(Protocol):
    """One directory of a tree, wherever the tree lies."""

    def entries(self, walk: Walk) -> Iterator[Row | Folder]:
        """Yield its images and directories sorted by name, a directory's name with a "/" at its end.

        In this order every key below a directory has its place between the files before and after it: keys that are
        walked depth first come sorted bytewise, and nothing needs to hold them all. Every other entry is told to
        walk.ledger.
        """
        ...


@dataclass(slots=True)
class Walk:
    """A walk over a tree.

    ledger: told of everything that is no sample. passed_over: names at the top that somebody else accounts for.
    odd_names: images whose key is not UTF-8.
    """

    ledger: Ledger = field(default_factory=Ledger)
    passed_over: frozenset[bytes] = frozenset()
    odd_names: int = 0

    def batches(self, top: Folder) -> Iterator[pl.DataFrame]:
        """Yield the images below a directory sorted by key, up to 50,000 rows at a time, in WALK_SCHEMA's columns.

        About 6 us a local file with the page cache warm, of which the system's scandir and stat are 3.5 us (10^6 files,
        one core). 10^6 files in one directory take 70 MB at most, in 1,000 directories 30 MB.
        """
        images = self.images(top)
        while rows := list(islice(images, BATCH)):
            yield pl.DataFrame(rows, schema=WALK_SCHEMA, orient="row")

    def images(self, top: Folder) -> Iterator[Row]:
        """Yield the images below a directory sorted by key, one by one."""
        stack = [top.entries(self)]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
            elif isinstance(entry, tuple):
                self.odd_names += not (entry[0].isascii() or _is_utf8(entry[0]))
                yield entry
            else:
                stack.append(entry.entries(self))

    def takes(self, prefix: bytes, name: bytes, key: bytes | None, size: int) -> bool:
        """Decide whether an image is a sample; tell the ledger of keys that it shares, and of one that is a mask.

        prefix: of its directory; key: that its name shares with others, None for one of its own.
        """
        # What is an image by its content alone (photo.jpg.1) is no mask of another.
        if key is None or not is_image_name(name):
            return True
        self.ledger.share(prefix + key, prefix + name, size)
        if self.ledger.images_only and not is_plain(name, key):
            self.ledger.leave_out(SIDECAR, prefix + name, size)
            return False
        return True

    def other(self, prefix: bytes, name: bytes, key: bytes | None, size: int) -> None:
        """Tell the ledger of a file that is no image."""
        if key is None:
            self.ledger.leave_out(NOT_AN_IMAGE, prefix + name, size)
            return
        self.ledger.describe(prefix + name) if name in DESCRIPTIONS else self.ledger.share(prefix + key, prefix + name)
        self.ledger.leave_out(SIDECAR, prefix + name, size)


def no_images(where: str, left_out: LeftOut, what: str = "directory") -> DatasetError:
    """Return the error that says what was met in place of images. what: the place is."""
    parts = [
        f"{kind}: {format_count(tally.count)} ({', '.join(tally.examples[:2])})"
        for kind, tally in sorted(left_out.kinds.items())
    ]
    return DatasetError(
        where,
        expected="image files (jpg, png, tiff, webp, bmp, gif, ppm, jp2, avif, ...)",
        found=f"none, but {'; '.join(parts)}" if parts else f"an empty {what}",
        action="Give the directory that holds the class folders." if parts else "Check the path.",
    )


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A directory of this machine.

    root: of the tree. prefix: path below it, "" or ending in "/". identity: device and inode. parent: the directory
    that the walk came from.
    """

    root: bytes
    prefix: bytes
    identity: tuple[int, int]
    parent: LocalFolder | None = None

    @classmethod
    def top(cls, root: bytes) -> LocalFolder:
        """Return the root of a tree. Raises OSError."""
        return cls(root, b"", _identity(os.stat(root)))  # noqa: PTH116 - bytes paths

    def entries(self, walk: Walk) -> Iterator[Row | LocalFolder]:
        """Yield what is in the directory, see Folder; a file's version is its time of change in ns since 1970.

        Links are followed; a link to a directory that it lies in is a circle and is left out. FIFOs, sockets and
        devices are left out without being opened. Only a file whose name is no image's is opened, to look at its first
        bytes. Raises MachineError where the root may not be read.
        """
        ledger = walk.ledger
        if is_zarr(os.path.join(self.root, self.prefix)):  # noqa: PTH118 - bytes paths
            ledger.leave_out(PACKED, self.prefix)
            return
        passed_over = walk.passed_over if not self.prefix else frozenset()
        try:
            with os.scandir(os.path.join(self.root, self.prefix)) as found:  # noqa: PTH118 - bytes paths
                names = sorted_names(marked_name(entry) for entry in found if entry.name not in passed_over)
        except OSError as error:
            if not self.prefix:
                raise from_os_error(error) from error
            ledger.leave_out(UNREADABLE_DIRECTORY, self.prefix, reason=(error.strerror or "").lower())
            return
        for name, shared in with_keys(names):
            key = self.prefix + name
            path = os.path.join(self.root, key)  # noqa: PTH118 - bytes paths
            if kind := unlooked(name):
                ledger.leave_out(kind, key, 0 if name.endswith(b"/") else _size_of(path))
                continue
            try:
                about = os.stat(path)  # noqa: PTH116 - bytes paths
            except OSError as error:
                kind, reason = broken(error, path.rstrip(b"/"))
                ledger.leave_out(kind, key, reason=reason)
                continue
            if shared is None and stat.S_ISREG(about.st_mode) and is_image_name(name):
                yield key, about.st_size, about.st_mtime_ns  # nearly all; a generator more would cost 0.3 us
            elif stat.S_ISREG(about.st_mode):
                yield from self._file(walk, name, shared, about)
            else:
                yield from self._no_file(ledger, name, about)

    def _file(self, walk: Walk, name: bytes, shared: bytes | None, about: os.stat_result) -> Iterator[Row]:
        key, size = self.prefix + name, about.st_size
        if not is_image_name(name):
            kind, reason = look_at(os.path.join(self.root, key), name)  # noqa: PTH118 - bytes paths
            if kind == NOT_AN_IMAGE:
                walk.other(self.prefix, name, shared, size)
                return
            if kind:
                walk.ledger.leave_out(kind, key, size, reason)
                return
        if shared is None or walk.takes(self.prefix, name, shared, size):
            yield key, size, about.st_mtime_ns

    def _no_file(self, ledger: Ledger, name: bytes, about: os.stat_result) -> Iterator[LocalFolder]:
        key, identity = self.prefix + name, _identity(about)
        if not stat.S_ISDIR(about.st_mode):
            ledger.leave_out(SPECIAL, key, reason=special(about.st_mode))
        elif self._lies_in(identity):
            ledger.leave_out(LOOP, key)
        elif not name.endswith(b"/"):
            ledger.leave_out(MISSING, key, reason="it became a directory meanwhile")
        else:
            yield LocalFolder(self.root, key, identity, self)

    def _lies_in(self, identity: tuple[int, int]) -> bool:
        # The chain of ancestors decides, not the set of all directories seen: two links to one directory are
        # two folders of the dataset, whichever is walked first. Plain directories are checked too: below a
        # link that leads above the root, they are how the walk comes back.
        folder: LocalFolder | None = self
        while folder is not None and folder.identity != identity:
            folder = folder.parent
        return folder is not None


def sorted_names(names: Iterable[bytes]) -> Iterator[bytes]:
    """Sort names bytewise; beyond 50,000 of them as a column, which takes a third of the memory of objects."""
    rest = iter(names)
    chunk = list(islice(rest, BATCH))
    if len(chunk) < BATCH:
        return iter(sorted(chunk))
    columns = []
    while chunk:
        columns.append(pl.Series(chunk, dtype=pl.Binary))
        chunk = list(islice(rest, BATCH))
    column = pl.concat(columns).sort()
    return (name for begin in range(0, len(column), BATCH) for name in column[begin : begin + BATCH].to_list())


def marked_name(entry: os.DirEntry[bytes]) -> bytes:
    """Return an entry's name, with a "/" at its end where it is a directory or a link to one."""
    try:
        directory = entry.is_dir()
    except OSError:  # What is wrong with it comes out when it is looked at again.
        directory = False
    return entry.name + b"/" if directory else entry.name


def _size_of(path: bytes) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
