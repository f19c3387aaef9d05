"""The listing: every sample of a source as columns on disk, so that a plan can visit them in any order.

It takes about 60 bytes of disk per sample, and no memory except page cache. That holds for 10^8 samples too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.arrays import IndexArray, row_parts
from tiering.errors import DatasetError
from tiering.packing.label_columns import NumberedNames, number_class_files, number_labels, number_splits
from tiering.packing.listed_fields import FieldRows, FieldsWriter, ListedField, state_of_fields
from tiering.progress import Progress, listing_shown, no_progress
from tiering.sources.account import Ledger
from tiering.sources.fingerprint import Fingerprint
from tiering.sources.labels.annotations import FolderLabels, folder_labels, report_lost_rows
from tiering.sources.labels.classes import NONE, ClassMap
from tiering.sources.labels.folders import Folders
from tiering.sources.labels.numbering import ClassNumbering, number_folders
from tiering.sources.left_out import LeftOut
from tiering.sources.source import Source, read_samples
from tiering.storage.location import Location
from tiering.store.columns import ColumnsWriter, keys_at, lay_end_to_end, map_column
from tiering.store.layout import FIELDS, LEFT_OUT
from tiering.store.schema import Field
from tiering.text import display, without_secrets

SCHEMA: Final[dict[str, str]] = {
    "size": "<i8",
    "version": "<i8",
    "file": "<i4",
    "offset": "<i8",
    "label": "<i4",
    "split": "|i1",
    "key": "|u1",
    "key_end": "<i8",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Some samples of a listing in a requested order, as parallel columns that can be sent to a worker.

    size: int64 (n,), bytes. file: int32 (n,), number of the source's file, or -1. offset: int64 (n,), bytes.
    label: int32 (n,). split: int8 (n,). key: uint8. key_end: int64 (n,). fields: the fields of the same samples.
    """

    size: IndexArray
    file: npt.NDArray[np.int32]
    offset: IndexArray
    label: npt.NDArray[np.int32]
    split: npt.NDArray[np.int8]
    key: npt.NDArray[np.uint8]
    key_end: IndexArray
    fields: tuple[FieldRows, ...] = ()

    def __len__(self) -> int:
        return len(self.size)

    def keys(self) -> list[bytes]:
        """Return the keys, byte-exact."""
        return keys_at(self.key, self.key_end, np.arange(len(self)))

    def part(self, begin: int, end: int) -> Rows:
        """Return some neighbours, without their fields."""
        first = int(self.key_end[begin - 1]) if begin else 0
        taken = {name: getattr(self, name)[begin:end] for name in Rows.__slots__[:5]}
        return Rows(**taken, key=self.key[first:], key_end=self.key_end[begin:end] - first)

    def read(self, source: Source) -> Iterator[bytes | OSError | DatasetError]:
        """Yield the bytes of each sample, or the error that prevented reading it."""
        return read_samples(source, self.keys(), self.file, self.offset, self.size)


