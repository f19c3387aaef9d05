"""Add up the files of local directories by kind, with their newest times, and open none of them.

A survey opens no file, so it changes no access time. Links are not followed, as `find` does not follow them.

This module imports only the standard library; see tiering.sources.trees.entries for the reason.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from dataclasses import dataclass, field
from itertools import compress, islice
from operator import add, itemgetter
from typing import Final, NamedTuple

from tiering.images.formats import IMAGE_EXTENSIONS
from tiering.sources.left_out import ZARR_MARKS
from tiering.sources.trees.entries import SHARED_BYTES, TOGETHER, receive, send

#: Kinds of files, by name. Each is an index into DirectoryTotals.counts and .sizes.
IMAGE, TAR, TABLE, RECORD, ARRAY, LMDB, OTHER = range(7)
KINDS: Final = OTHER + 1

_BY_EXTENSION: Final = {
    **dict.fromkeys((each.decode() for each in IMAGE_EXTENSIONS), IMAGE),
    **dict.fromkeys(("tar", "tgz"), TAR),
    **dict.fromkeys(("parquet", "arrow", "feather", "orc"), TABLE),
    **dict.fromkeys(("tfrecord", "tfrecords", "tfrec"), RECORD),
    **dict.fromkeys(("h5", "hdf5", "npz", "npy"), ARRAY),
    **dict.fromkeys(("mdb", "lmdb"), LMDB),
}
_COMPRESSED: Final = ("gz", "zst", "bz2", "xz")

#: Bits of DirectoryTotals.marks: files that only packed stores have.
ZARR_MARK, LMDB_MARK, MANIFEST_MARK = 1, 2, 4
_MARKS: Final = {
    **dict.fromkeys((*map(bytes.decode, ZARR_MARKS), ".zmetadata"), ZARR_MARK),
    "data.mdb": LMDB_MARK,
    "manifest.json": MANIFEST_MARK,
}

#: Entries that are processed at once.
_CHUNK: Final = 10_000
_SIZE, _READ, _CHANGED = itemgetter(6), itemgetter(7), itemgetter(8)


class SurveyTask(NamedTuple):
    """Directories to add up.

    parent: absolute path that ends in "/". names: of directories in it, separated by NUL bytes; "" is the parent
    itself. parts: how many parts the entries are divided into. part: which of them to add up, from 0.
    """

    parent: bytes
    names: bytes
    part: int = 0
    parts: int = 1


@dataclass(slots=True)
class Totals:
    """Totals of files.

    counts, sizes: number and bytes of the files of each kind. changed, read: newest time of change and of access, whole
    s since 1970; -1 without a file. marks: bits of the files that only stores have. folders: number of directories.
    links: symbolic links, which are not followed. special: FIFOs, sockets and devices. unseen: files whose size could
    not be read. odd_names: names that are not UTF-8.
    """

    counts: list[int] = field(default_factory=lambda: [0] * KINDS)
    sizes: list[int] = field(default_factory=lambda: [0] * KINDS)
    changed: int = -1
    read: int = -1
    marks: int = 0
    folders: int = 0
    links: int = 0
    special: int = 0
    unseen: int = 0
    odd_names: int = 0

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes in half the time that slots take otherwise."""
        newest = self.changed, self.read, self.marks, self.folders
        return Totals, (self.counts, self.sizes, *newest, self.links, self.special, self.unseen, self.odd_names)

    @property
    def files(self) -> int:
        """Number of files."""
        return sum(self.counts)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes)

    def add(self, other: Totals) -> None:
        """Add other totals. Marks stay those of the directory itself. About 1.5 us."""
        self.counts = list(map(add, self.counts, other.counts))
        self.sizes = list(map(add, self.sizes, other.sizes))
        self.changed = max(self.changed, other.changed)
        self.read = max(self.read, other.read)
        self.folders += other.folders
        self.links += other.links
        self.special += other.special
        self.unseen += other.unseen
        self.odd_names += other.odd_names


