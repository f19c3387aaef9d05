"""FolderStore: a directory of images as a store, local or in a bucket. Used as a baseline, and as origin of caches."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from tiering.arrays import IndexArray, PixelArray
from tiering.errors import StoreError
from tiering.images.image import refuse_large
from tiering.sources.account import Account, Ledger, SharedKeysWarning, shared_keys
from tiering.sources.fingerprint import Fingerprint
from tiering.sources.labels.annotations import FolderLabels, folder_labels, report_lost_rows
from tiering.sources.labels.classes import ClassMap
from tiering.sources.labels.folders import Folders
from tiering.sources.labels.numbering import number_folders
from tiering.sources.scan import Scan, scan
from tiering.sources.source import Source, read_samples
from tiering.storage.location import Location
from tiering.store.index import Index
from tiering.store.manifest import Manifest, SourceRecord
from tiering.store.protocol import BLOCK_BYTES, Buffer, StoreBase, as_indices, samples_in
from tiering.system.madvise import will_need_file
from tiering.system.page_cache import missing_bytes
from tiering.text import shown

#: Files of an announcement that are looked up in the page cache first.
_LOOKED_AT: Final = 4


class FolderStore(StoreBase):
    """The images of a directory in order of their keys. Each is a file, which is read as a whole.

    location: path or URL of a directory. scanned: the result of a scan of a local one, if the caller has it.
    Raises DatasetError for a directory without images, MachineError for one that cannot be listed.
    """

    def __init__(self, location: str | os.PathLike[str] | Location, scanned: Scan | None = None) -> None:
        self.location = Location.of(location)
        local = self.location.local
        self._source = Source(self.location.url, "folder")
        ledger = Ledger()
        if local:
            found = scanned or scan(local)
            files = found.files.rename({"mtime_ns": "version"})
            ledger.left_out.merge(found.account.tallies)
        else:
            files = pl.concat([batch.select("key", "size", "version") for batch in self._source.batches(ledger)])
        self.index, labels, classes, splits = index_of(files, self.location.url)
        report_lost_rows(self.location.url, labels, ledger)
        account = Account.of(len(files), int(files["size"].sum()), ledger.left_out)
        if account.shared_keys:
            warning = shared_keys(str(self.location), account.shared_keys, account.shared_examples)
            warnings.warn(shown(str(warning)), SharedKeysWarning, stacklevel=2)
        self._root = os.fsencode(local) if local else b""
        self.manifest = Manifest(
            kind="folder",
            samples=len(self.index),
            image_bytes=int(self.index.size.sum()),
            layout=labels.kind,
            labels=list(classes.names),
            label_numbers=list(classes.numbers),
            splits=splits,
            left_out=account.failed,
            account=account,
            source=SourceRecord(url=self.location.url, fingerprint=_fingerprint(files)),
        )
        #: SHA-256 of all modification times or ETags. Together with the fingerprint of names and sizes, it shows
        #: whether a file has changed.
        self.listing = hashlib.sha256(files["version"].to_numpy().tobytes()).hexdigest()
        self.views = False
        self.block = samples_in(BLOCK_BYTES, self.manifest)

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
                raise StoreError(
                    os.fsdecode(path), expected="an image of the dataset", found="no such file", action="Scan it again."
                ) from None
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
        inside = indices[(indices >= 0) & (indices < len(self))]
        paths = [os.path.join(self._root, key) for key in self.index.keys(inside)]  # noqa: PTH118 - as above
        # Announcing a file that is there costs as much as reading it, and another hint is near: look at a few.
        if missing_bytes(paths[:: max(1, len(paths) // _LOOKED_AT)], 0) != 0:
            for path in paths:
                will_need_file(path)

    def files(self) -> list[Path]:
        """Return the path of every image that has one."""
        if not self._root:
            return []
        return [Path(self.location.url) / os.fsdecode(key) for key in self.index.keys(np.arange(len(self)))]

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


def _fingerprint(files: pl.DataFrame) -> str:
    """Return the fingerprint of the files, equal to that of the source of a store packed from them."""
    digest = Fingerprint()
    for piece in files.iter_slices(1 << 16):
        digest.update(piece["key"].to_list(), piece["size"].to_numpy())
    return digest.hexdigest()