@dataclass(frozen=True, slots=True)
class Listing:
    """A source's samples, in its own order.

    columns: those of SCHEMA, mapped. classes, splits: the names behind the numbers in these columns. layout: of the
    source, in words. fingerprint: a digest of keys and sizes. state: a digest of keys, sizes, versions, labels and
    splits; a version changes when its file does. left_out: everything that is not a sample. lines: the file that lists
    it. fields: what samples have beside image, key, label and split.
    """

    source: Source
    columns: dict[str, npt.NDArray[Any]]
    classes: ClassMap
    splits: list[str]
    layout: str
    fingerprint: str
    state: str
    left_out: LeftOut
    lines: Path
    fields: tuple[ListedField, ...] = ()

    def __len__(self) -> int:
        return len(self.columns["size"])

    @property
    def size(self) -> IndexArray:
        """Bytes of each sample; -1 where a table names a file that is not there."""
        return self.columns["size"]

    @property
    def field_names(self) -> list[str]:
        """The names of its fields."""
        return [each.field.name for each in self.fields]

    def keys(self, rows: IndexArray) -> list[bytes]:
        """Return the keys of some samples."""
        return keys_at(self.columns["key"], self.columns["key_end"], rows)

    def rows(self, rows: IndexArray) -> Rows:
        """Return some samples in the given order."""
        key, key_end = lay_end_to_end(self.keys(rows))
        taken = {name: np.ascontiguousarray(self.columns[name][rows]) for name in Rows.__slots__[:5]}
        return Rows(**taken, key=key, key_end=key_end, fields=self.fields_of(rows))

    def fields_of(self, rows: IndexArray) -> tuple[FieldRows, ...]:
        """Return the fields of some samples in the given order."""
        return tuple(each.rows(rows) for each in self.fields)

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield key (Binary), size, version, label, split and row, some rows at a time."""
        for rows in row_parts(len(self)):
            columns = {name: self.columns[name][rows] for name in ("size", "version", "label", "split")}
            yield pl.DataFrame({"key": pl.Series(self.keys(rows), dtype=pl.Binary), **columns, "row": rows})


def make_listing(
    source: Source,
    directory: Path,
    given: ClassNumbering | None = None,
    *,
    images_only: bool | None,
    fields: Mapping[str, Field] = MappingProxyType({}),
    raw_bytes: int | None = None,
    progress: Progress = no_progress,
) -> Listing:
    """List the samples of a source as columns in a new directory, and everything else in a file beside it.

    given: the class map that numbers the labels; by default the source decides.
    images_only: as for Ledger.
    fields: of a store, by name. They decide the kinds of fields with the same name.
    raw_bytes: as for Ledger.
    progress: shows how many files are listed, if it counts listings.
    Raises DatasetError if there is no image, if there are too many label names, or if labels are not classes.
    """
    where = without_secrets(source.url)
    names = {name: NumberedNames(name, where) for name in ("label", "split")}
    # If a table has no column of labels, its samples have no labels: its folders are not meant as classes.
    folders = Folders(tars=len(source.files) > 1) if source.takes_folders_as_labels else None
    fingerprint, state = Fingerprint(), Fingerprint()
    root, lines = Location.of(directory), directory.with_name(LEFT_OUT)
    with (
        ColumnsWriter(lambda name: root / name, SCHEMA) as writer,
        FieldsWriter(root / FIELDS, source) as of_fields,
        Location.of(lines).writing() as file,
    ):
        ledger = Ledger(file, images_only=images_only, arrays=True, raw_bytes=raw_bytes)
        unit = "samples" if source.has_files else "files"
        with listing_shown(progress, lambda: ledger.met, unit):
            for batch in source.batches(ledger):
                keys = batch["key"].to_list()
                key, key_end = lay_end_to_end(keys)
                taken = {name: batch[name].to_numpy() for name in ("size", "version", "file", "offset")}
                numbered = {name: names[name].number(batch[name]) for name in names}
                writer.append({**taken, **numbered, "key": key, "key_end": key_end})
                of_fields.append(batch, ledger.fields)
                fingerprint.update(keys, taken["size"])
                state.update(keys, taken["size"], taken["version"])
                if folders is not None:
                    folders.add(keys)
        by_folder = None
        if folders is not None:
            rule = folders.rule()
            by_folder = folder_labels(source.url, rule) if source.kind == "folder" else FolderLabels(rule)
            report_lost_rows(source.url, by_folder, ledger)
    columns = {name: map_column(root / name, dtype) for name, dtype in SCHEMA.items()}
    if not len(columns["size"]):
        raise DatasetError(source.url, found=f"no image in this {source.kind}", action="Check the path.")
    listed = tuple(of_fields.listed(fields))
    by_files = _take_class_files(source, listed, names["label"], directory)
    layout: str = "folder with .cls files" if by_files else source.kind
    if given is None and ledger.classes:
        given = ClassNumbering(ClassMap.counted(ledger.classes))
    # In tars, a sample with a label of its own has no split by its folder.
    own = by_folder is None or (names["label"] and source.kind != "folder")
    wanted = [] if own else [name for name in names if not names[name]]
    classes, splits = ClassMap(), list[str]()
    if by_folder is not None and wanted:
        classes, splits = _number_by_folder(columns, directory, by_folder, wanted, given, where)
    if "label" not in wanted:
        classes = number_labels(names["label"], directory / "label", SCHEMA["label"], given, where)
    if "split" not in wanted:
        splits = number_splits(names["split"], directory / "split", SCHEMA["split"])
    if by_folder is not None and layout == "folder":
        layout = by_folder.kind if "label" in wanted else "folder with metadata"
    columns |= {name: map_column(root / name, SCHEMA[name]) for name in ("label", "split")}
    digests = fingerprint.hexdigest(), labelled_state(state_of_fields(state.hexdigest(), listed), columns)
    return Listing(source, columns, classes, splits, layout, *digests, ledger.left_out, lines, listed)


def _take_class_files(source: Source, listed: Sequence[ListedField], names: NumberedNames, directory: Path) -> bool:
    """Take the text of .cls files as the classes of a folder that has no others. Returns whether there is any."""
    files = next((each for each in listed if each.names_classes), None)
    if files is None or names or source.kind != "folder":
        return False
    number_class_files(names, files, source, directory / "label", SCHEMA["label"])
    return True


def labelled_state(state: str, columns: dict[str, npt.NDArray[Any]]) -> str:
    """Return a digest of a state and of all labels and splits. Receipts contain these, so a change must be noticed."""
    digest = hashlib.sha256(state.encode())
    for name in ("label", "split"):
        for rows in row_parts(len(columns[name])):
            digest.update(columns[name][rows].tobytes())
    return digest.hexdigest()


def names_digest(listing: Listing) -> str:
    """Return a digest of the names and numbers of classes and splits. It must be equal to resume a conversion."""
    classes = listing.classes
    return hashlib.sha256(json.dumps([classes.names, classes.numbers, listing.splits]).encode()).hexdigest()


def unlabelled(listing: Listing) -> str:
    """Return a warning about samples without a class, if only some samples have none; else ""."""
    if not listing.classes.names:
        return ""
    count, first = 0, -1
    for rows in row_parts(len(listing)):
        without = rows[listing.columns["label"][rows] == NONE]
        count += len(without)
        if first < 0 and len(without):
            first = int(without[0])
    if not count or count == len(listing):
        return ""
    (key,) = listing.keys(np.array([first]))
    return f"{count:,} of {len(listing):,} images have no class, such as {display(key)}: they are served with label -1."


def _number_by_folder(
    columns: dict[str, npt.NDArray[Any]],
    directory: Path,
    by_folder: FolderLabels,
    wanted: Sequence[str],
    given: ClassNumbering | None,
    where: str,
) -> tuple[ClassMap, list[str]]:
    """Write the columns label and split, or one of them, according to folders."""
    writable = {name: np.memmap(directory / name, dtype=SCHEMA[name], mode="r+") for name in wanted}

    def keys(rows: IndexArray) -> list[bytes]:
        return keys_at(columns["key"], columns["key_end"], rows)

    classes, splits = number_folders(by_folder, keys, len(columns["size"]), dict(writable), given, where)
    for column in writable.values():
        column.flush()
    return classes, splits
