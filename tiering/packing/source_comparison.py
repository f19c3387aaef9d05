"""Compare a store with the source from which it was packed: every byte, every label, every key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from tiering.arrays import IndexArray, row_parts
from tiering.errors import DatasetError, TieringError
from tiering.packing.class_maps import class_map
from tiering.packing.key_lookup import NOWHERE, KeyLookup
from tiering.packing.listed_lines import ListedLines, field_of
from tiering.packing.listing import Rows, make_listing, open_again
from tiering.packing.progress import Progress
from tiering.packing.shard import stored_bytes
from tiering.sources.account import Account, fields
from tiering.sources.labels.numbering import ClassNumbering
from tiering.sources.left_out import ERRORS, NOT_IN_STORE, LeftOut
from tiering.store.columns import sound_file
from tiering.store.layout import is_left_out
from tiering.store.protocol import Store
from tiering.text import display

_BATCH: Final = 256


class Comparison:
    """Compares a store with its source as it is now.

    scratch: a local directory for the listing of the source.
    """

    def __init__(self, store: Store, source: str | os.PathLike[str], scratch: Path) -> None:
        self._store = store
        # Numbered by the store's own classes, which may have come from elsewhere than this source.
        given = ClassNumbering(class_map(store.manifest), grows=True)
        only = store.manifest.source.images_only or None
        opened = open_again(source, store.manifest)
        self._listing = make_listing(opened, scratch / "listing", given, images_only=only)
        self._others = store.manifest.source.others
        self._scratch = scratch
        self._account = LeftOut()
        self._packed = self._packed_bytes = 0
        #: Samples that are not in this source, if the store was packed from several.
        self.elsewhere = 0

    def differences(self, progress: Progress) -> Iterator[str]:
        """Yield a line for each difference between the store and the source."""
        store, listing = self._store, self._listing
        held = KeyLookup(len(listing), listing.keys)
        packed = np.zeros(len(listing), dtype=bool)
        compared = 0
        for samples in row_parts(len(store), _BATCH):
            keys = store.index.keys(samples)
            found = held.find(keys)
            if self._others:
                self.elsewhere += int(np.count_nonzero(found == NOWHERE))
            else:
                yield from (
                    f"sample {samples[at]:,} ({display(keys[at])}): not in the source"
                    for at in np.flatnonzero(found == NOWHERE).tolist()
                )
            there = np.flatnonzero(found != NOWHERE)
            packed[found[there]] = True
            yield from self._differ(samples[there], listing.rows(found[there]))
            compared += int(store.index.size[samples].sum())
            progress(int(samples[-1]) + 1, len(store), compared)
        if self.elsewhere == len(store):
            yield f"{display(os.fsencode(listing.source.url))}: none of the store's {len(store):,} samples is in it"
        known = self._known()
        self._account.merge(listing.left_out)
        for rows in row_parts(len(listing)):
            sizes = np.maximum(listing.size[rows], 0)
            self._packed += int(packed[rows].sum())
            self._packed_bytes += int(sizes[packed[rows]].sum())
            lacking = rows[~packed[rows]]
            keys = listing.keys(lacking)
            kinds = _kinds_of(known, keys)
            for key, size, kind in zip(keys, sizes[~packed[rows]].tolist(), kinds, strict=True):
                self._account.add(kind or NOT_IN_STORE, key, size)
                if kind is None:
                    yield f"{display(key)}: in the source but not in the store"
        yield from self._unlisted(known)

    @property
    def account(self) -> Account:
        """Everything in the source. Complete after all differences were read."""
        return Account.of(self._packed, self._packed_bytes, self._account)

    def _unlisted(self, known: ListedLines) -> Iterator[str]:
        """Yield a line for each error in the source that the store does not list."""
        with self._listing.lines.open("rb") as lines:
            errors = (each for each in fields(lines) if each[1] in ERRORS)
            while batch := list(islice(errors, _BATCH)):
                there = known.have([key.encode() for key, *_ in batch])
                for at in np.flatnonzero(~there).tolist():
                    key, kind, _, reason = batch[at]
                    yield f"{key}: {kind}{f', {reason}' if reason else ''}: the store does not account for it"

    def _differ(self, samples: IndexArray, rows: Rows) -> Iterator[str]:
        store = self._store
        try:
            images = store.read(samples)
        except TieringError as error:
            yield f"samples {samples[0]:,} to {samples[-1]:,}: {error}"
            return
        originals = zip(rows.keys(), rows.read(self._listing.source), strict=True)
        manifest, index = store.manifest, store.index
        for at, (sample, image, (key, original)) in enumerate(zip(samples.tolist(), images, originals, strict=True)):
            shown = f"sample {sample:,} ({display(key)})"
            if not isinstance(original, bytes):
                yield f"{shown}: cannot be read in the source: {original}"
            elif bytes(image) != self._stored(original):
                yield f"{shown}: differs from the source"
            if int(index.label[sample]) != int(rows.label[at]):
                yield f"{shown}: another label than in the source"
            mine, other = int(index.split[sample]), int(rows.split[at])
            if (manifest.splits[mine] if mine >= 0 else None) != (self._listing.splits[other] if other >= 0 else None):
                yield f"{shown}: another split than in the source"

    def _stored(self, original: bytes) -> bytes | None:
        """Return an original as the store would hold it, or None if it can no longer be packed."""
        settings = self._store.manifest.settings
        try:
            return stored_bytes(original, settings.pixels if settings else None)
        except DatasetError:
            return None

    def _known(self) -> ListedLines:
        """Return the errors in the store's own list of files that are left out."""
        documents = self._store.manifest.documents
        name = next(filter(is_left_out, documents), None)
        path = sound_file(self._store.location / name, self._scratch / "left-out", documents[name]) if name else None
        errors = self._scratch / "left-out-errors"
        with errors.open("wb") as file:
            if path is not None:
                with path.open("rb") as lines:
                    file.writelines(f"{key}\t{kind}\n".encode() for key, kind, *_ in fields(lines) if kind in ERRORS)
        return ListedLines(errors)


def _kinds_of(known: ListedLines, keys: list[bytes]) -> list[str | None]:
    """Return the kind under which a store lists each key, or None if it does not list it."""
    rows = known.find([field_of(key) for key in keys])
    kinds: list[str | None] = [None] * len(keys)
    there = np.flatnonzero(rows != NOWHERE)
    for at, line in zip(there.tolist(), known.lines(rows[there]), strict=True):
        kinds[at] = line.decode().rstrip("\n").split("\t")[1]
    return kinds
