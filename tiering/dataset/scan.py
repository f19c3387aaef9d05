"""Scan a directory of images: every file's key, size and time of change, without opening any of them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from tiering.dataset.packed import packed, refuse_packed
from tiering.dataset.walk import LocalFolder, Walk, display, is_image_name, special
from tiering.errors import DatasetError, from_os_error

__all__ = ["SCAN_SCHEMA", "Scan", "display", "is_image_name", "scan"]

SCAN_SCHEMA: Final = {"key": pl.Binary, "size": pl.Int64, "mtime_ns": pl.Int64}


@dataclass(frozen=True, slots=True)
class Scan:
    """What a walk over a dataset directory found. Sizes are bytes.

    root: the directory as it was given.
    files: the image files only, sorted by key bytewise, in the columns of SCAN_SCHEMA: key (path below root
    with
        "/" between its parts, byte for byte as the file system has it), size (bytes), mtime_ns (ns since
        1970).
    other_files, other_bytes: regular files whose extension is no image's.
    skipped: entries left out, by reason. Hidden files and directories are left out without being counted.
    examples: up to 10 lines that name some of the skipped entries.
    odd_names: images whose key is not valid UTF-8.
    """

    root: Path
    files: pl.DataFrame
    other_files: int
    other_bytes: int
    skipped: dict[str, int]
    examples: list[str]
    odd_names: int = 0


def scan(root: str | Path) -> Scan:
    """Walk a local directory and return the images in it.

    Symbolic links are followed, to files and to directories; a link to a directory that it lies in is a loop
    and is skipped. FIFOs, sockets and devices are skipped without being opened. The walk holds 32 bytes and
    the key of each image, and Python objects for no more than 50,000 images at a time.

    Raises DatasetError when root is missing, not a directory, empty, without any image, or a URL, and
    tiering.errors.MachineError when root itself may not be read.
    """
    directory = _check_root(root)
    walk = Walk()
    frames = list(walk.batches(LocalFolder.top(os.fsencode(directory))))
    if not frames and (kind := packed(directory)):
        raise refuse_packed(display(os.fsencode(directory)), kind)
    if not frames:
        raise walk.no_images(display(os.fsencode(directory)))
    files = pl.concat(frames, rechunk=True).rename({"version": "mtime_ns"})
    return Scan(
        directory,
        files,
        walk.other_files,
        walk.other_bytes,
        dict(walk.skipped),
        walk.examples,
        walk.odd_names,
    )


def _check_root(root: str | Path) -> Path:
    if "://" in str(root):
        raise DatasetError(
            str(root),
            expected="a directory on this machine",
            found="a URL",
            action="Only local directories are read so far: mount it, or copy it to a disk first.",
        )
    path = Path(root)
    where = display(os.fsencode(path))
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(
            where, expected="a directory of images", found="nothing at that path", action="Check the path."
        ) from None
    except OSError as error:
        raise from_os_error(error) from error
    if not stat.S_ISDIR(mode):
        raise DatasetError(
            where,
            expected="a directory of images",
            found="a file" if stat.S_ISREG(mode) else f"a {special(mode)}",
            action="Give the directory that holds the class folders.",
        )
    return path
