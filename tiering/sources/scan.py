"""Scan a local directory of images: key, size and mtime of each, opening only files with an unclear name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Final

import polars as pl

from tiering.errors import DatasetError
from tiering.sources.account import Account, Ledger
from tiering.sources.found_field import FoundField
from tiering.sources.packed_datasets import already_packed, packed
from tiering.sources.recognition import is_directory
from tiering.sources.trees.local_folder import LocalFolder
from tiering.sources.trees.walk import WALK_SCHEMA, Walk, no_images
from tiering.text import display

__all__ = ["SCAN_SCHEMA", "Scan", "scan"]

SCAN_SCHEMA: Final = {"key": pl.Binary, "size": pl.Int64, "mtime_ns": pl.Int64}


@dataclass(frozen=True, slots=True)
class Scan:
    """The result of a walk over a dataset directory.

    root: the directory, as the caller named it.
    files: the images, sorted bytewise by key, in the columns of SCAN_SCHEMA: key (path below root with "/" between its
    parts, with the bytes of the file system), size (bytes), mtime_ns (ns since 1970).
    account: everything in the directory, packed and left out. odd_names: number of images whose key is not valid UTF-8.
    fields: files beside images. places: where they are, in the columns of tiering.sources.fields, a row for each image.
    """

    root: Path
    files: pl.DataFrame
    account: Account
    odd_names: int = 0
    fields: tuple[FoundField, ...] = ()
    places: pl.DataFrame = dataclass_field(default_factory=pl.DataFrame)


def scan(root: str | Path) -> Scan:
    """Walk a local directory and return the images in it.

    Symbolic links to files and directories are followed. A link to a directory that contains it is a circle and is left
    out. FIFOs, sockets and devices are left out without being opened. A file without an image's name is opened to check
    its first bytes. The walk holds the key and 32 bytes of each image, and Python objects for at most 50,000 images at
    a time.

    Raises DatasetError if root is missing, not a directory, empty, without any image, or a URL, and MachineError if
    root may not be read.
    """
    directory = _check_root(root)
    walk = Walk(Ledger())
    frames = list(walk.batches(LocalFolder.top(os.fsencode(directory))))
    if not frames and (kind := packed(directory)):
        raise already_packed(display(directory), kind)
    if not frames:
        raise no_images(display(directory), walk.ledger.left_out)
    # A field that appears late is missing in earlier frames.
    found = pl.concat(frames, how="diagonal", rechunk=True)
    files = found.select(list(WALK_SCHEMA)).rename({"version": "mtime_ns"})
    account = Account.of(len(files), int(files["size"].sum()), walk.ledger.left_out)
    fields, places = tuple(walk.ledger.fields.values()), found.drop(list(WALK_SCHEMA))
    return Scan(directory, files, account, walk.odd_names, fields, places)


def _check_root(root: str | Path) -> Path:
    if "://" in str(root):
        raise DatasetError(
            str(root),
            expected="a directory on this machine",
            found="a URL",
            action="Only local directories are read so far: mount it, or copy it to a disk first.",
        )
    if not is_directory(str(root)):
        raise DatasetError(
            display(root),
            expected="a directory of images",
            found="a file",
            action="Give the directory that holds the class folders.",
        )
    return Path(root)
