"""One directory of this machine in a walk: its images, and the files beside them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Final

import numpy as np
import polars as pl

from tiering.arrays import IndexArray, row_parts, stretches
from tiering.errors import from_os_error
from tiering.images.formats import is_image_name, needs_a_look
from tiering.sources.left_out import NOT_AN_IMAGE, NOT_PACKED
from tiering.sources.sidecars import Place
from tiering.sources.trees.contents import look_at
from tiering.sources.trees.local import Directory, Identity, classify_entry, entered, refused, version_of
from tiering.sources.trees.siblings import DESCRIPTIONS, TOGETHER, Beside, Role, Sidecars, by_parts
from tiering.sources.trees.walk import BATCH, Files, Row, Walk
from tiering.system import file_batches
from tiering.text import display

_DOT: Final = ord(".")

#: The part of a mode that is the type of a file.
_FILE_TYPE: Final = 0o170000

#: Fewer entries are looked at one by one.
_FEW: Final = 16


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A directory of this machine.

    root: of the tree. prefix: path below it, "" or ending in "/". chain: as in tiering.sources.trees.local.entered.
    """

    root: bytes
    prefix: bytes = b""
    chain: tuple[Identity, ...] = ()

    @classmethod
    def top(cls, root: bytes) -> LocalFolder:
        """Return the root of a tree. Raises OSError."""
        os.stat(root)  # noqa: PTH116 - bytes paths
        return cls(root)

    def entries(self, walk: Walk) -> Iterator[Row | Files | LocalFolder]:
        """Yield the contents of the directory, as Folder requires. A file's version is its mtime in ns since 1970.

        Links are followed. A link to a directory that contains it is a circle and is left out. FIFOs, sockets and
        devices are left out without being opened. Only files without an image's name are opened, to check their first
        bytes.
        Raises MachineError if the root may not be read.
        """
        passed_over = walk.passed_over if not self.prefix else frozenset()
        try:
            with entered(self.root, self.prefix, self.chain) as directory:
                if not isinstance(directory, Directory):
                    walk.ledger.leave_out(directory[0], self.prefix, reason=directory[1])
                    return
                self._describe(walk, directory.handle)
                names = _sorted(directory)
                if passed_over:
                    names = (name for name in names if name not in passed_over)
                chain = directory.chain
        except OSError as error:
            if not self.prefix:
                raise from_os_error(error, display(self.root)) from error
            kind, reason = refused(error)
            walk.ledger.leave_out(kind, self.prefix, reason=reason)
            return
        for part, roles in by_parts(names):
            stretched = self._plain_files(part) if roles is None and walk.claim is None else None
            for begin, end, files in stretched or [(0, len(part), None)]:
                if files is not None:
                    walk.ledger.met += len(files)
                    yield files
                else:
                    named = zip(part[begin:end], repeat(None)) if roles is None else roles
                    yield from self._entries(walk, named, chain)

    def _plain_files(self, names: list[bytes]) -> list[tuple[int, int, Files | None]]:
        """Find stretches of images in one look at all names, which have no role; nothing without the C extension.

        Returns the first and the last + 1 position of each stretch, and its files; None for entries of another kind.
        """
        if not file_batches.NATIVE or len(names) < _FEW:
            return []
        try:
            with file_batches.opened_directory(os.path.join(self.root, self.prefix)) as directory:  # noqa: PTH118
                ends = np.cumsum(np.fromiter(map(len, names), dtype=np.int64, count=len(names)))
                modes, sizes, changed = file_batches.look_at_files(directory, b"".join(names), ends)
        except OSError:  # It vanished: a look at each entry finds the words for it.
            return []
        endings = [name[name.rfind(b".") :] for name in names]
        known = {ending: is_image_name(ending) for ending in set(endings)}
        plain = modes & _FILE_TYPE == stat.S_IFREG
        plain &= [known[ending] and name[0] != _DOT for ending, name in zip(endings, names, strict=True)]
        return [
            (begin, end, Files([self.prefix + name for name in names[begin:end]], sizes[begin:end], changed[begin:end]))
            if plain[begin]
            else (begin, end, None)
            for begin, end in stretches(plain)
        ]

    def _entries(
        self, walk: Walk, named: Iterable[tuple[bytes, Role]], chain: tuple[Identity, ...]
    ) -> Iterator[Row | LocalFolder]:
        """Yield entries one after another. named: their names with their roles. chain: of this directory."""
        base = os.path.join(self.root, self.prefix)  # noqa: PTH118 - bytes paths; "+" takes a tenth of the time of join
        for name, role in named:
            key = self.prefix + name
            try:
                about = os.stat(base + name)  # noqa: PTH116 - bytes paths
                file = name[0] != _DOT and stat.S_ISREG(about.st_mode)
            except OSError:
                file = False
            walk.ledger.met += file
            if file and role is None and walk.claim is None and is_image_name(name):
                yield key, about.st_size, version_of(about)  # nearly all files; another generator would cost 0.3 us
            elif file:
                yield from self._file(walk, name, role, about)
            elif self._is_folder(walk, name, role):
                yield LocalFolder(self.root, key, chain)

    def _describe(self, walk: Walk, handle: int) -> None:
        """Note the tables of metadata in this directory; 2 us if there is none."""
        for name in DESCRIPTIONS if walk.describe is not None else ():
            try:
                about = os.stat(name, dir_fd=handle)
            except OSError:
                continue
            if stat.S_ISREG(about.st_mode):
                walk.describes(self.prefix + name)

    def _is_folder(self, walk: Walk, name: bytes, role: Role) -> bool:
        """Return whether an entry that is no file is a directory to enter. Others are recorded in the ledger."""
        key = self.prefix + name
        kind, reason, size = classify_entry(name, os.path.join(self.root, key).rstrip(b"/"))  # noqa: PTH118 - bytes
        if not kind:
            return walk.enters(key)
        walk.ledger.leave_out(kind, key, size, reason)
        walk.leave_beside(self._beside(walk, role))
        return False

    def _file(self, walk: Walk, name: bytes, role: Role, about: os.stat_result) -> Iterator[Row]:
        key, size = self.prefix + name, about.st_size
        if walk.claim is not None and (claim := walk.claim(key)) is not None:
            yield from walk.claimed(claim, (key, size, version_of(about)))
            walk.leave_beside(self._beside(walk, role))
            return
        with_image = walk.comes_with_image(role)
        if with_image and not needs_a_look(name):
            return
        if not is_image_name(name):
            if role is None and walk.ledger.is_raw(name, size):
                walk.other(self.prefix, name, role, size, version_of(about))
                return
            kind, reason = look_at(os.path.join(self.root, key), name)  # noqa: PTH118 - bytes paths
            if kind and with_image:
                return
            if kind == NOT_AN_IMAGE or (kind == NOT_PACKED and isinstance(role, Beside)):
                walk.other(self.prefix, name, role, size, version_of(about))
                return
            if kind:
                walk.ledger.leave_out(kind, key, size, reason)
                return
        if walk.takes(self.prefix, name, role, size):
            walk.attach(key, self._beside(walk, role))
            yield key, size, version_of(about)

    def _beside(self, walk: Walk, role: Role) -> list[Place]:
        """Return the files that are fields of an image. Those that cannot be read are recorded in the ledger."""
        if not isinstance(role, Sidecars) or walk.ledger.images_only is not False:
            return []
        found = []
        for name, suffix in role.files:
            key = self.prefix + name
            path = os.path.join(self.root, key)  # noqa: PTH118 - bytes paths
            try:
                about = os.stat(path)  # noqa: PTH116 - bytes paths
            except OSError:
                continue  # Its own turn reports it.
            if not stat.S_ISREG(about.st_mode):
                continue
            kind, reason = (NOT_AN_IMAGE, "") if is_image_name(name) else look_at(path, name)
            if kind in (NOT_AN_IMAGE, NOT_PACKED):
                found.append(Place(suffix, key, about.st_size, version_of(about)))
            elif kind:
                walk.ledger.leave_out(kind, key, about.st_size, reason)
        return found


def _sorted(directory: Directory) -> Iterator[bytes]:
    """Return the names in a directory sorted bytewise. Raises OSError."""
    if not file_batches.NATIVE:
        return sorted_names(directory.names())
    text, ends = file_batches.list_names(directory.handle)
    return _cut(text, ends)


def _cut(text: bytes, ends: IndexArray) -> Iterator[bytes]:
    begin = 0
    for rows in row_parts(len(ends), TOGETHER):
        for end in ends[rows].tolist():
            yield text[begin:end]
            begin = end


def sorted_names(names: Iterable[bytes]) -> Iterator[bytes]:
    """Sort names bytewise. More than 50,000 are sorted as a column, which takes a third of the memory of objects."""
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
