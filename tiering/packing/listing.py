"""The listing: every sample of a source as columns on disk, so that a plan may visit them in any order.

A dataset of 10^8 samples takes some 60 bytes of disk a sample here and no memory but the page cache's.
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
from tiering.packing.label_columns import NumberedNames, number_splits, number_told
from tiering.sources.account import Ledger
from tiering.sources.fingerprint import Fingerprint
from tiering.sources.labels.annotations import FolderLabels, folder_labels, report_lost_rows
from tiering.sources.labels.classes import NONE, ClassMap
from tiering.sources.labels.folders import FolderRule, Folders
from tiering.sources.labels.numbering import ClassNumbering, number_folders
from tiering.sources.left_out import LeftOut
from tiering.sources.source import AnySource, Source, TableSource, open_source
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
    """Some samples of a listing, in the order asked for: parallel columns, small enough to travel.

    size: int64 (n,), bytes; file: int32 (n,), number of the source's file or -1; offset: int64 (n,), bytes;
    label: int32 (n,); split: int8 (n,); key: uint8; key_end: int64 (n,).
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

    def keys_at(self, row: int) -> bytes:
        """Return one key."""
        return keys_at(self.key, self.key_end, np.array([row]))[0]


@dataclass(frozen=True, slots=True)
class Listing:
    """A source's samples, in its own order.

    columns: SCHEMA's, mapped; classes, splits: what the numbers in their columns mean; layout: how it is laid out, in
    words; fingerprint: over keys and sizes; state: over versions too, which change when a file does, and labels
    and splits; left_out: what the walk met that is no sample; lines: a local file that names it all.
    """

    source: Source
    columns: dict[str, npt.NDArray[Any]]
    classes: ClassMap
    splits: list[str]
    layout: str
    fingerprint: str
    state: str
    left_out: LeftOut
    lines: Location

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
        """Return some samples, in the order asked for."""
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
    """List a source into a new directory, and what is left out into a file beside it.

    given: the class map to number labels by; by default the source decides. images_only: leave out masks and other
    files that share their key with an image (True), name them all for those who refuse them (False), or take every
    image for a sample of its own (None), as stores up to 0.2 did.
    Raises DatasetError where there is no image, too many names of labels, or labels that are not classes.
    """
    where = without_secrets(source.url)
    names = {name: NumberedNames(name, where) for name in ("label", "split")}
    # A table without a column of labels has none: its folders were not meant as classes.
    folders = None if source.kind == "table" else Folders(tars=len(source.files) > 1)
    fingerprint, state = Fingerprint(), Fingerprint()
    location = Location.of(directory)
    lines = Location.of(directory.with_name(LEFT_OUT))
    with ColumnsWriter(lambda name: location / name, SCHEMA) as writer, lines.writing() as file:
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
        told = None if folders is None else _told(source, folders.rule())
        if told is not None:
            report_lost_rows(source.url, told, ledger)
    columns = {name: map_column(location / name, dtype) for name, dtype in SCHEMA.items()}
    if not len(columns["size"]):
        raise DatasetError(
            source.url, expected="image files", found=f"no image in this {source.kind}", action="Check the path."
        )
    layout: str = source.kind
    if told is None or names["label"]:
        classes = number_told(names["label"], directory / "label", SCHEMA["label"], given, where)
        splits = number_splits(names["split"], directory / "split", SCHEMA["split"])
    else:
        classes, splits = _by_folders(columns, directory, told, names["split"], given, where)
        layout = told.kind if source.kind == "folder" else source.kind
    columns |= {name: map_column(location / name, SCHEMA[name]) for name in ("label", "split")}
    digests = fingerprint.hexdigest(), labelled_state(state.hexdigest(), columns)
    return Listing(source, columns, classes, splits, layout, *digests, ledger.left_out, lines)


def labelled_state(state: str, columns: dict[str, npt.NDArray[Any]]) -> str:
    """Return a digest over a state and every sample's label and split: receipts hold these, so they must not change."""
    digest = hashlib.sha256(state.encode())
    for name in ("label", "split"):
        for rows in row_parts(len(columns[name])):
            digest.update(columns[name][rows].tobytes())
    return digest.hexdigest()


def open_again(location: AnySource, manifest: Manifest) -> Source:
    """Open a source of a finished store, a table as it was read then: see tiering.sources.source.open_source.

    A table that the store does not know is read as the first of those whose columns it has, or as it says itself.
    A TableSource is read as it says.
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
    """Return what a manifest says of the source."""
    form = listing.source.form
    return SourceRecord(
        url=listing.source.url, fingerprint=listing.fingerprint, root=form.root or None, columns=dict(form.columns),
        images_only=images_only, others=others,
    )  # fmt: skip


def names_digest(listing: Listing) -> str:
    """Return a digest of the names and numbers of classes and splits. A resumed conversion must have the same."""
    classes = listing.classes
    return hashlib.sha256(json.dumps([classes.names, classes.numbers, listing.splits]).encode()).hexdigest()


def changes(old: dict[str, npt.NDArray[Any]], new: Listing, *, same_names: bool) -> list[str]:
    """Say how a source differs from an earlier listing of it, a line for each file.

    same_names: whether the numbers of classes and splits mean the same in both, so that they can be compared.
    """
    before = replace(new, columns=old)
    then, now = (pl.concat(listing.frames()) for listing in (before, new))
    said = [f"{display(key)}: removed" for key in then.join(now, on="key", how="anti")["key"]]
    said += [f"{display(key)}: added" for key in now.join(then, on="key", how="anti")["key"]]
    both = then.join(now, on="key", suffix="_now")
    names = ("size", "version", *(("label", "split") if same_names else ()))
    other = {name: pl.col(name) != pl.col(f"{name}_now") for name in names}
    files = other.pop("size") | other.pop("version")
    said += [f"{display(key)}: changed" for key in both.filter(files)["key"]]
    same = both.filter(~files)
    for name, differs in other.items():
        said += [f"{display(key)}: another {name}" for key in same.filter(differs)["key"]]
        same = same.filter(~differs)
    return said


def unlabelled(listing: Listing) -> str:
    """Say how many samples have no class while others do; "" if all or none have one."""
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


def _told(source: Source, rule: FolderRule) -> FolderLabels:
    return folder_labels(source.url, rule) if source.kind == "folder" else FolderLabels(rule)


def _by_folders(
    columns: dict[str, npt.NDArray[Any]],
    directory: Path,
    told: FolderLabels,
    named_splits: NumberedNames,
    given: ClassNumbering | None,
    where: str,
) -> tuple[ClassMap, list[str]]:
    """Write the columns label and split as folders tell them; a tar's own name tells its split before they do."""
    wanted = ("label",) if named_splits else ("label", "split")
    writable = {name: np.memmap(directory / name, dtype=SCHEMA[name], mode="r+") for name in wanted}

    def keys(rows: IndexArray) -> list[bytes]:
        return keys_at(columns["key"], columns["key_end"], rows)

    classes, splits = number_folders(told, keys, len(columns["size"]), dict(writable), given, where)
    for column in writable.values():
        column.flush()
    if named_splits:
        splits = number_splits(named_splits, directory / "split", SCHEMA["split"])
    return classes, splits
