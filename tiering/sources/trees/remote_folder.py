"""List trees behind a URL: conversions, profiles and samples of trees all classify the entries of a directory here.

The name decides what an entry is, or the first bytes of the file if the name leaves it open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any, Final, NamedTuple

import polars as pl

from tiering.images.formats import is_image_name, needs_a_look
from tiering.sources.account import Ledger
from tiering.sources.left_out import (
    MISSING,
    NOT_AN_IMAGE,
    NOT_PACKED,
    PACKED,
    SIDECAR,
    UNKNOWN_SIZE,
    UNREACHABLE,
    ZARR_MARKS,
    unlooked,
)
from tiering.sources.sidecars import Place
from tiering.sources.trees.contents import ZARR_BYTES, is_zarr_metadata, look_at_head
from tiering.sources.trees.remote import LISTING_SCHEMA, Listed, connect, first_bytes, look_up, pages
from tiering.sources.trees.siblings import DESCRIPTIONS, Beside, Role, first_part, with_roles
from tiering.sources.trees.walk import Row, Walk
from tiering.storage.bucket import REQUESTS
from tiering.storage.urls import joined

#: Kinds of entries besides those that are left out.
IMAGE: Final = ""
FOLDER: Final = "folder"
OPEN: Final = "open"

#: How many entries are classified at once.
_TOGETHER: Final = 1000


class Entry(NamedTuple):
    """An entry of a remote directory.

    name, size, version: as in Listed. role: what it is to other files, None for a file of its own. kind: IMAGE, FOLDER,
    OPEN (only the first bytes can decide), SIDECAR (beside an image), or why it is left out. reason: details.
    """

    name: bytes
    size: int | None
    version: int
    role: Role
    kind: str
    reason: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a file that may be a field: an image, or not one."""
        return self.kind in (IMAGE, SIDECAR, NOT_AN_IMAGE, NOT_PACKED)

    @property
    def is_beside(self) -> bool:
        """Whether it belongs to an image. An image recognised only by content is not the mask of another."""
        return isinstance(self.role, Beside) and (
            self.kind == SIDECAR or (self.kind == IMAGE and is_image_name(self.name))
        )


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A directory behind a URL.

    url: of the tree, for errors. system: fsspec's file system. root: path of the tree in it. prefix: path below the
    root, "" or ending in "/".
    """

    url: str
    system: Any
    root: str
    prefix: str = ""

    @classmethod
    def top(cls, url: str) -> RemoteFolder:
        """Return the root of a tree. Raises what connect raises."""
        system, path = connect(url)
        return cls(url, system, path)

    @property
    def key(self) -> bytes:
        """The prefix, as in keys."""
        return self.prefix.encode("utf-8", "surrogateescape")

    @property
    def path(self) -> str:
        """The directory's path in the file system."""
        return joined(self.root, self.prefix).rstrip("/") if self.prefix else self.root

    def below(self, name: bytes) -> RemoteFolder:
        """Return a directory in this one. name: ends in "/"."""
        return RemoteFolder(self.url, self.system, self.root, self.prefix + name.decode("utf-8", "surrogateescape"))

    def entries(self, walk: Walk) -> Iterator[Row | RemoteFolder]:
        """Yield the contents of the directory, as tiering.sources.trees.walk.Folder requires.

        The whole directory is listed first, since keys must come sorted. Versions come from version_of. Raises
        MachineError if the server does not answer.
        """
        prefix = self.key
        try:
            listed = self._listed(walk.ledger)
        except FileNotFoundError:
            walk.ledger.leave_out(MISSING, prefix, reason="it vanished during the walk")
            return
        marks = listed.filter(pl.col("key").is_in(list(ZARR_MARKS)))
        if self._is_zarr(marks.rows(), (marks.height > 0) and any(map(is_image_name, listed["key"]))):
            walk.ledger.leave_out(PACKED, prefix)
            return
        if walk.passed_over and not prefix:
            listed = listed.filter(~pl.col("key").is_in(list(walk.passed_over)))
        for name in listed.filter(pl.col("key").is_in(list(DESCRIPTIONS)))["key"] if walk.describe else ():
            walk.describes(prefix + name)
        parts = _classified(row for batch in listed.iter_slices(_TOGETHER) for row in batch.iter_rows())
        for together in _grouped(entry for part in parts for entry in self.look_at(_with_raw(part, walk))):
            places = _places(prefix, together) if walk.ledger.images_only is False else {}
            for entry in together:
                yield from self._walked(walk, prefix, entry, places.get(entry.name, []))

    def _listed(self, ledger: Ledger) -> pl.DataFrame:
        """List the whole directory in LISTING_SCHEMA's columns, sorted by name, and count its files page by page."""
        frames = []
        for page in pages(self.system, self.url, self.path):
            ledger.met += sum(not name.endswith(b"/") for name, *_ in page)
            frames.append(pl.DataFrame(page, schema=LISTING_SCHEMA, orient="row"))
        return pl.concat(frames).sort("key")

    def _walked(self, walk: Walk, prefix: bytes, entry: Entry, beside: list[Place]) -> Iterator[Row | RemoteFolder]:
        name, size, version, role, kind, reason = entry
        if kind == FOLDER:
            if walk.enters(prefix + name):
                yield self.below(name)
        elif walk.claim is not None and (claimed := entry.is_file and walk.claim(prefix + name)):
            yield from walk.claimed(claimed, (prefix + name, size or 0, version))
            walk.leave_beside(beside)
        elif entry.is_beside and walk.comes_with_image(role):
            return
        elif kind in (NOT_AN_IMAGE, SIDECAR):
            walk.other(prefix, name, role, size or 0, version)
        elif kind:
            walk.ledger.leave_out(kind, prefix + name, size or 0, reason)
            walk.leave_beside(beside)
        elif walk.takes(prefix, name, role, size or 0):
            walk.attach(prefix + name, beside)
            yield prefix + name, size or 0, version

    def parts(self) -> Iterator[list[Entry]]:
        """Yield the contents of the directory, about a thousand entries at a time, in bounded memory.

        If the last entry has the kind PACKED, the directory is a Zarr store, and the entries before it do not belong to
        the dataset. Raises MachineError if the server does not answer.
        """
        marks: list[Listed] = []
        images = False
        try:
            for part in _classified(row for page in pages(self.system, self.url, self.path) for row in page):
                marks += [entry[:3] for entry in part if entry.name in ZARR_MARKS]
                images = images or any(is_image_name(entry.name) for entry in part)
                yield part
        except FileNotFoundError:
            yield [Entry(b"", 0, 0, None, MISSING, "it vanished during the walk")]
        if self._is_zarr(marks, images):
            yield [Entry(b"", 0, 0, None, PACKED)]

    def look_at(self, part: Sequence[Entry], threads: int = REQUESTS) -> list[Entry]:
        """Decide what names and listings leave open, with one request for each such entry.

        The first bytes show whether a file is an image. Sizes that the listing lacks are requested. threads: requests
        at a time, if the driver is asynchronous.
        """
        unsized = [each.name for each in part if each.size is None and each.kind in (IMAGE, OPEN)]
        sized = dict(zip(unsized, look_up(self.system, self.url, self.path, unsized, threads), strict=True))
        part = [_sized(each, *sized[each.name]) if each.name in sized else each for each in part]
        wanted = [(each.name, each.size or 0) for each in part if each.kind == OPEN]
        heads = first_bytes(self.system, self.url, self.path, wanted, threads)
        looked = {name: look_at_head(head, name) for (name, _), head in zip(wanted, heads, strict=True)}
        return [_settled(each, *looked[each.name]) if each.kind == OPEN else each for each in part]

    def _is_zarr(self, marks: Sequence[Listed], images: bool) -> bool:
        """Return whether the directory is a Zarr store, by the rule of tiering.sources.trees.contents.is_zarr."""
        files = [(name, size) for name, size, _ in marks if size and size <= ZARR_BYTES]
        if not files or images:
            return False
        return any(map(is_zarr_metadata, first_bytes(self.system, self.url, self.path, files, end=ZARR_BYTES)))


