"""Walk a tree of images depth first, so that its keys come sorted while no more than one directory's names are held."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol

import polars as pl

from tiering.dataset.entries import is_image_name, reason, special
from tiering.errors import DatasetError, from_os_error
from tiering.text import display
from tiering.units import format_count

__all__ = [
    "BATCH",
    "MAX_EXAMPLES",
    "WALK_SCHEMA",
    "Folder",
    "LocalFolder",
    "Row",
    "Walk",
    "display",
    "is_image_name",
    "marked_name",
    "sorted_names",
    "special",
]

WALK_SCHEMA: Final = {"key": pl.Binary, "size": pl.Int64, "version": pl.Int64}
BATCH: Final = 50_000
MAX_EXAMPLES: Final = 10

#: A file: its key, its size in bytes, and its version.
Row = tuple[bytes, int, int]


class Folder(Protocol):
    """One directory of a tree, wherever the tree lies."""

    def entries(self, walk: Walk) -> Iterator[Row | Folder]:
        """Yield its files and directories sorted by name, a directory's name with a "/" at its end.

        In this order every key below a directory has its place between the files before and after it: keys that are
        walked depth first come sorted bytewise, and nothing needs to hold them all. What is left out is reported
        to walk.skip.
        """
        ...


@dataclass(slots=True)
class Walk:
    """A walk over a tree, and what it saw beside images.

    other_files, other_bytes: files whose extension is no image's, and their bytes. odd_names: images whose key is not
    UTF-8. skipped: entries left out, by reason; hidden ones are left out without being counted. examples: up to 10
    lines that name some of them.
    """

    other_files: int = 0
    other_bytes: int = 0
    odd_names: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

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
            elif not isinstance(entry, tuple):
                stack.append(entry.entries(self))
            elif is_image_name(entry[0]):
                self.odd_names += not (entry[0].isascii() or _is_utf8(entry[0]))
                yield entry
            else:
                self.other_files += 1
                self.other_bytes += entry[1]

    def skip(self, reason: str, path: bytes) -> None:
        """Take note of an entry that is left out."""
        self.skipped[reason] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{display(path)}: {reason}")

    def no_images(self, where: str) -> DatasetError:
        """Return the error that says what was seen in place of images."""
        parts = []
        if self.other_files:
            parts.append(f"{format_count(self.other_files)} other file{'s' if self.other_files > 1 else ''}")
        parts += [f"{format_count(count)} {reason}" for reason, count in sorted(self.skipped.items())]
        return DatasetError(
            where,
            expected="image files (jpg, png, tiff, webp, bmp, gif, ppm, jp2)",
            found=f"no image, but {', '.join(parts)}" if parts else "an empty directory",
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

        Links are followed; a link to a directory that it lies in is a loop and is skipped. FIFOs, sockets and devices
        are skipped without being opened. Raises MachineError where the root may not be read.
        """
        try:
            with os.scandir(os.path.join(self.root, self.prefix)) as found:  # noqa: PTH118 - bytes paths
                names = sorted_names(marked_name(entry) for entry in found if not entry.name.startswith(b"."))
        except OSError as error:
            if not self.prefix:
                raise from_os_error(error) from error
            walk.skip("unreadable directory", self.prefix)
            return
        for name in names:
            key = self.prefix + name
            path = os.path.join(self.root, key)  # noqa: PTH118 - bytes paths
            try:
                about = os.stat(path)  # noqa: PTH116 - bytes paths
            except OSError as error:
                link = os.path.islink(path.rstrip(b"/"))  # noqa: PTH114 - bytes paths
                walk.skip(reason(error, link=link), key.rstrip(b"/"))
                continue
            if stat.S_ISREG(about.st_mode):
                yield key, about.st_size, about.st_mtime_ns
            elif not stat.S_ISDIR(about.st_mode):
                walk.skip(special(about.st_mode), key)
            elif self._lies_in(_identity(about)):
                walk.skip("symlink loop", key.rstrip(b"/"))
            elif not name.endswith(b"/"):
                walk.skip("vanished file", key)
            else:
                yield LocalFolder(self.root, key, _identity(about), self)

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


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
