"""Recognise datasets that are already packed, by file names: LMDB, Zarr, TFRecord, and Parquet that holds images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Literal

import polars as pl
from polars.exceptions import PolarsError

from tiering.errors import DatasetError, MachineError
from tiering.sources.tables.column_names import is_path_column
from tiering.sources.trees.directory import names_in
from tiering.storage.location import Location
from tiering.storage.urls import joined, name_of, parent_of
from tiering.text import display

PackedKind = Literal["LMDB", "Zarr", "TFRecord", "Parquet"]

_TFRECORD: Final = re.compile(r"\.tfrecords?(-\d+-of-\d+)?(\.gz)?$|\.tfrec$|tfrecord.*-\d{5}-of-\d{5}$", re.IGNORECASE)
_LMDB: Final = re.compile(r"\.(mdb|lmdb)$", re.IGNORECASE)
_ZARR: Final = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")

_TITLES: Final[dict[PackedKind, str]] = {
    "LMDB": "an LMDB database",
    "Zarr": "a Zarr store",
    "TFRecord": "TFRecord files",
    "Parquet": "Parquet files that hold the images themselves",
}
_UNPACK: Final = "Write its images as files, with a table of their paths and labels, and use that table."
_ACTIONS: Final[dict[PackedKind, str]] = {
    "LMDB": "Use the images from which it was packed. If tiering packed it, show its contents: tiering info",
    "Zarr": "Use the images from which it was packed. If tiering packed it, show its contents: tiering info",
    "TFRecord": _UNPACK,
    "Parquet": f"{_UNPACK} docs/converting.md shows how for files of Hugging Face.",
}

#: How many names to look at. Packed datasets have few files, but a tree of images may have a million.
_MOST: Final = 10_000

#: Hugging Face puts its files into data/, or into a folder for each configuration and split.
_DEEPEST: Final = 2
_FOLDERS: Final = 20


@dataclass(frozen=True, slots=True)
class PackedDataset:
    """A packed dataset: its kind, how many of its files were seen in one directory, and the path of one."""

    kind: PackedKind
    files: int
    example: str


def packed(location: str | os.PathLike[str]) -> PackedDataset | None:
    """Recognise a packed dataset by the name of a file, or by names in a directory and some below it; else return None.

    location: a path or a URL. Call this only for directories without images, because it lists them. A Parquet file with
    a column of paths is a table, so the schema is read.
    Raises MachineError if the location cannot be read.
    """
    url = Location.of(location).url
    if is_file(url):
        return _of_names([name_of(url)], parent_of(url))
    return _in_directory(url, "", _DEEPEST)


def is_file(url: str) -> bool:
    """Return whether a path or URL is a file."""
    return Path(url).is_file() if "://" not in url else not Location.of(url).is_directory()


def already_packed(where: str, found: PackedDataset) -> DatasetError:
    """Return the error for a dataset that is packed already. It names the files that show this."""
    several = f"{found.files:,} files, such as {found.example}" if found.files > 1 else found.example
    return DatasetError(
        where,
        expected="image files",
        found=f"a dataset that is packed already: {_TITLES[found.kind]} ({several})",
        action=_ACTIONS[found.kind],
    )


def holds_images(path: str | Path) -> bool:
    """Return whether a Parquet file holds images: as bytes, or as bytes and path as Hugging Face writes them."""
    try:
        schema = pl.scan_parquet(path, glob=False).collect_schema()
    except (PolarsError, OSError):
        return False
    paths = [kind for name, kind in schema.items() if is_path_column(name)]
    if paths and pl.Binary not in schema.dtypes() and all(kind == pl.String for kind in paths):
        return False
    return any(
        kind == pl.Binary or (isinstance(kind, pl.Struct) and any(part.dtype == pl.Binary for part in kind.fields))
        for kind in schema.dtypes()
    )


def _in_directory(url: str, below: str, deeper: int) -> PackedDataset | None:
    names = sorted(islice(_names(url), _MOST))
    files = [name for name in names if not name.endswith("/")]
    found = _of_names(files, url)
    if found:
        return PackedDataset(found.kind, found.files, below + found.example)
    folders = [name for name in names if name.endswith("/")] if deeper else []
    inside = (_in_directory(joined(url, name[:-1]), below + name, deeper - 1) for name in folders[:_FOLDERS])
    return next(filter(None, inside), None)


def _of_names(names: list[str], base: str) -> PackedDataset | None:
    if marks := [name for name in names if name in _ZARR]:
        return PackedDataset("Zarr", 1, marks[0])
    kinds: tuple[tuple[PackedKind, Iterable[str]], ...] = (
        ("LMDB", [name for name in names if _LMDB.search(name) and name != "lock.mdb"]),
        ("TFRecord", [name for name in names if _TFRECORD.search(name)]),
        ("Parquet", [name for name in names if name.lower().endswith(".parquet")]),
    )
    for kind, found in kinds:
        each = list(found)
        if each and (kind != "Parquet" or holds_images(joined(base, each[0]))):
            return PackedDataset(kind, len(each), each[0])
    return None


def _names(url: str) -> Iterator[str]:
    """Yield the names in a directory, including hidden ones. A directory's name ends in "/"."""
    try:
        yield from map(display, names_in(url))
    except (FileNotFoundError, NotADirectoryError):
        return
    except MachineError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
