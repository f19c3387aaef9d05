"""The listing: every sample of a source as columns on disk, so that a plan can visit them in any order.

It takes about 60 bytes of disk per sample, and no memory except page cache. That holds for 10^8 samples too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.arrays import IndexArray, row_parts
from tiering.errors import DatasetError
from tiering.packing.label_columns import NumberedNames, number_labels, number_splits
from tiering.sources.account import Ledger
from tiering.sources.fingerprint import Fingerprint
from tiering.sources.labels.annotations import FolderLabels, folder_labels, report_lost_rows
from tiering.sources.labels.classes import NONE, ClassMap
from tiering.sources.labels.folders import Folders
from tiering.sources.labels.numbering import ClassNumbering, number_folders
from tiering.sources.left_out import LeftOut
from tiering.sources.source import AnySource, Source, TableSource, open_source, read_samples
from tiering.sources.tables.table import TableForm, is_readable
from tiering.storage.location import Location
from tiering.store.columns import ColumnsWriter, keys_at, lay_end_to_end, map_column
from tiering.store.layout import LEFT_OUT
from tiering.store.manifest import Manifest, SourceRecord
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
    label: int32 (n,). split: int8 (n,). key: uint8. key_end: int64 (n,).
    """

    size: IndexArray
    file: npt.NDArray[np.int32]
    offset: IndexArray
    label: npt.NDArray[np.int32]
    split: npt.NDArray[np.int8]
    key: npt.NDArray[np.uint8]
    key_end: IndexArray

    def __len__(self) -> int:
        return len(self.size)

    def keys(self) -> list[bytes]:
        """Return the keys, byte-exact."""
        return keys_at(self.key, self.key_end, np.arange(len(self)))

    def read(self, source: Source) -> Iterator[bytes | OSError | DatasetError]:
        """Yield the bytes of each sample, or the error that prevented reading it."""
        return read_samples(source, self.keys(), self.file, self.offset, self.size)


@dataclass(frozen=True, slots=True)
class Listing:
    """A source's samples, in its own order.

    columns: those of SCHEMA, mapped. classes, splits: the names behind the numbers in these columns. layout: of the
    source, in words. fingerprint: a digest of keys and sizes. state: a digest of keys, sizes, versions, labels and
    splits; a version changes when its file does. left_out: everything that is not a sample. lines: the file that lists
    it.
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

    def __len__(self) -> int:
        return len(self.columns["size"])

    @property
    def size(self) -> IndexArray:
        """Bytes of each sample; -1 where a table names a file that is not there."""
        return self.columns["size"]

    def keys(self, rows: IndexArray) -> list[bytes]:
        """Return the keys of some samples."""
        return keys_at(self.columns["key"], self.columns["key_end"], rows)

    def rows(self, rows: IndexArray) -> Rows:
        """Return some samples in the given order."""
        key, key_end = lay_end_to_end(self.keys(rows))
        taken = {name: np.ascontiguousarray(self.columns[name][rows]) for name in Rows.__slots__[:5]}
        return Rows(**taken, key=key, key_end=key_end)

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield key (Binary), size, version, label, split and row, some rows at a time."""
        for rows in row_parts(len(self)):
            columns = {name: self.columns[name][rows] for name in ("size", "version", "label", "split")}
            yield pl.DataFrame({"key": pl.Series(self.keys(rows), dtype=pl.Binary), **columns, "row": rows})


def make_listing(
    source: Source, directory: Path, given: ClassNumbering | None = None, *, images_only: bool | None
) -> Listing:
    """List the samples of a source as columns in a new directory, and everything else in a file beside it.

    given: the class map that numbers the labels; by default the source decides.
    images_only: what to do with files that share a key. True leaves out masks and other companions of an image. False
    lists them all, because the caller will refuse them. None takes every image as a sample of its own, as tiering up
    to 0.2 did.
    Raises DatasetError if there is no image, if there are too many label names, or if labels are not classes.
    """
    where = without_secrets(source.url)
    names = {name: NumberedNames(name, where) for name in ("label", "split")}
    # If a table has no column of labels, its samples have no labels: its folders are not meant as classes.
    folders = None if source.kind == "table" else Folders(tars=len(source.files) > 1)
    fingerprint, state = Fingerprint(), Fingerprint()
    root, lines = Location.of(directory), directory.with_name(LEFT_OUT)
    with ColumnsWriter(lambda name: root / name, SCHEMA) as writer, Location.of(lines).writing() as file:
        ledger = Ledger(file, images_only=images_only)
        for batch in source.batches(ledger):
            keys = batch["key"].to_list()
            key, key_end = lay_end_to_end(keys)
            taken = {name: batch[name].to_numpy() for name in ("size", "version", "file", "offset")}
            numbered = {name: names[name].number(batch[name]) for name in names}
            writer.append({**taken, **numbered, "key": key, "key_end": key_end})
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
        raise DatasetError(
            source.url, expected="image files", found=f"no image in this {source.kind}", action="Check the path."
        )
    layout: str = source.kind
    if by_folder is None or names["label"]:
        classes = number_labels(names["label"], directory / "label", SCHEMA["label"], given, where)
        splits = number_splits(names["split"], directory / "split", SCHEMA["split"])
    else:
        classes, splits = _number_by_folder(columns, directory, by_folder, names["split"], given, where)
        layout = by_folder.kind if source.kind == "folder" else source.kind
    columns |= {name: map_column(root / name, SCHEMA[name]) for name in ("label", "split")}
    digests = fingerprint.hexdigest(), labelled_state(state.hexdigest(), columns)
    return Listing(source, columns, classes, splits, layout, *digests, ledger.left_out, lines)


