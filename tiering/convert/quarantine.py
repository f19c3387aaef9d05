"""Quarantine: copies of the images that could not be packed, kept beside the store for somebody to look at.

A dataset may hold links to anything, and the conversion may run as root. What is copied is therefore a regular file
whose own place is below the source: a link within the source is as good as the file, one that leads out of it is not
followed. A copy is no more readable than the file was.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from tiering.convert.listing import Listing, blocks
from tiering.dataset.images import LARGEST_BYTES
from tiering.dataset.source import Source, read_samples
from tiering.errors import DatasetError, StoreError
from tiering.storage.local import open_below
from tiering.storage.location import Location
from tiering.storage.names import is_relative

_PIECE: Final = 1 << 20


def quarantine(listing: Listing, bad: set[bytes], place: Location, scratch: Location) -> None:
    """Copy images below a place, under their keys, as far as they can be read and are no larger than an image may be.

    bad: their keys. place: directory of a store; scratch: a directory beside it for temporary files.
    Raises MachineError or OSError where a copy cannot be written.
    """
    source = listing.source
    of_its_own = source.kind != "tar" and "://" not in source.base
    for rows in blocks(len(listing)):
        taken = [row for row, key in zip(rows, listing.keys(rows), strict=True) if key in bad and is_relative(key)]
        if of_its_own:
            for key in listing.keys(np.array(taken, dtype=np.int64)):
                _copy(_root(source), key, place, scratch)
            continue
        found = listing.rows(np.array(taken, dtype=np.int64))
        images = read_samples(source, found.keys(), found.file, found.offset, found.size)
        for key, image in zip(found.keys(), images, strict=True):
            if isinstance(image, bytes):
                (place / os.fsdecode(key)).write(image, scratch)


def _root(source: Source) -> bytes:
    """Return the directory that the keys of a local source start from, without a link on the way."""
    return os.path.realpath(os.fsencode(source.base))


def _copy(root: bytes, key: bytes, place: Location, scratch: Location) -> None:
    path = os.path.realpath(os.path.join(root, key))  # noqa: PTH118 - bytes paths
    below = os.path.relpath(path, root)
    if not is_relative(below):
        return
    try:
        # Nothing is followed on the way: who puts a link there now gets nothing for it.
        descriptor = open_below(Path(os.fsdecode(root)), os.fsdecode(below).split("/"))
    except (OSError, StoreError):
        return
    try:
        about = os.fstat(descriptor)
        if about.st_size <= LARGEST_BYTES:
            with (place / os.fsdecode(key)).building(scratch) as copy, copy.open("wb") as file:
                # Its owner may read it, or it could not be synced.
                os.fchmod(file.fileno(), stat.S_IMODE(about.st_mode) & 0o777 | stat.S_IRUSR)
                file.writelines(_pieces(descriptor, os.fsdecode(key)))
    except DatasetError:
        return
    finally:
        os.close(descriptor)


def _pieces(descriptor: int, name: str) -> Iterator[bytes]:
    """Yield what a file holds. Raises DatasetError where it cannot be read."""
    left = LARGEST_BYTES
    try:
        while left and (piece := os.read(descriptor, min(_PIECE, left))):
            left -= len(piece)
            yield piece
    except OSError as error:
        raise DatasetError(name, found=str(error.strerror).lower()) from error
