"""List local trees: decide which directories are entered, and what their entries are.

Every walk over a tree uses this module: packing, which needs names in order, and counts and samples, which need speed.
It imports only the standard library; see tiering.sources.trees.entries for the reason.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, AnyStr, Final

from tiering.sources.left_out import LOOP, MISSING, PACKED, SPECIAL, UNREADABLE_DIRECTORY, LeftOut, unlooked
from tiering.sources.trees.contents import broken, is_zarr, special

#: How many entries are classified at once.
CHUNK: Final = 20_000

#: The last time that a listing holds, in the year 2262.
_LAST: Final = (1 << 63) - 1

#: Device and inode of a directory.
Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Directory:
    """An open local directory.

    handle: its descriptor. size: its own size in bytes. chain: the directories that lead to it, itself last.
    """

    handle: int
    size: int
    chain: tuple[Identity, ...]

    def names(self) -> Iterator[bytes]:
        """Yield the names of all entries in the order of the system, as marked_name writes them. Raises OSError."""
        with os.scandir(self.handle) as entries:
            for entry in entries:
                yield os.fsencode(marked_name(entry))

    def files(
        self,
        prefix: bytes,
        left_out: LeftOut,
        folders: list[bytes],
        part: int = 0,
        parts: int = 1,
        seen: Callable[[list[os.DirEntry[str]]], None] | None = None,
    ) -> Iterator[list[os.DirEntry[str]]]:
        """Yield the regular files in chunks. Append directories to `folders` and add other entries to `left_out`.

        prefix: path of the directory below the tree's root. part, parts: which share of the entries to look at, of how
        many; the others are skipped. seen: called with all entries, in chunks. Raises OSError.
        """
        number = 0
        # Relative to the open directory, the system looks up one name instead of a path.
        with os.scandir(self.handle) as entries:
            while chunk := list(islice(entries, CHUNK)):
                mine = chunk if parts == 1 else [e for at, e in enumerate(chunk, number) if is_of(at, part, parts)]
                if seen is not None:
                    seen(chunk)
                number += len(chunk)
                try:
                    files = [entry for entry in mine if entry.is_file() and entry.name[0] != "."]
                except OSError:  # One is a broken link. A test that tolerates these is 10 % slower.
                    files = [entry for entry in mine if is_file(entry) and entry.name[0] != "."]
                if len(files) < len(mine):
                    for entry in mine:
                        if entry.name[0] == "." or not is_file(entry):
                            name = os.fsencode(marked_name(entry))
                            kind, reason, size = classify_entry(name, name.rstrip(b"/"), self.handle)
                            left_out.add(kind, prefix + name, size, reason) if kind else folders.append(name)
                yield files


def is_of(at: int, part: int, parts: int) -> bool:
    """Return whether an entry belongs to a share. at: its position in the directory. part, parts: as in `files`."""
    return at // 64 % parts == part


@contextmanager
def entered(root: bytes, prefix: bytes, chain: tuple[Identity, ...] = ()) -> Iterator[Directory | tuple[str, str]]:
    """Open a directory of a tree, or yield the kind and the reason why it is not entered.

    prefix: path below root, "" or ending in "/". chain: the directories that lead to it. If it is one of them, it is a
    circle. Comparing with all directories seen would be wrong: two links to one directory are two folders of the
    dataset, in whichever order they are walked. Plain directories are checked too, because below a link to somewhere
    above the root they lead back.
    Raises OSError if the root cannot be opened.
    """
    try:
        handle = os.open(os.path.join(root, prefix), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH118
    except OSError as error:
        if not prefix:
            raise
        yield refused(error)
        return
    try:
        about = os.fstat(handle)
        identity = about.st_dev, about.st_ino
        if identity in chain:
            yield LOOP, ""
        elif is_zarr(b"", handle):
            yield PACKED, ""
        else:
            yield Directory(handle, about.st_size, (*chain, identity))
    finally:
        os.close(handle)


def refused(error: OSError) -> tuple[str, str]:
    """Return the kind of a directory that cannot be read, and the reason."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return MISSING, "it vanished during the walk"
    return UNREADABLE_DIRECTORY, (error.strerror or str(error)).lower()


def classify_entry(name: bytes, path: bytes, directory: int | None = None) -> tuple[str, str, int]:
    """Return kind, reason and bytes of an entry that is not a regular file; kind "" for a directory to enter.

    name: as from marked_name. path: of the entry, relative to `directory` if that is given.
    """
    try:
        if kind := unlooked(name):
            size = 0 if name.endswith(b"/") else os.stat(path, dir_fd=directory, follow_symlinks=False).st_size
            return kind, "", size
        mode = os.stat(path, dir_fd=directory).st_mode
    except OSError as error:
        return (unlooked(name), "", 0) if unlooked(name) else (*broken(error, path, directory), 0)  # type: ignore[return-value]
    if stat.S_ISDIR(mode) and name.endswith(b"/"):
        return "", "", 0
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return MISSING, "it changed during the walk", 0
    return SPECIAL, special(mode), 0


def marked_name(entry: os.DirEntry[AnyStr]) -> AnyStr:
    """Return an entry's name, with a "/" at its end if it is a directory or a link to one."""
    try:
        directory = entry.is_dir()
    except OSError:  # The next look at it reports the problem.
        directory = False
    if not directory:
        return entry.name
    return entry.name + "/" if isinstance(entry.name, str) else entry.name + b"/"


def version_of(about: os.stat_result) -> int:
    """Return when a file was changed, in ns since 1970; if 64 bits do not hold that, the closest that they do."""
    return max(min(about.st_mtime_ns, _LAST), -_LAST - 1)


def regular_files(root: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield path below root and bytes of each regular file, in any order, including hidden ones.

    These are all files on the disk, not only those that a dataset uses. Links are not followed. Raises OSError if a
    directory cannot be read.
    """
    pending = [b""]
    while pending:
        prefix = pending.pop()
        with os.scandir(os.path.join(root, prefix)) as found:  # noqa: PTH118 - bytes paths
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(prefix + entry.name + b"/")
                elif entry.is_file(follow_symlinks=False):
                    yield prefix + entry.name, entry.stat(follow_symlinks=False).st_size


def is_file(entry: os.DirEntry[Any]) -> bool:
    """True for a file or a link to one. False for a broken link."""
    try:
        return entry.is_file()
    except OSError:
        return False
