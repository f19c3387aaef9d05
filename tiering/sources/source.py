"""Where samples come from: a folder of images, a table that lists them, or tar files, local or behind a URL."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.errors import DatasetError, UsageError, from_os_error
from tiering.images.formats import is_image_name
from tiering.images.image import LARGEST_BYTES, refuse_large
from tiering.sources.account import Ledger
from tiering.sources.byte_ranges import Found, read_files, read_parts, read_remote
from tiering.sources.left_out import NOT_IN_TAR, unlooked
from tiering.sources.packed_datasets import already_packed, packed
from tiering.sources.tables.table import AS_WRITTEN, TABLE_EXTENSIONS, TableForm, is_list, is_table_name, table_batches
from tiering.sources.tar_members import compressed
from tiering.sources.tar_samples import is_compressed_name, is_tar_name, tar_batches
from tiering.sources.trees.contents import special
from tiering.sources.trees.directory import names_in
from tiering.sources.trees.remote import connect
from tiering.sources.trees.remote_folder import RemoteFolder
from tiering.sources.trees.walk import LocalFolder, Walk, no_images
from tiering.storage.bucket import within_time
from tiering.storage.failures import asking
from tiering.storage.location import Location
from tiering.storage.urls import joined, name_of, parent_of
from tiering.text import display, without_secrets

#: key: path below the source's root, byte for byte; with several tar files it starts with the name of the tar. size:
#: bytes, -1 for a missing file that a table names. version: changes when the file does. label, split: null if the
#: source has none. file: number in Source.files, or -1 for a file of its own. offset: first byte.
SOURCE_SCHEMA: Final = {
    "key": pl.Binary,
    "size": pl.Int64,
    "version": pl.Int64,
    "label": pl.String,
    "split": pl.String,
    "file": pl.Int32,
    "offset": pl.Int64,
}

SourceKind = Literal["folder", "table", "tar"]


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """Where samples come from: a small value, equal on every machine that sees the same files.

    url: the absolute path or URL of a folder, a table, a tar file or a folder of tar files.
    files: the tar files, as absolute paths or URLs; empty if each sample is a file. form: how to read a table that does
    not show it itself.
    """

    url: str
    kind: SourceKind
    files: tuple[str, ...] = ()
    form: TableForm = AS_WRITTEN

    def __repr__(self) -> str:
        return f"Source({without_secrets(self.url)!r}, {self.kind!r}, {len(self.files)} files)"

    @property
    def base(self) -> str:
        """The directory, as a path or URL, that keys are relative to. For tars, the directory that contains them."""
        return self.form.root or parent_of(self.url) if self.kind == "table" else self.url

    def batches(self, ledger: Ledger | None = None) -> Iterator[pl.DataFrame]:
        """Yield the samples in SOURCE_SCHEMA's columns, up to 50,000 rows at a time.

        ledger: records every entry that is not a sample, and keys that several files share.
        A folder's samples come sorted bytewise by key, those of tables and tars in their own order.
        Raises DatasetError if there is no image or the contents cannot be used, and MachineError if they cannot be
        read.
        """
        ledger = ledger or Ledger()
        if self.kind == "table":
            yield from table_batches(self.url, self.form)
        elif self.kind == "tar":
            self._report_others(ledger)
            yield from tar_batches(self.files, SOURCE_SCHEMA, ledger)
        else:
            yield from self._folder_batches(ledger)

    def _folder_batches(self, ledger: Ledger) -> Iterator[pl.DataFrame]:
        empty = True
        for frame in Walk(ledger).batches(_top(self.url)):
            empty = False
            yield frame.with_columns(
                pl.lit(None, pl.String).alias("label"),
                pl.lit(None, pl.String).alias("split"),
                pl.lit(-1, pl.Int32).alias("file"),
                pl.lit(0, pl.Int64).alias("offset"),
            )
        if empty and (kind := packed(self.url)):
            raise already_packed(_shown(self.url), kind)
        if empty:
            raise no_images(_shown(self.url), ledger.left_out)

    def _report_others(self, ledger: Ledger) -> None:
        """Record in a ledger the entries beside the tar files of a directory."""
        if self.files == (self.url,):
            return
        tars = frozenset(os.fsencode(name_of(file)) for file in self.files)
        for key, size, _ in Walk(ledger, passed_over=tars).images(_top(self.url)):
            # It was not there when the tar files were found, so it is new.
            ledger.leave_out(NOT_IN_TAR, key, size, "an image beside the tar files")


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table that lists images, and how to read it. Give it where a function takes a source.

    Args:
        path: The table (CSV, TSV, Parquet, JSON lines), a path or an fsspec URL.
        columns: The columns with path, label and split, by name or by number from 0: `"path=Image,label=Id"`,
            `"path=0,label=1"`, or a mapping. By default they are recognised by their names.
        root: The directory that the paths are relative to, by default the table's own.

    Example:
        >>> table = TableSource("photos/list.csv", columns="path=Image,label=Id")
    """

    path: str | os.PathLike[str]
    columns: str | Mapping[str, str] | None = None
    root: str | os.PathLike[str] | None = None

    def __fspath__(self) -> str:
        return os.fspath(self.path)


#: What a function takes as a source.
AnySource = str | os.PathLike[str] | TableSource


