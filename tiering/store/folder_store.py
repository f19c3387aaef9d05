"""FolderStore: a directory of images as a store, local or in a bucket. Used as a baseline, and as origin of caches."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import numpy as np
import polars as pl

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import StoreError
from tiering.images.image import refuse_large
from tiering.io_sizes import BLOCK_BYTES
from tiering.literals import FieldKind
from tiering.sources.account import Account, Ledger
from tiering.sources.cell_kinds import CellKind
from tiering.sources.fields import place_column, value_column
from tiering.sources.fingerprint import Fingerprint
from tiering.sources.found_field import FoundField
from tiering.sources.labels.annotations import FolderLabels, folder_labels, report_lost_rows
from tiering.sources.labels.classes import NONE, ClassMap, classes_of
from tiering.sources.labels.folders import Folders
from tiering.sources.labels.numbering import number_folders, split_order
from tiering.sources.metadata_tables import has_metadata
from tiering.sources.scan import Scan, scan
from tiering.sources.source import Source, read_samples
from tiering.storage.location import Location
from tiering.store.columns import lay_end_to_end
from tiering.store.folder_fields import CellValues, NumberColumns
from tiering.store.index import Index
from tiering.store.indices import as_indices, inside
from tiering.store.manifest import Manifest, SourceRecord
from tiering.store.protocol import Store, StoreBase, samples_in
from tiering.store.sample import Buffer
from tiering.store.schema import LABEL, new_field
from tiering.system.madvise import will_need_file
from tiering.system.page_cache import missing_bytes

#: Files of an announcement that are looked up in the page cache first.
_LOOKED_AT: Final = 4


class FolderStore(StoreBase):
    """The images of a directory in order of their keys. Each is a file, which is read as a whole.

    location: path or URL of a directory. scanned: the result of a scan of a local one, if the caller has it. fields:
    patterns of the files of fields in trees of their own, by name.
    Raises DatasetError for a directory without images, MachineError for one that cannot be listed, UsageError for a
    pattern that no file has.
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | Location,
        scanned: Scan | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self.location = Location.of(location)
        local = self.location.local
        self._source = Source(self.location.url, "folder").with_fields(fields)
        ledger = Ledger()
        # A table of metadata may give labels, splits and fields, so it is read as packing does.
        described = not local or bool(fields) or has_metadata(self.location.url)
        if local and not described:
            found = scanned or scan(local)
            files, places, found_fields = found.files.rename({"mtime_ns": "version"}), found.places, found.fields
            ledger.left_out.merge(found.account.tallies)
        else:
            files = pl.concat(list(self._source.batches(ledger)), how="diagonal")
            places, found_fields = files, tuple(ledger.fields.values())
        self.index, labels, classes, splits = index_of(files, self.location.url)
        layout: str = labels.kind
        if described and (named := [name for name in ("label", "split") if files[name].count()]):
            self.index, numbered = _with_metadata(self.index, files.select(named), self.location.url)
            if "label" in named:
                layout = "folder with metadata"
                classes = numbered["label"]
            splits = list(numbered["split"].names) if "split" in named else splits
        report_lost_rows(self.location.url, labels, ledger)
        account = Account.of(len(files), int(files["size"].sum()), ledger.left_out)
        self._root = os.fsencode(local) if local else b""
        self.manifest = Manifest(
            kind="folder",
            samples=len(self.index),
            image_bytes=int(self.index.size.sum()),
            layout=layout,
            labels=list(classes.names),
            label_numbers=list(classes.numbers),
            splits=splits,
            left_out=account.failed,
            account=account,
            source=SourceRecord(
                url=self.location.url,
                sidecars=True,
                fields=dict(self._source.patterns),
                fingerprint=_fingerprint(files),
            ),
        )
        #: SHA-256 of all modification times or ETags. Together with the fingerprint of names and sizes, it shows
        #: whether a file has changed.
        self.listing = hashlib.sha256(files["version"].to_numpy().tobytes()).hexdigest()
        self.views = False
        self.block = samples_in(BLOCK_BYTES, self.manifest)
        self._offer(found_fields, places)

    def _offer(self, found: Iterable[FoundField], frame: pl.DataFrame) -> None:
        """Offer fields: files, and cells of tables of metadata. frame: their columns, a row for each image."""
        offered, values = {LABEL.name: LABEL}, dict[str, Store]()
        for each in found:
            if (column := place_column(each.name, "key")) in frame:
                # A file of a field holds a value of its kind, which the name of the file tells.
                kind, first, empty = cast("FieldKind", each.kind), b"", False
                values[each.name] = FieldFiles(self, each.name, frame)
            elif (column := value_column(each.name)) in frame:
                kind, first, empty = _kind_of(each, frame[column])
                values[each.name] = CellValues(self, frame[column])
            else:
                continue
            nullable = frame[column].null_count() > 0 or empty
            offered[each.name] = new_field(each, kind, nullable=nullable, first=first)
        if values:
            numbers = [offered[name] for name in values if offered[name].numeric]
            self.index = replace(self.index, fields=NumberColumns(numbers, values))
            self.fields = offered
            self.runs = {name: run for name, run in values.items() if not offered[name].numeric}

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> list[Buffer]:  # noqa: ARG002 - no pixels here
        """Read whole files; a cached one takes about 12 us.

        Raises StoreError if a file vanished or its size changed since opening, DatasetError if it is too large for an
        image, OSError for other failures.
        """
        indices = as_indices(indices, len(self))
        if not self._root:
            return self._fetched(indices)
        found: list[Buffer] = []
        for key, size in zip(self.index.keys(indices), self.index.size[indices].tolist(), strict=True):
            path = os.path.join(self._root, key)  # noqa: PTH118 - keys are bytes, and pathlib costs 10 us a file
            refuse_large(os.fsdecode(path), size)
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                raise StoreError(os.fsdecode(path), found="no such file", action="Scan it again.") from None
            try:
                # Read one byte more than the scan saw, to notice a file that grew.
                data = os.read(descriptor, size + 1)
                while 0 < len(data) < size and (more := os.read(descriptor, size + 1 - len(data))):
                    data += more
            finally:
                os.close(descriptor)
            if len(data) != size:
                raise StoreError(
                    os.fsdecode(path), expected=f"{size:,} bytes, as when the folder was opened",
                    found=f"{'more' if len(data) > size else f'{len(data):,}'}", action="It changed: open it again.",
                )  # fmt: skip
            found.append(data)
        return found

    def byte_ranges(self, indices: IndexArray) -> None:
        """Return None: every sample is a file of its own."""

    def announce(self, indices: IndexArray) -> None:
        """Start reading files into the page cache without waiting for them."""
        if not self._root:
            return
        keys = self.index.keys(inside(indices, len(self)))
        paths = [os.path.join(self._root, key) for key in keys]  # noqa: PTH118 - as above
        # Announcing a file that is there costs as much as reading it, and another hint is near: look at a few.
        if missing_bytes(paths[:: max(1, len(paths) // _LOOKED_AT)], 0) != 0:
            for path in paths:
                will_need_file(path)

    def files(self) -> list[Path]:
        """Return the path of every image that has one."""
        if not self._root:
            return []
        keys = self.index.keys(np.arange(len(self)))
        return [Path(self.location.url) / os.fsdecode(key) for key in keys if key]  # a field may lack some

    def _fetched(self, indices: IndexArray) -> list[Buffer]:
        nowhere = np.full(len(indices), -1)
        ranges = (nowhere.astype(np.int32), nowhere, self.index.size[indices])
        found: list[Buffer] = []
        for result in read_samples(self._source, self.index.keys(indices), *ranges):
            if isinstance(result, Exception):
                raise result
            found.append(result)
        return found

    def close(self) -> None:
        """Do nothing: no file stays open."""


class FieldFiles(FolderStore):
    """The values of one field of a folder: a file for each image that has one.

    whole: the folder. name: of the field. places: where the files are, a row for each image.
    """

    def __init__(self, whole: FolderStore, name: str, places: pl.DataFrame) -> None:
        self.location, self._source = whole.location, Source(whole.location.url, "folder")
        self._root = os.fsencode(whole.location.local or "")
        offset = np.where(places[place_column(name, "key")].is_null().to_numpy(), -1, 0)
        files = places.select(
            key=pl.col(place_column(name, "key")).fill_null(b""),
            size=pl.col(place_column(name, "size")).fill_null(0),
            version=pl.col(place_column(name, "version")).fill_null(0),
        )
        key, key_end = lay_end_to_end(files["key"].to_list())
        self.index = replace(
            whole.index, size=files["size"].to_numpy(), key=key, key_end=key_end, offset=offset, fields={}
        )
        source = whole.manifest.source.model_copy(update={"fingerprint": _fingerprint(files)})
        update = {"image_bytes": int(files["size"].sum()), "source": source}
        self.manifest = whole.manifest.model_copy(update=update)
        self.listing = hashlib.sha256(files["version"].to_numpy().tobytes()).hexdigest()
        self.views = False
        self.block = samples_in(BLOCK_BYTES, self.manifest)

    def read(self, indices: IndexArray, out: PixelArray | None = None) -> list[Buffer]:
        """Read whole files, as FolderStore.read does; b"" for an image without one."""
        indices = as_indices(indices, len(self))
        there = np.flatnonzero(self.index.offset[indices] >= 0)
        found: list[Buffer] = [b""] * len(indices)
        for at, data in zip(there.tolist(), super().read(indices[there], out), strict=True):
            found[at] = data
        return found

    def announce(self, indices: IndexArray) -> None:
        """Start reading files into the page cache without waiting for them."""
        indices = inside(indices, len(self))
        super().announce(indices[self.index.offset[indices] >= 0])


def index_of(files: pl.DataFrame, url: str) -> tuple[Index, FolderLabels, ClassMap, list[str]]:
    """Return the index of scanned files (key, size), the labels by folder, the classes and the splits.

    About 0.7 s for a million keys in a thousand folders, on one core.
    """
    n = len(files)
    # Joined piece by piece: a million Python objects at a time would be too many.
    seen, pieces = Folders(), []
    for piece in files.select("key").iter_slices(1 << 16):
        keys = piece["key"].to_list()
        seen.add(keys)
        pieces.append(b"".join(keys))
    key = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    key_end = np.cumsum(files["key"].bin.size().to_numpy(), dtype=np.int64)
    label, split = np.full(n, -1, dtype=np.int32), np.full(n, -1, dtype=np.int8)
    index = Index(label, split, files["size"].to_numpy().astype(np.int64), key, key_end)
    by_folder = folder_labels(url, seen.rule())

    def keys_of(rows: IndexArray) -> list[bytes]:
        return files["key"][int(rows[0]) : int(rows[-1]) + 1].to_list()  # rows are consecutive

    classes, splits = number_folders(by_folder, keys_of, n, {"label": label, "split": split}, None, url)
    return index, by_folder, classes, splits


def _with_metadata(index: Index, named: pl.DataFrame, url: str) -> tuple[Index, dict[str, ClassMap]]:
    """Return an index with the labels and splits of tables of metadata, and the maps of their numbers.

    named: the columns label and split, or one of them, of text.
    """
    maps: dict[str, ClassMap] = {}
    if "label" in named:
        maps["label"], numbers = classes_of(_names(named["label"]), url)
        index = replace(index, label=np.array([numbers.get(name, NONE) for name in named["label"]], np.int32))
    if "split" in named:
        maps["split"] = ClassMap.counted(split_order(_names(named["split"])))
        of_split = {name: number for number, name in enumerate(maps["split"].names)}
        index = replace(index, split=np.array([of_split.get(name, NONE) for name in named["split"]], np.int8))
    return index, maps


def _kind_of(found: FoundField, values: pl.Series) -> tuple[FieldKind, bytes, bool]:
    """Return the kind of the values of a table's column, the first one, and whether a cell of a number is empty."""
    first = values.drop_nulls().head(1).to_list()
    if found.kind != "cell":
        return found.kind, *(first or [b""]), False
    cells = CellKind()
    for part in values.to_frame().iter_slices(1 << 16):
        cells.update(part.to_series())
    return cells.kind, b"", cells.empty and cells.kind != "string"


def _names(column: pl.Series) -> list[str]:
    return column.drop_nulls().unique(maintain_order=True).to_list()


def _fingerprint(files: pl.DataFrame) -> str:
    """Return the fingerprint of the files, equal to that of the source of a store packed from them."""
    digest = Fingerprint()
    for piece in files.iter_slices(1 << 16):
        digest.update(piece["key"].to_list(), piece["size"].to_numpy())
    return digest.hexdigest()
