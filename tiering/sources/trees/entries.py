"""Count local directories: the size of every image, and the names of a random few.

This module imports only the standard library. The processes that scan a large tree run it as a program, so it must
start as fast as Python itself.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import compress
from typing import BinaryIO, Final

from tiering.images.formats import IMAGE_EXTENSIONS, is_image_name
from tiering.sources.left_out import NOT_AN_IMAGE, NOT_PACKED, SIDECAR, LeftOut
from tiering.sources.trees.contents import broken, look_at
from tiering.sources.trees.local import Directory, entered, is_file, is_of, marked_name, refused
from tiering.sources.trees.siblings import Beside, with_roles

_IMAGES: Final = frozenset(extension.decode() for extension in IMAGE_EXTENSIONS)

#: How many directories one task contains.
TOGETHER: Final = 16

#: A directory whose own size is larger than this (some 30,000 entries) is split among processes.
SHARED_BYTES: Final = 1 << 20

#: A message starts with its length in this many bytes.
_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class Task:
    """Directories with one parent to look into.

    parent: path of the parent below the root, "" or ending in "/". names: the directories in it, separated by NUL
    bytes; "" is the parent itself. chain: device and inode of the directories that lead there. part, parts: which share
    of the entries to count, of how many.
    """

    parent: bytes
    names: bytes
    chain: tuple[tuple[int, int], ...] = ()
    part: int = 0
    parts: int = 1


@dataclass(slots=True)
class TaskResult:
    """The contents of the directories of a task.

    sizes: bytes of each image, int64. kept: random number, key and size of the images whose random number is below the
    limit. folders: number of images in each directory that has some. extensions: images by extension in lower case.
    left_out: entries that are not images. tasks: the remaining work.
    """

    sizes: array[int] = field(default_factory=lambda: array("q"))
    kept: list[tuple[float, bytes, int]] = field(default_factory=list)
    folders: dict[bytes, int] = field(default_factory=dict)
    extensions: dict[str, int] = field(default_factory=dict)
    odd_names: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    tasks: list[Task] = field(default_factory=list)

    def take(self, prefix: bytes, name: bytes, size: int, number: float, limit: float) -> None:
        """Count one image. number: its random number; if that is below the limit, the image is kept by name."""
        extension = _extension(name.decode("utf-8", "surrogateescape")).lower()
        self.extensions[extension] = self.extensions.get(extension, 0) + 1
        self.folders[prefix] = self.folders.get(prefix, 0) + 1
        self.odd_names += _odd(name.decode("utf-8", "surrogateescape"))
        self.sizes.append(size)
        if number < limit:
            self.kept.append((number, prefix + name, size))


def look(root: bytes, task: Task, limit: float, seed: int, shares: int) -> TaskResult:
    """Look into the directories of a task.

    limit: images whose random number in [0, 1) is below it are kept by name. seed: of these numbers, which otherwise
    depend only on the directory and its order. shares: how many parts to make of a very large directory.
    Raises OSError if the root of the tree cannot be read. Other entries that cannot be read are in left_out.
    About 4 us for an image with a warm page cache, 3 us of it in stat(2), and 10 us for any other file, which is
    opened.
    """
    found = TaskResult()
    for name in task.names.split(b"\0"):
        prefix = task.parent + name + b"/" * bool(name)
        with entered(root, prefix, task.chain) as directory:
            if not isinstance(directory, Directory):
                found.left_out.add(directory[0], prefix, reason=directory[1])
            elif task.parts == 1 and shares > 1 and directory.size > SHARED_BYTES:
                found.tasks += [Task(task.parent, name, task.chain, part, shares) for part in range(shares)]
            else:
                try:
                    _Folder(found, directory, prefix, task, limit, seed).scan()
                except OSError as error:
                    if not prefix:
                        raise
                    kind, why = refused(error)
                    found.left_out.add(kind, prefix, reason=why)
    return found


class _Folder:
    """One open directory while it is counted."""

    def __init__(
        self, found: TaskResult, directory: Directory, prefix: bytes, task: Task, limit: float, seed: int
    ) -> None:
        self.found, self.directory, self.prefix, self.limit = found, directory, prefix, limit
        self.handle, self.part, self.parts = directory.handle, task.part, task.parts
        #: Files that are not images, or not of a format that is packed: name, bytes, kind and reason.
        self.others: list[tuple[bytes, int, str, str]] = []
        #: Names with one extension in common and one dot each have nothing beside them.
        self.endings: set[str] = set()
        self.dotted = False
        self.begin = len(found.sizes)
        self.random = random.Random(b"%d %d %d/" % (seed, task.part, task.parts) + prefix).random

    def scan(self) -> None:
        """Go through the entries. Those of other parts are skipped."""
        folders: list[bytes] = []
        seen = self._see if self.parts > 1 else None
        for files in self.directory.files(self.prefix, self.found.left_out, folders, self.part, self.parts, seen):
            self._count(files)
        if self.others or self.dotted or len(self.endings) > 1:
            self._count_sidecars()
        names = [name[:-1] for name in folders]
        for begin in range(0, len(names), TOGETHER):
            together = b"\0".join(names[begin : begin + TOGETHER])
            self.found.tasks.append(Task(self.prefix, together, self.directory.chain))

    def _see(self, entries: list[os.DirEntry[str]]) -> None:
        names = [entry.name for entry in entries]
        self.endings.update([name[-4:] for name in names])
        self.dotted |= "".join(names).count(".") > len(names)

    def _count_sidecars(self) -> None:
        """Count the files beside images as fields, those that are images too, and leave out the other files."""
        with os.scandir(self.handle) as entries:
            every = list(entries)
        names = [os.fsencode(marked_name(entry)) for entry in every]
        beside = {name: role for name, role in with_roles(sorted(names)) if isinstance(role, Beside)}
        for name, size, kind, why in self.others:
            if name not in beside:
                self._leave_out(kind, name, size, why)
        if beside:
            self._count_beside(
                beside, [name if is_file(entry) else b"" for name, entry in zip(names, every, strict=True)]
            )

    def _count_beside(self, beside: dict[bytes, Beside], files: list[bytes]) -> None:
        """Count the files beside images. files: the names of all files in the order of the system, b"" for others."""
        there = set(files)
        mine = {name for at, name in enumerate(files) if is_of(at, self.part, self.parts)}
        sizes = {name: size for name, size, *_ in self.others}
        images: list[tuple[bytes, int]] = []
        for name, role in beside.items():
            if name in mine and is_image_name(name):
                images.append((name, os.stat(name, dir_fd=self.handle).st_size))
                self._take(*images[-1], role, there)
            elif name in sizes:
                self._take(name, sizes[name], role, there)
        if images:
            self._uncount(images)

    def _take(self, name: bytes, size: int, role: Beside, there: set[bytes]) -> None:
        """Count a file beside an image. there: the names of all files."""
        if role.image in there:
            self.found.left_out.take(size, role.suffix(name).lower())
        else:
            self._leave_out(SIDECAR, name, size, "its image is left out")

    def _uncount(self, images: list[tuple[bytes, int]]) -> None:
        """Count images as no samples, since they are beside others. images: name and bytes."""
        found = self.found
        extra = Counter(size for _, size in images)
        left = array("q")
        for size in found.sizes[self.begin :]:
            if extra[size]:
                extra[size] -= 1
            else:
                left.append(size)
        found.sizes = found.sizes[: self.begin] + left
        names = {name.decode("utf-8", "surrogateescape") for name, _ in images}
        taken = Counter(_extension(name).lower() for name in names)
        found.extensions = dict(Counter(found.extensions) - taken)
        found.folders[self.prefix] -= len(names)
        found.odd_names -= sum(map(_odd, names))
        keys = {self.prefix + name for name, _ in images}
        found.kept = [row for row in found.kept if row[1] not in keys]

    def _count(self, files: list[os.DirEntry[str]]) -> None:
        # Each step processes all files almost entirely in C. A loop over the files takes half as long again.
        try:
            sizes = [entry.stat().st_size for entry in files]
        except OSError:
            files, sizes = self._still_there(files)
        names = [entry.name for entry in files]
        # Nearly all extensions have three letters. Searching for the dot takes three times as long.
        extensions = [name[-3:] if name[-4:-3] == "." else _extension(name) for name in names]
        found = self.found
        endings = set(extensions)
        if not _IMAGES.issuperset(map(str.lower, endings)):
            images = [
                # The last three letters of x.a.b contain another dot.
                extension.lower() in _IMAGES or self._is_image(name, size)
                for name, extension, size in zip(names, extensions, sizes, strict=True)
            ]
            names, sizes = list(compress(names, images)), list(compress(sizes, images))
            extensions = [extension.rpartition(".")[2] for extension in compress(extensions, images)]
        for extension, count in Counter(extensions).items():
            lower = extension.lower()
            found.extensions[lower] = found.extensions.get(lower, 0) + count
        if not names:
            return
        found.folders[self.prefix] = found.folders.get(self.prefix, 0) + len(names)
        found.sizes.extend(sizes)
        together = "".join(names)
        if self.parts == 1:
            self.endings |= endings
            self.dotted |= together.count(".") > len(names)
        if not together.isascii():
            found.odd_names += sum(map(_odd, names))
        draw, limit = self.random, self.limit
        numbers = [draw() for _ in names]
        if min(numbers) < limit:
            found.kept += [
                (number, self.prefix + os.fsencode(name), size)
                for number, name, size in zip(numbers, names, sizes, strict=True)
                if number < limit
            ]

    def _still_there(self, files: list[os.DirEntry[str]]) -> tuple[list[os.DirEntry[str]], list[int]]:
        """Return the files whose size can be read, and their sizes."""
        left: list[os.DirEntry[str]] = []
        sizes = []
        for entry in files:
            try:
                sizes.append(entry.stat().st_size)
            except OSError as error:
                name = os.fsencode(entry.name)
                kind, why = broken(error, name, self.handle)
                self._leave_out(kind, name, reason=why)
            else:
                left.append(entry)
        return left, sizes

    def _is_image(self, name: str, size: int) -> bool:
        """Check by its first bytes whether a file is an image, and record it if not."""
        plain = os.fsencode(name)
        kind, why = look_at(plain, plain, self.handle)
        if kind in (NOT_AN_IMAGE, NOT_PACKED):
            self.others.append((plain, size, kind, why))
        elif kind:
            self._leave_out(kind, plain, size, why)
        return not kind

    def _leave_out(self, kind: str, name: bytes, size: int = 0, reason: str = "") -> None:
        self.found.left_out.add(kind, self.prefix + name, size, reason)


def _extension(name: str) -> str:
    return name.rpartition(".")[2] if "." in name else ""


def _odd(name: str) -> bool:
    return any("\udc80" <= letter <= "\udcff" for letter in name)


def send(pipe: BinaryIO, message: object) -> int:
    """Send a message to another process of ours, and return its size in bytes. Raises OSError."""
    data = pickle.dumps(message, protocol=5)
    pipe.write(len(data).to_bytes(_LENGTH, "little") + data)
    pipe.flush()
    return len(data)


def receive(pipe: BinaryIO) -> object:
    """Wait for a message from a process of ours. Returns None if the process has gone. Raises OSError."""
    length = pipe.read(_LENGTH)
    data = pipe.read(int.from_bytes(length, "little")) if len(length) == _LENGTH else b""
    return pickle.loads(data) if data else None  # noqa: S301 - written by a process that we started


def main() -> None:
    """Answer tasks from standard input until it ends."""
    root, seed, shares = os.fsencode(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    while message := receive(sys.stdin.buffer):
        send(sys.stdout.buffer, look(root, message[0], message[1], seed, shares))  # type: ignore[index]


if __name__ == "__main__":
    main()
