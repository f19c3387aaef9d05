"""Where samples come from: a folder of images, a table, tar files or a packed dataset, local or behind a URL."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.errors import DatasetError, UsageError
from tiering.images.image import LARGEST_BYTES, refuse_large
from tiering.sources.account import Beside, Ledger
from tiering.sources.annotations.annotated import annotated_batches
from tiering.sources.annotations.recognise import ANNOTATED_KINDS, opened_annotations
from tiering.sources.byte_ranges import Found, read_files, read_parts, read_remote
from tiering.sources.folder import folder_batches, top_of
from tiering.sources.left_out import NOT_IN_TAR
from tiering.sources.packed_datasets import RECORD_KINDS
from tiering.sources.recognition import SourceKind, recognise
from tiering.sources.records.batches import record_batches
from tiering.sources.records.formats import open_records
from tiering.sources.records.unpacked import read_for_now, unpacked_name
from tiering.sources.tables.table import AS_WRITTEN, TableForm, table_batches
from tiering.sources.tar_samples import tar_batches
from tiering.sources.trees.field_patterns import FieldPattern, parse_patterns
from tiering.sources.trees.walk import Walk
from tiering.storage.location import Location
from tiering.storage.urls import joined, parent_of
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


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """Where samples come from: a small value, equal on every machine that sees the same files.

    url: the absolute path or URL of a folder, a table, a tar file or a folder of tar files, of a packed dataset, or of
    annotations in COCO's format.
    files: the tar files, or those of a packed dataset, as absolute paths or URLs; empty if each sample is a file.
    form: how to read a table that does not show it itself.
    compressed: whether samples are no ranges of the files as they are, but of their unpacked forms. unpacked: path or
    URL of the directory for these; "" to unpack them again when they are needed.
    fields: where a folder has further fields of its images.
    """

    url: str
    kind: SourceKind
    files: tuple[str, ...] = ()
    form: TableForm = AS_WRITTEN
    compressed: bool = False
    unpacked: str = ""
    fields: tuple[FieldPattern, ...] = ()

    def __repr__(self) -> str:
        return f"Source({without_secrets(self.url)!r}, {self.kind!r}, {len(self.files)} files)"

    @property
    def base(self) -> str:
        """The directory, as a path or URL, that keys are relative to. For tars, the directory that contains them."""
        return self.form.root or (parent_of(self.url) if self.kind == "table" else self.url)

    @property
    def has_files(self) -> bool:
        """Whether samples are parts of `files`, and not files of their own."""
        return bool(self.files)

    @property
    def is_tree(self) -> bool:
        """Whether samples are the images below a directory, with annotations or without."""
        return self.kind == "folder" or self.kind in ANNOTATED_KINDS

    @property
    def takes_folders_as_labels(self) -> bool:
        """Whether the folders in keys may be classes and splits. Other sources have labels of their own, or none."""
        return self.kind in ("folder", "tar")

    def part(self, number: int) -> str:
        """Return the path or URL of the file whose ranges are samples. number: of the file, as frames have it."""
        return joined(self.unpacked, unpacked_name(number)) if self.unpacked else self.files[number]

    def unpacking_into(self, directory: Location) -> Source:
        """Return the source with a directory for what must be unpacked; itself if nothing must."""
        return replace(self, unpacked=directory.url) if self.compressed else self

    @property
    def patterns(self) -> Mapping[str, str]:
        """The patterns of its fields, by name."""
        return {pattern.field: pattern.text for pattern in self.fields}

    def with_fields(
        self, fields: Mapping[str, str] | None, *, if_there: Mapping[str, str] = MappingProxyType({})
    ) -> Source:
        """Return the source with fields of files in trees of their own.

        fields: patterns by name. if_there: further patterns, left out when the folder has no such file. Without any
        pattern, the source stays as it is.

        Raises UsageError for an invalid pattern, and for a source that is not a folder.
        """
        further = {name: text for name, text in if_there.items() if name not in (fields or {})}
        patterns = parse_patterns(fields or {}) + tuple(
            replace(pattern, required=False) for pattern in parse_patterns(further)
        )
        if not patterns:
            return self
        if not self.is_tree:
            raise UsageError(
                "fields", expected="a folder as the dataset", found=f"a {self.kind}",
                action="A table has columns, and a tar has files beside its images.",
            )  # fmt: skip
        return replace(self, fields=patterns)

    def batches(self, ledger: Ledger | None = None) -> Iterator[pl.DataFrame]:
        """Yield the samples in SOURCE_SCHEMA's columns, up to 50,000 rows at a time.

        ledger: records every entry that is not a sample, and the fields of samples.
        A folder's samples come sorted bytewise by key, those of tables and tars in their own order.
        Raises DatasetError if there is no image or the contents cannot be used, and MachineError if they cannot be
        read.
        """
        ledger = ledger or Ledger()
        if self.kind == "table":
            yield from table_batches(self.url, self.form, ledger)
        elif self.kind == "tar":
            self._report_others(ledger)
            yield from tar_batches(self.files, SOURCE_SCHEMA, ledger)
        elif self.kind in RECORD_KINDS:
            self._report_others(ledger)
            records = open_records(self.kind, self.files, compressed=self.compressed)
            yield from record_batches(records, self.files, self.url, self.unpacked, SOURCE_SCHEMA, ledger)
        elif self.kind in ANNOTATED_KINDS:
            documents = (self.url,) if self.form.root else ()
            with opened_annotations(self.kind, self.base, documents) as annotations:
                images = folder_batches(self.base, self.fields, SOURCE_SCHEMA, ledger)
                yield from annotated_batches(images, annotations, ledger)
        else:
            yield from folder_batches(self.url, self.fields, SOURCE_SCHEMA, ledger)

    def _report_others(self, ledger: Ledger) -> None:
        """Record in a ledger the entries beside the files of a directory."""
        if self.files == (self.url,):
            return
        own = frozenset(os.fsencode(file.removeprefix(f"{self.url}/")) for file in self.files)
        # Files at the top are passed over by the walk itself, which looks at none of them then.
        walk = Walk(Beside(ledger, own), passed_over=frozenset(name for name in own if b"/" not in name))
        for key, size, _ in walk.images(top_of(self.url)):
            # It was not there when the files were found, so it is new, or deep below them.
            ledger.leave_out(NOT_IN_TAR, key, size, "an image beside the files of a packed dataset")


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table that lists images, and how to read it. Give it where a function takes a source.

    Args:
        path: The table (CSV, TSV, Parquet, JSON lines), or annotations in COCO's format; a path or an fsspec URL.
        columns: The columns with image (a path), label, split and fields, by name or by number from 0:
            `"image=path,label=class,caption=text"`, `"image=0,label=1"`, or a mapping. A field may have a kind:
            `"mask:image=mask_path"`. By default path, label and split are recognised by their names, and every other
            column becomes a field.
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
    Names identify tables (.csv, .tsv, .parquet), tar files and the files of packed datasets. A plain text file (.txt,
    .lst) is a table if its first line shows it. A directory with tar files and no image below it is a source of tars,
    one with the files of a packed dataset a source of these; any other directory is a folder of images, perhaps with
    annotations.
    Raises DatasetError if nothing is there, nothing can be read, or images and tar files are mixed; UsageError if
    fsspec lacks the driver or does not know the scheme, or a TableSource is no table; MachineError if the source
    cannot be read.
    """
    if isinstance(source, TableSource):
        return _open_table(source)
    found = recognise(Location.of(source).url, form.root if form else "")
    asked = form if found.kind == "table" and form else TableForm((), found.root)
    patterns = parse_patterns(found.fields)
    return Source(found.url, found.kind, found.files, asked, found.compressed, fields=patterns)


def _open_table(table: TableSource) -> Source:
    opened = open_source(table.path, TableForm.of(table.columns, table.root))
    if opened.kind != "table" and (table.columns or (table.root and not opened.form.root)):
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
    sizes = size.tolist()
    if source.compressed and not source.unpacked and source.kind in RECORD_KINDS:
        records = open_records(source.kind, source.files, compressed=True)
        return read_for_now(records, source.files, file.tolist(), offset.tolist(), sizes)
    if source.has_files:
        ranges = zip(map(source.part, file.tolist()), offset.tolist(), sizes, strict=True)
        top = source.unpacked or source.url
        return read_remote(top, ranges) if "://" in top else read_parts(ranges)
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
