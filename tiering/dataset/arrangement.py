"""How a dataset is laid out, told by the names at its top: class folders, splits, a table, tar shards, or packed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl
from polars.exceptions import PolarsError

from tiering.dataset.labels import Layout
from tiering.dataset.source import Source
from tiering.dataset.tables import COLUMNS
from tiering.errors import DatasetError, from_os_error
from tiering.sources.remote import connect
from tiering.sources.walk import display
from tiering.storage.failures import asking
from tiering.storage.location import Location
from tiering.storage.urls import joined, name_of, parent_of

Packed = Literal["LMDB", "Zarr", "TFRecord", "Parquet"]

_TFRECORD: Final = re.compile(r"\.tfrecords?(-\d+-of-\d+)?(\.gz)?$|\.tfrec$|tfrecord.*-\d{5}-of-\d{5}$", re.IGNORECASE)
_LMDB: Final = re.compile(r"(^data|\.mdb|\.lmdb)(\.mdb)?$", re.IGNORECASE)
_ZARR: Final = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")

_TITLES: Final[dict[Packed, str]] = {
    "LMDB": "an LMDB database",
    "Zarr": "a Zarr store",
    "TFRecord": "TFRecord files",
    "Parquet": "Parquet files that hold the images themselves",
}

#: Names looked at: packed datasets have few files, and a tree of images may have a million.
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A packed dataset: its kind, how many files of it were seen at the top, and the name of one."""

    kind: Packed
    files: int
    example: str


def packed(place: str | os.PathLike[str]) -> Arrangement | None:
    """Recognise a packed dataset by its name and by the names of what lies directly in it; None for anything else.

    place: a path or a URL. Of a Parquet file the schema is read: one that has a column of paths lists files, and packs
    none.
    Raises MachineError where it cannot be read.
    """
    url = Location.of(place).url
    name = name_of(url)
    names = sorted(_names(url))
    if not names:
        return _of_names([name], parent_of(url))
    return _of_names(names, url)


def refuse_packed(where: str, found: Arrangement) -> DatasetError:
    """Return the error that says that a dataset is packed, and by what it was recognised."""
    several = f"{found.files:,} files, such as {found.example}" if found.files > 1 else found.example
    return DatasetError(
        where,
        expected="image files",
        found=f"a dataset that is packed already: {_TITLES[found.kind]} ({several})",
        action="Profile the images that it was packed from, or see what it holds: tiering info",
    )


def describe(source: Source, kind: Layout, labels: int, folders: list[bytes]) -> str:
    """Say in a sentence how a dataset is laid out.

    kind: what layout says. labels: how many there are. folders: the directories that hold images.
    """
    name = display(os.fsencode(name_of(source.url)))
    shards = f"{len(source.files):,} tar file{'s' if len(source.files) != 1 else ''}"
    several = f"{labels:,} label{'s' if labels != 1 else ''}"
    tops = sorted({display(folder.split(b"/")[0]) for folder in folders if folder})
    splits = ", ".join(tops[:5])
    return {
        "table": f"A manifest: {name} lists the files" + (f", with {several}." if labels else "."),
        "tar shards": f"Tar shards: {shards} of images without labels.",
        "WebDataset": f"WebDataset shards: {shards}, samples with {several}.",
        "split and class folders": f"Splits ({splits}), each with a folder for each label: {several}.",
        "splits": f"Splits ({splits}) without class folders.",
        "class folders": f"Class folders: one for each of {several}.",
        "flat": "Flat: all images in one folder.",
    }[kind]


def _of_names(names: list[str], base: str) -> Arrangement | None:
    if marks := [name for name in names if name in _ZARR]:
        return Arrangement("Zarr", 1, marks[0])
    kinds: tuple[tuple[Packed, Iterable[str]], ...] = (
        ("LMDB", [name for name in names if _LMDB.search(name) and name != "lock.mdb"]),
        ("TFRecord", [name for name in names if _TFRECORD.search(name)]),
        ("Parquet", [name for name in names if name.lower().endswith(".parquet")]),
    )
    for kind, found in kinds:
        each = list(found)
        if each and (kind != "Parquet" or _holds_images(joined(base, each[0]))):
            return Arrangement(kind, len(each), each[0])
    return None


def _holds_images(url: str) -> bool:
    """Tell whether a Parquet file packs images: a column of bytes, alone or beside a path, as Hugging Face has it."""
    try:
        schema = pl.scan_parquet(url, glob=False).collect_schema()
    except (PolarsError, OSError):
        return False
    if {name.lower() for name in schema.names()} & set(COLUMNS["path"]) and pl.Binary not in schema.dtypes():
        paths = [schema[name] for name in schema.names() if name.lower() in COLUMNS["path"]]
        if all(kind == pl.String for kind in paths):
            return False
    return any(
        kind == pl.Binary or (isinstance(kind, pl.Struct) and any(part.dtype == pl.Binary for part in kind.fields))
        for kind in schema.dtypes()
    )


def _names(url: str) -> Iterator[str]:
    """Yield the first names in a directory, hidden ones too; none for a file."""
    if "://" in url:
        # A bucket with a million images at its top is not listed for this: what packs has its marks there by name.
        system, path = connect(url)
        with asking(url):
            marks = [name for name in (*_ZARR, "data.mdb", "manifest.json") if system.exists(f"{path}/{name}")]
        yield from marks
        return
    try:
        with os.scandir(url) as entries:
            for number, entry in enumerate(entries):
                if number == _MOST:
                    return
                yield display(os.fsencode(entry.name))
    except NotADirectoryError:
        return
    except OSError as error:
        raise from_os_error(error) from error