def labelled_state(state: str, columns: dict[str, npt.NDArray[Any]]) -> str:
    """Return a digest of a state and of all labels and splits. Receipts contain these, so a change must be noticed."""
    digest = hashlib.sha256(state.encode())
    for name in ("label", "split"):
        for rows in row_parts(len(columns[name])):
            digest.update(columns[name][rows].tobytes())
    return digest.hexdigest()


def open_again(location: AnySource, manifest: Manifest) -> Source:
    """Open a source for a finished store, and read a table as the store's own tables were read.

    A table that was packed before is read in the same way. A new table is read like the first known one whose columns
    it has, or else by its own column names. A TableSource with columns or a root decides for itself.
    """
    if isinstance(location, TableSource):
        if location.columns or location.root:
            return open_source(location)
        location = location.path
    sources = [manifest.source, *manifest.earlier]
    forms = {source.url: TableForm.of(source.columns, source.root) for source in reversed(sources)}
    opened = open_source(location, forms.get(without_secrets(Location.of(location).url), forms[manifest.source.url]))
    if opened.kind != "table" or without_secrets(opened.url) in forms:
        return opened
    tried = [*(forms[source.url] for source in sources), TableForm((), opened.form.root), opened.form]
    return replace(opened, form=next((form for form in tried if is_readable(opened.url, form)), opened.form))


def source_of(listing: Listing, *, images_only: bool, others: bool = False) -> SourceRecord:
    """Return the manifest's record of the source. others: images from other sources were packed before."""
    form = listing.source.form
    return SourceRecord(
        url=listing.source.url, fingerprint=listing.fingerprint, root=form.root or None, columns=dict(form.columns),
        images_only=images_only, others=others,
    )  # fmt: skip


def names_digest(listing: Listing) -> str:
    """Return a digest of the names and numbers of classes and splits. It must be equal to resume a conversion."""
    classes = listing.classes
    return hashlib.sha256(json.dumps([classes.names, classes.numbers, listing.splits]).encode()).hexdigest()


def changes(old: dict[str, npt.NDArray[Any]], new: Listing, *, same_names: bool) -> list[str]:
    """Describe how a source differs from an earlier listing of it, one line per file.

    same_names: whether classes and splits have the same numbers in both, so that labels can be compared.
    """
    before = replace(new, columns=old)
    then, now = (pl.concat(listing.frames()) for listing in (before, new))
    found = [f"{display(key)}: removed" for key in then.join(now, on="key", how="anti")["key"]]
    found += [f"{display(key)}: added" for key in now.join(then, on="key", how="anti")["key"]]
    both = then.join(now, on="key", suffix="_now")
    names = ("size", "version", *(("label", "split") if same_names else ()))
    other = {name: pl.col(name) != pl.col(f"{name}_now") for name in names}
    files = other.pop("size") | other.pop("version")
    found += [f"{display(key)}: changed" for key in both.filter(files)["key"]]
    same = both.filter(~files)
    for name, differs in other.items():
        found += [f"{display(key)}: another {name}" for key in same.filter(differs)["key"]]
        same = same.filter(~differs)
    return found


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
    named_splits: NumberedNames,
    given: ClassNumbering | None,
    where: str,
) -> tuple[ClassMap, list[str]]:
    """Write the columns label and split according to folders. If the names of tar files give splits, these count."""
    wanted = ("label",) if named_splits else ("label", "split")
    writable = {name: np.memmap(directory / name, dtype=SCHEMA[name], mode="r+") for name in wanted}

    def keys(rows: IndexArray) -> list[bytes]:
        return keys_at(columns["key"], columns["key_end"], rows)

    classes, splits = number_folders(by_folder, keys, len(columns["size"]), dict(writable), given, where)
    for column in writable.values():
        column.flush()
    if named_splits:
        splits = number_splits(named_splits, directory / "split", SCHEMA["split"])
    return classes, splits