@dataclass(slots=True)
class DirectoryTotals:
    """The totals of one directory, or of a part of its entries.

    path: absolute, ending in "/". part, parts: as in SurveyTask, but parts is 0 for a very large directory that was
    divided and not read. totals: of its own files. tasks: its directories, or the parts of a divided one. failed: why
    it could not be listed, or "".
    """

    path: bytes
    part: int = 0
    parts: int = 1
    totals: Totals = field(default_factory=Totals)
    tasks: list[SurveyTask] = field(default_factory=list)
    failed: str = ""

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as Totals do."""
        return DirectoryTotals, (self.path, self.part, self.parts, self.totals, self.tasks, self.failed)


def add_up(task: SurveyTask, skipped: frozenset[bytes], shares: int) -> list[DirectoryTotals]:
    """Add up the files of the directories of a task.

    skipped: absolute paths of directories that are not entered. shares: how many parts to make of a very large
    directory. About 4 us for a file with a warm page cache, 2 us of it in the system.
    """
    found = []
    for name in task.names.split(b"\0"):
        path = task.parent + name + b"/" * bool(name)
        here = DirectoryTotals(path, task.part, task.parts)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if task.parts == 1 and shares > 1 and os.fstat(handle).st_size > SHARED_BYTES:
                    here.parts = 0
                    here.tasks = [SurveyTask(task.parent, name, part, shares) for part in range(shares)]
                else:
                    _scan(here, handle, skipped)
            finally:
                os.close(handle)
        except OSError as error:
            here.failed = (error.strerror or str(error)).lower()
        found.append(here)
    return found


def _scan(here: DirectoryTotals, handle: int, skipped: frozenset[bytes]) -> None:
    folders: list[bytes] = []
    totals, part, parts, number = here.totals, here.part, here.parts, 0
    with os.scandir(handle) as entries:
        while chunk := list(islice(entries, _CHUNK)):
            mine = chunk if parts == 1 else [e for at, e in enumerate(chunk, number) if at // 64 % parts == part]
            number += len(chunk)
            files = [entry for entry in mine if entry.is_file(follow_symlinks=False)]
            if len(files) < len(mine):
                _others(totals, [entry for entry in mine if not entry.is_file(follow_symlinks=False)], folders)
            _count(totals, files)
    totals.folders = int(part == 0)
    names = [name for name in folders if here.path + name not in skipped] if skipped else folders
    for begin in range(0, len(names), TOGETHER):
        here.tasks.append(SurveyTask(here.path, b"\0".join(names[begin : begin + TOGETHER])))


def _others(totals: Totals, entries: list[os.DirEntry[str]], folders: list[bytes]) -> None:
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            folders.append(os.fsencode(entry.name))
        elif entry.is_symlink():
            totals.links += 1
        else:
            totals.special += 1


def _count(totals: Totals, files: list[os.DirEntry[str]]) -> None:
    # Each step processes all files almost entirely in C, as in entries.py.
    try:
        stats = [entry.stat(follow_symlinks=False) for entry in files]
    except OSError:
        files, stats = _still_there(totals, files)
    if not files:
        return
    names = [entry.name for entry in files]
    sizes = list(map(_SIZE, stats))
    totals.changed = max(totals.changed, *map(_CHANGED, stats))
    totals.read = max(totals.read, *map(_READ, stats))
    together = "".join(names)
    if not together.isascii():
        totals.odd_names += sum(any("\udc80" <= letter <= "\udcff" for letter in name) for name in names)
    # Nearly all extensions have three letters. Searching for the dot takes three times as long.
    extensions = [name[-3:] if name[-4:-3] == "." else name.rpartition(".")[2] * ("." in name) for name in names]
    by_extension = Counter(extensions)
    kind_of = {extension: _BY_EXTENSION.get(extension.lower(), OTHER) for extension in by_extension}
    kinds = set(kind_of.values())
    if kinds == {IMAGE}:
        totals.counts[IMAGE] += len(names)
        totals.sizes[IMAGE] += sum(sizes)
        return
    each = [kind_of[extension] for extension in extensions]
    if OTHER in kinds:
        _look_closer(totals, names, extensions, each, by_extension)
    for kind, count in Counter(each).items():
        totals.counts[kind] += count
        totals.sizes[kind] += sum(compress(sizes, map(kind.__eq__, each)))


def _look_closer(
    totals: Totals, names: list[str], extensions: list[str], each: list[int], by_extension: Counter[str]
) -> None:
    """Find marks, compressed tars, and TFRecords whose names end in train-00000-of-01024."""
    wanted = {extension for extension in by_extension if extension.lower() in _COMPRESSED or "-of-" in extension}
    for at, (name, extension) in enumerate(zip(names, extensions, strict=True)):
        if each[at] == OTHER or name in _MARKS:
            totals.marks |= _MARKS.get(name, 0)
        if extension in wanted:
            inner = name[: -len(extension) - 1].rpartition(".")[2].lower()
            if "-of-" in extension:
                each[at] = RECORD if "tfrecord" in name.lower() else each[at]
            elif inner in ("tar", "tfrecord"):
                each[at] = TAR if inner == "tar" else RECORD
    if LMDB in each and "data.mdb" in names:
        totals.marks |= LMDB_MARK


def _still_there(totals: Totals, files: list[os.DirEntry[str]]) -> tuple[list[os.DirEntry[str]], list[os.stat_result]]:
    """Return the files whose size can be read, and their status."""
    left, stats = [], []
    for entry in files:
        try:
            about = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # Another process removed it.
        except OSError:
            totals.unseen += 1
        else:
            if stat.S_ISREG(about.st_mode):
                left.append(entry)
                stats.append(about)
    return left, stats


def main() -> None:
    """Answer tasks from standard input until it ends."""
    shares = int(sys.argv[1])
    skipped = frozenset(map(os.fsencode, sys.argv[2:]))
    while message := receive(sys.stdin.buffer):
        send(sys.stdout.buffer, add_up(message, skipped, shares))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
