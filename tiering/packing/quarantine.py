"""Quarantine: copies of the images that could not be packed, kept inside the store for inspection.

A dataset can contain links to anything, and the conversion may run as root. So only regular files that really are below
the source are copied: links within the source are followed, links that lead out of it are not. A copy has the
permissions of the file, without set-uid and set-gid bits, and its owner can read it.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from tiering.arrays import row_parts
from tiering.errors import DatasetError, StoreError
from tiering.images.image import LARGEST_BYTES
from tiering.packing.listed_lines import ListedLines, field_of
from tiering.packing.listing import Listing
from tiering.storage.local import open_below
from tiering.storage.location import Location
from tiering.storage.names import is_relative
from tiering.text import display

_PIECE: Final = 1 << 20
_SHOWN: Final = 5

_log: Final = logging.getLogger("tiering")


def quarantine(listing: Listing, bad: ListedLines, directory: Location, scratch: Location) -> None:
    """Copy images to a directory under their keys. Skip those that cannot be read or are too large for an image.

    bad: a line for each. directory: the quarantine of a store; scratch: a directory beside it for temporary files.
    Raises MachineError or OSError if a copy cannot be written.
    """
    source, missing = listing.source, list[str]()
    local_root = None
    if not source.has_files and "://" not in source.base:
        local_root = os.path.realpath(os.fsencode(source.base))
    for rows in row_parts(len(listing)):
        keys = listing.keys(rows)
        there = bad.have([field_of(key) for key in keys])
        taken = [rows[at] for at in np.flatnonzero(there).tolist() if is_relative(keys[at])]
        if local_root is not None:
            keys = listing.keys(np.array(taken, dtype=np.int64))
            missing += [os.fsdecode(key) for key in keys if not _copy(local_root, key, directory, scratch)]
            continue
        found = listing.rows(np.array(taken, dtype=np.int64))
        for key, image in zip(found.keys(), found.read(source), strict=True):
            if isinstance(image, bytes):
                (directory / os.fsdecode(key)).write(image, scratch)
            else:
                missing.append(os.fsdecode(key))
    if missing:
        shown = ", ".join(display(os.fsencode(key)) for key in missing[:_SHOWN])
        _log.warning("%d images could not be copied into the quarantine: %s", len(missing), shown)


def _copy(root: bytes, key: bytes, directory: Location, scratch: Location) -> bool:
    """Copy an image of a local dataset; False if it is no regular file below the root, too large or unreadable."""
    path = os.path.realpath(os.path.join(root, key))  # noqa: PTH118 - bytes paths
    below = os.path.relpath(path, root)
    if not is_relative(below):
        return False
    try:
        # This follows no links, so replacing the file by a link at this moment does not help an attacker.
        descriptor = open_below(Path(os.fsdecode(root)), os.fsdecode(below).split("/"))
    except (OSError, StoreError):
        return False
    try:
        about = os.fstat(descriptor)
        if about.st_size <= LARGEST_BYTES:
            with (directory / os.fsdecode(key)).building(scratch) as copy, copy.open("wb") as file:
                # The owner must be able to read it, otherwise it could not be synced.
                os.fchmod(file.fileno(), stat.S_IMODE(about.st_mode) & 0o777 | stat.S_IRUSR)
                file.writelines(_pieces(descriptor, os.fsdecode(key)))
    except DatasetError:
        return False
    else:
        return about.st_size <= LARGEST_BYTES
    finally:
        os.close(descriptor)


def _pieces(descriptor: int, name: str) -> Iterator[bytes]:
    """Yield a file's contents in pieces. Raises DatasetError if it cannot be read."""
    left = LARGEST_BYTES
    try:
        while left and (piece := os.read(descriptor, min(_PIECE, left))):
            left -= len(piece)
            yield piece
    except OSError as error:
        raise DatasetError(name, found=str(error.strerror).lower()) from error
