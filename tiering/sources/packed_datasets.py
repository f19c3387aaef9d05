"""Recognise datasets that are already packed, by file names: Parquet with images, TFRecord, MDS, LitData, LMDB.

Most of them are read as sources (`records/`). Zarr, FFCV and tiering's own stores are refused with what to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, Literal, cast, get_args

import polars as pl
from polars.exceptions import PanicException, PolarsError

from tiering.errors import DatasetError, MachineError
from tiering.images.formats import HEAD, format_of, is_image_name
from tiering.sources.left_out import unlooked
from tiering.sources.trees.directory import names_in
from tiering.storage.location import Location
from tiering.storage.urls import joined, name_of, parent_of
from tiering.text import display

#: Packed datasets that are read as sources.
RecordKind = Literal["parquet", "tfrecord", "mds", "litdata", "lmdb"]

#: All that are recognised. "store" is one of tiering's own.
PackedKind = RecordKind | Literal["zarr", "ffcv", "store"]

RECORD_KINDS: Final[frozenset[str]] = frozenset(get_args(RecordKind))

TITLES: Final[dict[PackedKind, str]] = {
    "parquet": "Parquet files that hold the images themselves",
    "tfrecord": "TFRecord files",
    "mds": "MDS shards",
    "litdata": "LitData chunks",
    "lmdb": "an LMDB database",
    "zarr": "a Zarr store",
    "ffcv": "an FFCV file",
    "store": "a store",
}

_TFRECORD: Final = re.compile(r"\.tfrecords?(-\d+-of-\d+)?(\.gz)?$|\.tfrec$|tfrecord.*-\d{5}-of-\d{5}$", re.IGNORECASE)
#: Names of ImageNet's TFRecords. Other programs number their files in the same way.
_NUMBERED: Final = re.compile(r"[A-Za-z_]+-\d{5}-of-\d{5}")
_LMDB: Final = re.compile(r"\.(mdb|lmdb)$", re.IGNORECASE)
_ZARR: Final = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
_MANIFEST: Final = "manifest.json"
_INDEX: Final = "index.json"

_ACTIONS: Final[dict[PackedKind, str]] = {
    "zarr": "Use the images from which it was packed. If tiering packed it, show its contents: tiering info",
    "store": "Show its contents: tiering info. To get its images back: tiering export",
    "ffcv": "FFCV resizes and re-encodes images while it packs them: use the images from which it was packed.",
}

#: How many names of a directory are looked at. Packed datasets have few files, but a tree of images may have a million.
_MOST: Final = 10_000

#: Hugging Face puts its files into data/, or into a folder for each configuration and split.
_DEEPEST: Final = 2
_FOLDERS: Final = 20


@dataclass(frozen=True, slots=True)
class PackedDataset:
    """A packed dataset: its kind, and its files as paths below the directory where they were found, sorted."""

    kind: PackedKind
    files: tuple[str, ...]

    @property
    def is_read(self) -> bool:
        """Whether it is read as a source."""
        return self.kind in RECORD_KINDS


def packed(location: str | os.PathLike[str]) -> PackedDataset | None:
    """Recognise a packed dataset by the name of a file, or by names in a directory and some below it; else return None.

    location: a path or a URL. A directory with images is none, and neither is one whose first folders have images.
    A Parquet file with a column of paths is a table, so the file is opened.
    Raises MachineError if the location cannot be read.
    """
    url = Location.of(location).url
    if is_file(url):
        return _of_names([name_of(url)], parent_of(url))
    found = _Search(url)
    found.look_into("", _DEEPEST)
    if found.kind is None:
        return None
    return PackedDataset(found.kind, tuple(sorted(found.files)))


def is_file(url: str) -> bool:
    """Return whether a path or URL is a file."""
    return Path(url).is_file() if "://" not in url else not Location.of(url).is_directory()


def already_packed(where: str, found: PackedDataset) -> DatasetError:
    """Return the error for a packed dataset that is not read. It names the files that show this."""
    several = f"{len(found.files):,} files, such as {found.files[0]}" if len(found.files) > 1 else found.files[0]
    return DatasetError(
        where,
        expected="image files",
        found=f"a dataset that is packed already: {TITLES[found.kind]} ({several})",
        action=_ACTIONS.get(found.kind, "Give the directory or the file itself."),
    )


def holds_images(path: str | Path) -> bool:
    """Return whether a Parquet file holds images: as bytes, or as bytes and path as Hugging Face writes them."""
    try:
        schema = pl.scan_parquet(path, glob=False).collect_schema()
    except (PolarsError, PanicException, OSError):
        return False
    if any(map(is_embedded, schema.values())):
        return True
    plain = [name for name, kind in schema.items() if kind == pl.Binary]
    if not plain:
        return False
    try:
        first = pl.scan_parquet(path, glob=False).select(plain).head(1).collect()
    except (PolarsError, PanicException, OSError):
        return False
    return any(format_of(value[:HEAD]) for row in first.iter_rows() for value in row if value)


def is_embedded(kind: pl.DataType) -> bool:
    """Return whether a column holds files as Hugging Face writes them: objects of bytes and path."""
    return isinstance(kind, pl.Struct) and any(each.name == "bytes" and each.dtype == pl.Binary for each in kind.fields)


@dataclass(slots=True)
class _Search:
    """Looks for a packed dataset in a directory. The first kind that it finds decides; all files of it are taken."""

    url: str
    kind: PackedKind | None = None
    files: list[str] = field(default_factory=list)
    has_images: bool = False

    def look_into(self, below: str, deeper: int) -> None:
        """Look at the names in a directory, and in its folders. below: its path below the top, "" or ending in "/"."""
        url = joined(self.url, below[:-1]) if below else self.url
        names = sorted(islice(_names(url), _MOST))
        files = [name for name in names if not name.endswith("/")]
        folders = [name for name in names if name.endswith("/") and not unlooked(os.fsencode(name))]
        found = _of_names(files, url, self.kind)
        if found is None and self.kind is None and any(is_image_name(os.fsencode(name)) for name in files):
            self.has_images = True
            return
        if found is not None:
            self.kind = self.kind or found.kind
            self.files += [below + name for name in found.files]
            if self.kind in ("zarr", "store"):
                return
        for number, name in enumerate(folders if deeper else ()):
            if self.has_images or (self.kind is None and number >= _FOLDERS):
                return
            self.look_into(below + name, deeper - 1)


def _of_names(names: list[str], base: str, wanted: PackedKind | None = None) -> PackedDataset | None:
    """Recognise a dataset by the names of files in one directory. wanted: the only kind to look for."""
    if not names or (any(is_image_name(os.fsencode(name)) for name in names) and wanted is None):
        return None
    marks = [name for name in names if name in _ZARR]
    databases = [name for name in names if _LMDB.search(name) and name != "lock.mdb"]
    kinds: dict[PackedKind, list[str]] = {
        "store": [_MANIFEST] if _MANIFEST in names and (marks or databases) else [],
        "zarr": marks[:1],
        "mds": [_INDEX] if _INDEX in names and any(".mds" in name for name in names) else [],
        "litdata": [_INDEX] if _INDEX in names and any(name.endswith(".bin") for name in names) else [],
        "lmdb": databases,
        "tfrecord": [name for name in names if _TFRECORD.search(name)],
        "parquet": [name for name in names if name.lower().endswith(".parquet")],
        "ffcv": [name for name in names if name.lower().endswith(".beton")],
    }
    if not any(kinds.values()):
        numbered = [name for name in names if _NUMBERED.fullmatch(name)]
        kinds["tfrecord"] = numbered if numbered and _begins_as_tfrecord(joined(base, numbered[0])) else []
    for kind, files in kinds.items():
        if files and wanted in (None, kind) and (kind != "parquet" or _some_hold_images(files, base)):
            return PackedDataset(kind, tuple(files))
    return None


def _some_hold_images(files: list[str], base: str) -> bool:
    from tiering.sources.records.files import fetched  # noqa: PLC0415 - records import tables, which import this

    with fetched(joined(base, files[0])) as path:
        return holds_images(path)


def _begins_as_tfrecord(url: str) -> bool:
    from tiering.sources.records.tfrecord import begins_as_tfrecord  # noqa: PLC0415 - as above

    return begins_as_tfrecord(url)


def record_kind(found: PackedDataset) -> RecordKind:
    """Return the kind of a dataset that is read as a source."""
    return cast("RecordKind", found.kind)


def _names(url: str) -> Iterator[str]:
    """Yield the names in a directory, including hidden ones. A directory's name ends in "/"."""
    try:
        yield from map(display, names_in(url))
    except (FileNotFoundError, NotADirectoryError):
        return
    except MachineError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