def _with_raw(part: Sequence[Entry], walk: Walk) -> list[Entry]:
    """Settle what raw arrays are: their size shows it, and their first bytes could look like an image."""
    return [
        entry._replace(kind=NOT_AN_IMAGE)
        if entry.kind == OPEN and entry.role is None and walk.ledger.is_raw(entry.name, entry.size or 0)
        else entry
        for entry in part
    ]


def _sized(entry: Entry, size: int, version: int) -> Entry:
    if size < 0:
        return entry._replace(kind=UNKNOWN_SIZE, reason="the server does not report a size")
    return entry._replace(size=size, version=version)


def _grouped(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield the entries in their order, those that belong together in one list."""
    waiting: list[Entry] = []
    for entry in entries:
        if waiting and first_part(entry.name) != first_part(waiting[0].name):
            yield waiting
            waiting = []
        if entry.role is None and not waiting:
            yield [entry]
        else:
            waiting.append(entry)
    if waiting:
        yield waiting


def _places(prefix: bytes, together: list[Entry]) -> dict[bytes, list[Place]]:
    """Return the files beside each image, by its name. together: entries that belong together."""
    found: dict[bytes, list[Place]] = {}
    for name, size, version, role, *_ in filter(attrgetter("is_beside"), together):
        if isinstance(role, Beside):
            place = Place(role.suffix(name), prefix + name, size or 0, version)
            found.setdefault(role.image, []).append(place)
    return found


def _settled(entry: Entry, kind: str, reason: str) -> Entry:
    if kind in (NOT_AN_IMAGE, NOT_PACKED) and isinstance(entry.role, Beside):
        kind = SIDECAR
    return entry._replace(kind=kind, reason=reason)


def _classified(rows: Iterable[Listed]) -> Iterator[list[Entry]]:
    """Classify each entry by its name. rows: sorted by name, as in a page of a listing."""
    waiting: deque[Listed] = deque()

    def names() -> Iterator[bytes]:
        for row in rows:
            waiting.append(row)
            yield row[0]

    roles = with_roles(names())
    while part := [Entry(*waiting.popleft(), role, *_by_name(name, role)) for name, role in islice(roles, _TOGETHER)]:
        yield part


def _by_name(name: bytes, role: Role) -> tuple[str, str]:
    if kind := unlooked(name):
        return kind, ""
    if name == b"/":
        return UNREACHABLE, "no path leads to a directory without a name"
    if name.endswith(b"/"):
        return FOLDER, ""
    if is_image_name(name):
        return IMAGE, ""
    if needs_a_look(name):
        return OPEN, ""
    return SIDECAR if isinstance(role, Beside) else NOT_AN_IMAGE, ""
