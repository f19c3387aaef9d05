"""Compare a store with the source from which it was packed: every byte, every label, every key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np

from tiering.arrays import IndexArray, row_parts
from tiering.errors import DatasetError, TieringError
from tiering.images.encoder_build import encoder_build
from tiering.images.reencoding import is_alike
from tiering.packing.class_maps import class_map
from tiering.packing.field_comparison import differing_fields
from tiering.packing.key_lookup import NOWHERE, KeyLookup
from tiering.packing.listed_lines import ListedLines, field_of
from tiering.packing.listing import Rows
from tiering.packing.removed_keys import RemovedKeys
from tiering.packing.shard import stored_bytes
from tiering.packing.source_record import images_only_of, list_again, open_again
from tiering.packing.workspace import UNPACKED
from tiering.progress import Progress
from tiering.sources.account import Account, fields
from tiering.sources.labels.numbering import ClassNumbering
from tiering.sources.left_out import ERRORS, NOT_IN_STORE, REMOVED, LeftOut
from tiering.storage.location import Location
from tiering.store.columns import sound_file
from tiering.store.layout import is_left_out
from tiering.store.manifest import Manifest
from tiering.store.protocol import Store
from tiering.store.schema import ORIGINAL_BYTES, ORIGINAL_CRC
from tiering.store.settings import Settings
from tiering.text import display

_BATCH: Final = 256


class Comparison:
    """Compares a store with its source as it is now.

    scratch: a local directory for the listing of the source. progress: as for make_listing.
    """

    def __init__(self, store: Store, source: str | os.PathLike[str], scratch: Path, progress: Progress) -> None:
        self._store = store
        # Numbered by the store's own classes, which may have come from elsewhere than this source.
        given = ClassNumbering(class_map(store.manifest), grows=True)
        only = images_only_of(store.manifest.source)
        opened = open_again(source, store.manifest).unpacking_into(Location.of(scratch / UNPACKED))
        self._listing = list_again(
            opened, scratch / "listing", given, store.manifest, images_only=only, progress=progress
        )
        #: Fields that the source has and the store does not.
        self.further_fields = [name for name in self._listing.field_names if name not in store.fields]
        self._others = store.manifest.source.others
        self._scratch = scratch
        self._account = LeftOut()
        self._packed = self._packed_bytes = 0
        #: Samples that are not in this source, if the store was packed from several.
        self.elsewhere = 0
        #: Samples with another label or split than in the source, if the store was relabelled since it was compared
        #: with the source last.
        self.relabelled = 0
        self._may_differ = _is_relabelled(store.manifest)
        settings, shards = store.manifest.settings, store.manifest.shards
        self._settings = settings.lenient if settings else Settings(shard_bytes=1)
        self._ends = np.cumsum([shard.samples for shard in shards])
        build = encoder_build(settings.reencoded.format) if settings and settings.reencoded else None
        #: Which shards another build of the encoder packed.
        self._foreign = [shard.encoder != build for shard in shards]
        #: Samples that differ from what this build of the encoder makes, but no more than those of another build may.
        self.alike = 0

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
        known, removed = self._known(), RemovedKeys.of(store.location, store.manifest)
        self._account.merge(listing.left_out)
        for rows in row_parts(len(listing)):
            sizes = np.maximum(listing.size[rows], 0)
            self._packed += int(packed[rows].sum())
            self._packed_bytes += int(sizes[packed[rows]].sum())
            lacking = rows[~packed[rows]]
            keys = listing.keys(lacking)
            gone = removed.have(keys).tolist()
            kinds = [REMOVED if each else kind for kind, each in zip(_kinds_of(known, keys), gone, strict=True)]
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
        others: list[list[str]] = [[] for _ in samples]
        for at, (sample, image, (key, original)) in enumerate(zip(samples.tolist(), images, originals, strict=True)):
            shown = f"sample {sample:,} ({display(key)})"
            if not isinstance(original, bytes):
                yield f"{shown}: cannot be read in the source: {original}"
            elif wrong := self._wrong(sample, bytes(image), original, key):
                yield f"{shown}: {wrong}"
            others[at] += self._other(sample, rows, at)
        for name, differs in differing_fields(store, samples, rows.fields, self._listing.source):
            for at in np.flatnonzero(differs).tolist():
                others[at].append(name)
        if self._may_differ:
            self.relabelled += sum(map(bool, others))
            return
        for sample, key, names in zip(samples.tolist(), rows.keys(), others, strict=True):
            yield from (f"sample {sample:,} ({display(key)}): another {name} than in the source" for name in names)

    def _other(self, sample: int, rows: Rows, at: int) -> Iterator[str]:
        """Yield what differs from the source besides the image and the fields: label, split or both."""
        manifest, index = self._store.manifest, self._store.index
        if int(index.label[sample]) != int(rows.label[at]):
            yield "label"
        mine, theirs = int(index.split[sample]), int(rows.split[at])
        if (manifest.splits[mine] if mine >= 0 else None) != (self._listing.splits[theirs] if theirs >= 0 else None):
            yield "split"

    def _wrong(self, sample: int, image: bytes, original: bytes, key: bytes) -> str:
        """Return what is wrong with a sample, compared with its original; "" if nothing is."""
        encoding = self._settings.reencoded
        if encoding is not None and not self._is_original(sample, original):
            return "its original in the source is another file than the one that it was made from"
        try:
            if image == stored_bytes(original, self._settings, key):
                return ""
            foreign = encoding is not None and self._foreign[self._shard_of(sample)]
            if encoding is None or not (foreign and is_alike(image, original, display(key), encoding.how)):
                return "differs from the source" if encoding is None else "differs from what its original gives"
        except DatasetError:
            return "differs from the source"  # It can no longer be packed.
        self.alike += 1
        return ""

    def _is_original(self, sample: int, original: bytes) -> bool:
        columns = self._store.index.fields
        size, crc = int(columns[ORIGINAL_BYTES][sample]), int(columns[ORIGINAL_CRC][sample])
        return size == len(original) and crc == google_crc32c.value(original)

    def _shard_of(self, sample: int) -> int:
        """Return the position of the shard that holds a sample."""
        return int(np.searchsorted(self._ends, sample, side="right"))

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


def _is_relabelled(manifest: Manifest) -> bool:
    """Return whether a table gave labels or splits after the store took those of its source."""
    since = [change.action for change in manifest.log]
    last = max((at for at, action in enumerate(since) if action in ("convert", "sync")), default=-1)
    return "relabel" in since[last + 1 :]


def _kinds_of(known: ListedLines, keys: list[bytes]) -> list[str | None]:
    """Return the kind under which a store lists each key, or None if it does not list it."""
    rows = known.find([field_of(key) for key in keys])
    kinds: list[str | None] = [None] * len(keys)
    there = np.flatnonzero(rows != NOWHERE)
    for at, line in zip(there.tolist(), known.lines(rows[there]), strict=True):
        kinds[at] = line.decode().rstrip("\n").split("\t")[1]
    return kinds
