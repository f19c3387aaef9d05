"""Walk a tree of images depth first: keys come sorted, and only one directory's names are in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import polars as pl

from tiering.errors import DatasetError, command
from tiering.images.formats import is_array_name, is_image_name, is_raw_name
from tiering.sources.account import Ledger
from tiering.sources.left_out import NOT_AN_IMAGE, SIDECAR, LeftOut
from tiering.sources.sidecars import FieldPlaces, Place
from tiering.sources.trees.siblings import Beside, Role, is_plain
from tiering.sources.trees.waiting import BATCH, WALK_SCHEMA, Files, Row, Waiting, frame_of
from tiering.units import format_count

__all__ = ["BATCH", "WALK_SCHEMA", "Files", "Folder", "Row", "Waiting", "Walk"]


#: What becomes of a file that is no sample: taken although it may be no image, passed over because another walk
#: accounts for it, or left out.
Claim = Literal["taken", "passed over", "left out"]


class Folder(Protocol):
    """One directory of a tree, local or remote."""

    def entries(self, walk: Walk) -> Iterator[Row | Files | Folder]:
        """Yield its images and directories sorted by name, where a directory's name ends in "/".

        In this order, all keys below a directory sort between the files before and after it. So a depth-first walk
        yields keys sorted bytewise without holding them all. Every other entry is recorded in walk.ledger.
        """
        ...


@dataclass(slots=True)
class Walk:
    """A walk over a tree.

    ledger: records every entry that is not a sample. passed_over: names at the top that the caller accounts for.
    claim: returns for the key of a file what becomes of it, None if the walk decides. below: the directories, as paths
    that end in "/", to which the walk keeps; "" for all. describe: called with the key of a table of metadata before
    the images of its directory come; returns whether it is one. descriptions: the keys of those that are. odd_names:
    number of images whose key is not UTF-8. arrays: .npy files and raw arrays that were met before the first image.
    They are the samples of a tree without any image, and left out of every other. None: they are always left out.
    """

    ledger: Ledger = field(default_factory=Ledger)
    passed_over: frozenset[bytes] = frozenset()
    claim: Callable[[bytes], Claim | None] | None = None
    below: tuple[bytes, ...] = (b"",)
    describe: Callable[[bytes], bool] | None = None
    odd_names: int = 0
    descriptions: set[bytes] = field(default_factory=set)
    arrays: Waiting | None = None
    places: FieldPlaces = field(init=False)

    def __post_init__(self) -> None:
        self.places = FieldPlaces(self.ledger)

    def batches(self, top: Folder) -> Iterator[pl.DataFrame]:
        """Yield the images below a directory sorted by key, up to 50,000 rows at a time, in WALK_SCHEMA's columns.

        The files beside the images come as further columns, see tiering.sources.fields.
        About 3 us for a local file with a warm page cache, 1.7 us of it in the kernel; 6 us without the C extension
        (one core). 10^6 files take 70 MB at most in one directory, and 30 MB in 1,000 directories.
        """
        frames, rows, held = list[pl.DataFrame](), list[Row](), 0
        for found in self._found(top):
            if isinstance(found, Files):
                begin = 0
                while begin < len(found):
                    part = found.part(begin, begin + BATCH - held)
                    begin, held = begin + len(part), held + len(part)
                    frames += [frame_of(rows), part.frame()] if rows else [part.frame()]
                    rows = []
                    if held == BATCH:
                        yield self.places.onto(pl.concat(frames, rechunk=True))
                        frames, held = [], 0
                continue
            rows.append(found)
            held += 1
            # Before the walk goes on: it would add the files beside the next image to those of this batch.
            if held == BATCH:
                yield self.places.onto(pl.concat([*frames, frame_of(rows)], rechunk=True))
                frames, rows, held = [], [], 0
        if held:
            yield self.places.onto(pl.concat([*frames, frame_of(rows)] if rows else frames, rechunk=True))

    def images(self, top: Folder) -> Iterator[Row]:
        """Yield the images below a directory sorted by key, one by one."""
        for found in self._found(top):
            if isinstance(found, Files):
                yield from found
            else:
                yield found

    def _found(self, top: Folder) -> Iterator[Row | Files]:
        stack = [top.entries(self)]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
            elif isinstance(entry, tuple | Files):
                if self.arrays is not None:
                    self._leave_arrays_out(self.arrays)
                self._count_odd(entry)
                yield entry
            else:
                stack.append(entry.entries(self))
        for row in self.arrays or ():
            self._count_odd(row)
            yield row

    def _count_odd(self, found: Row | Files) -> None:
        keys = found.keys if isinstance(found, Files) else (found[0],)
        if not b"".join(keys).isascii():
            self.odd_names += sum(not _is_utf8(key) for key in keys)

    def _leave_arrays_out(self, arrays: Waiting) -> None:
        self.arrays = None
        for key, size, _ in arrays:
            self.ledger.leave_out(NOT_AN_IMAGE, key, size)

    def describes(self, key: bytes) -> None:
        """Note a table of metadata. key: its path."""
        if self.describe is not None and self.ledger.images_only is False and self.describe(key):
            self.descriptions.add(key)

    def enters(self, folder: bytes) -> bool:
        """Return whether the walk enters a directory. folder: its path, ending in "/"."""
        return any(folder.startswith(each) or each.startswith(folder) for each in self.below)

    def comes_with_image(self, role: Role) -> bool:
        """Return whether a file is a field of the image that it is beside, and so comes with that image."""
        return isinstance(role, Beside) and self.ledger.images_only is False

    def takes(self, prefix: bytes, name: bytes, role: Role, size: int) -> bool:
        """Return whether an image is a sample; otherwise record it in the ledger. prefix: of its directory."""
        # An image recognised only by content (photo.jpg.1) is not the mask of another.
        if not isinstance(role, Beside) or not is_image_name(name) or self.ledger.images_only is not True:
            return True
        if is_plain(name, role.key):
            return True
        self.ledger.leave_out(SIDECAR, prefix + name, size)
        return False

    def other(self, prefix: bytes, name: bytes, role: Role, size: int, version: int) -> None:
        """Record in the ledger a file that is no image and comes with none; an array waits for the first image."""
        if prefix + name in self.descriptions:
            self.ledger.left_out.take(size)
            return
        if not isinstance(role, Beside) and self.arrays is not None and self.ledger.may_be_array(name):
            self.arrays.add((prefix + name, size, version))
            return
        self.ledger.leave_out(SIDECAR if isinstance(role, Beside) else NOT_AN_IMAGE, prefix + name, size)

    def claimed(self, claim: Claim, row: Row) -> Iterator[Row]:
        """Yield a file that is taken, and record one that is left out."""
        if row[0] in self.descriptions:
            self.ledger.left_out.take(row[1])
        elif claim == "taken":
            yield row
        elif claim == "left out":
            kind = SIDECAR if is_image_name(row[0]) else NOT_AN_IMAGE
            self.ledger.leave_out(kind, row[0], row[1], "it is not in the images' directory")

    def attach(self, image: bytes, places: list[Place]) -> None:
        """Make files the fields of the next image. image: its key."""
        for place in self.places.attach(image, self._unclaimed(places)):
            self.ledger.leave_out(SIDECAR, place.key, place.size, "its name cannot be that of a field")

    def leave_beside(self, places: list[Place]) -> None:
        """Record in the ledger the files beside an image that is left out."""
        for place in self._unclaimed(places):
            self.ledger.leave_out(SIDECAR, place.key, place.size, "its image is left out")

    def _unclaimed(self, places: list[Place]) -> list[Place]:
        return places if self.claim is None else [place for place in places if self.claim(place.key) is None]


def no_images(where: str, left_out: LeftOut, what: str = "directory") -> DatasetError:
    """Return the error for a source without images, with a list of what it has. what: the type of the source."""
    parts = [
        f"{kind}: {format_count(tally.count)} ({', '.join(tally.examples[:2])})"
        for kind, tally in sorted(left_out.kinds.items())
    ]
    action = "Give the directory that holds the class folders." if parts else "Check the path."
    examples = [os.fsencode(name) for tally in left_out.kinds.values() for name in tally.examples]
    convert = command("tiering", "convert", where, "STORE", "--to", "zarr")
    if any(map(is_raw_name, examples)):
        action = f"Raw arrays are packed with their shape: {convert} --resize HxW --channels N --dtype TYPE"
    if any(map(is_array_name, examples)):
        action = f"Arrays are packed as pixels: {convert} --pixels"
    return DatasetError(
        where,
        expected="image files (jpg, png, tiff, webp, bmp, gif, ppm, jp2, avif, ...)",
        found=f"none, but {'; '.join(parts)}" if parts else f"an empty {what}",
        action=action,
    )


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