def open_source(source: AnySource, form: TableForm | None = None) -> Source:
    """Recognise the dataset at a path or URL.

    source: a local path, a URL that fsspec knows, or a TableSource.
    form: how to read a table that is given by its path.
    Names identify tables (.csv, .tsv, .parquet) and tar files. A plain text file (.txt, .lst) is a table if its first
    line shows it. A directory with tar files and no image below it is a source of tars; any other directory is a folder
    of images.
    Raises DatasetError if nothing is there, nothing can be read, or images and tar files are mixed; UsageError if
    fsspec lacks the driver or does not know the scheme, or a TableSource is no table; MachineError if the source
    cannot be read.
    """
    if isinstance(source, TableSource):
        return _open_table(source)
    url = Location.of(source).url
    name = name_of(url)
    if is_directory(url):
        return _of_directory(url)
    if is_compressed_name(name):
        raise compressed(_shown(url))
    if is_table_name(name) or is_list(url):
        return Source(url, "table", form=form or AS_WRITTEN)
    if is_tar_name(name):
        return Source(url, "tar", (url,))
    if kind := packed(url):
        raise already_packed(_shown(url), kind)
    raise DatasetError(
        _shown(url),
        expected=f"a directory of images, a table ({', '.join(TABLE_EXTENSIONS)}) or a tar file",
        found="a file of another kind",
        action="Give the directory that holds the class folders.",
    )


def _open_table(table: TableSource) -> Source:
    opened = open_source(table.path, TableForm.of(table.columns, table.root))
    if opened.kind != "table" and (table.columns or table.root):
        raise UsageError(
            "columns" if table.columns else "root", expected="a table as the dataset", found=f"a {opened.kind}",
            action="Give the table that lists the images.",
        )  # fmt: skip
    return opened


def read_samples(
    source: Source,
    key: list[bytes],
    file: npt.NDArray[np.int32],
    offset: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
) -> Iterator[Found]:
    """Yield the bytes of each sample in the order of the arguments, or the error that prevented reading it.

    key, file, offset, size: columns of the source's batches, any rows in any order.
    Each result is the bytes of a sample, an OSError that names the file (such as FileNotFoundError), or a DatasetError
    for a file that changed during packing or is larger than an image may be. Such errors are yielded, so the iteration
    continues.
    Raises UsageError if the driver of a URL is missing, MachineError if it cannot connect.
    """
    if (size > LARGEST_BYTES).any():
        fits = np.flatnonzero(size <= LARGEST_BYTES)
        found = read_samples(source, [key[at] for at in fits.tolist()], file[fits], offset[fits], size[fits])
        return _with_refusals(key, size, found)
    remote = "://" in source.url
    sizes = size.tolist()
    if source.kind == "tar":
        files = [source.files[number] for number in file.tolist()]
        ranges = zip(files, offset.tolist(), sizes, strict=True)
        return read_remote(source.url, ranges) if remote else read_parts(ranges)
    if "://" not in source.base:
        return read_files(os.fsencode(source.base), key, sizes)
    names = (joined(source.base, name.decode("utf-8", "surrogateescape")) for name in key)
    return read_remote(source.base, ((name, -1, count) for name, count in zip(names, sizes, strict=True)))


def _with_refusals(key: list[bytes], size: npt.NDArray[np.int64], found: Iterator[Found]) -> Iterator[Found]:
    """Yield what was found, with an error in the position of each sample that is too large."""
    for name, count in zip(key, size.tolist(), strict=True):
        try:
            refuse_large(display(name), count)
        except DatasetError as error:
            yield error
        else:
            yield next(found)


def is_directory(url: str) -> bool:
    """Return whether a path or URL is a directory. Raises DatasetError if it is missing, or is a FIFO or the like."""
    try:
        if "://" in url:
            system, path = connect(url)
            with asking(url):
                about = system.info(path, **within_time(system))
                # A web server has no directories. A page that lists files serves as one.
                if str(about.get("mimetype", "")).startswith("text/html"):
                    return bool(system.isdir(path))
                return bool(about["type"] == "directory")
        mode = Path(url).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(
            _shown(url), expected="a directory of images", found="nothing at that path", action="Check the path."
        ) from None
    except OSError as error:
        raise from_os_error(error) from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise DatasetError(
            _shown(url),
            expected="a directory of images",
            found=f"a {special(mode)}",
            action="Give the directory that holds the class folders.",
        )
    return stat.S_ISDIR(mode)


def _of_directory(url: str) -> Source:
    """Decide whether a directory is a folder of images or one of tar files."""
    tars = []
    below = False
    image = b""
    for name in names_in(url):
        if unlooked(name):
            continue
        if is_image_name(name):
            image = image or name
            continue
        below |= name.endswith(b"/")
        if is_tar_name(os.fsdecode(name)) or is_compressed_name(os.fsdecode(name)):
            tars.append(name)
    # The archive from which a dataset was unpacked is often beside its class folders.
    if not tars or (below and any(b"/" in key for key, _, _ in Walk(Ledger()).images(_top(url)))):
        return Source(url, "folder")
    if image:
        raise DatasetError(
            _shown(url),
            expected="a directory of images, or one of tar files",
            found=f"both side by side: {display(image)} beside {display(min(tars))}",
            action="Move one kind elsewhere, or give a single tar file.",
        )
    files = tuple(joined(url, os.fsdecode(name)) for name in sorted(tars))
    for file in files:
        if is_compressed_name(name_of(file)):
            raise compressed(_shown(file))
    return Source(url, "tar", files)


def _top(url: str) -> LocalFolder | RemoteFolder:
    if "://" in url:
        return RemoteFolder.top(url)
    try:
        return LocalFolder.top(os.fsencode(url))
    except OSError as error:
        raise from_os_error(error) from error


def _shown(url: str) -> str:
    return without_secrets(display(url))
