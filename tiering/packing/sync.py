"""Sync: update a finished store from its source, under a manifest of the next generation.

New and changed images are packed into new shards, as append does. The next index leaves out images that vanished, and
the old bytes of those that changed. An image counts as changed if its bytes differ, whatever its modification time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import google_crc32c
import numpy as np

from tiering.arrays import IndexArray, row_parts
from tiering.errors import DatasetError
from tiering.literals import Check, OnBadImage
from tiering.packing.append import GrowOptions, Growth, grow
from tiering.packing.executors import Workers
from tiering.packing.field_comparison import differing_fields, further_fields
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.key_lookup import NOWHERE, KeyLookup
from tiering.packing.listing import Listing
from tiering.packing.original_fields import original_sizes
from tiering.packing.removed_keys import RemovedKeys, leave_out_removed
from tiering.packing.shard import stored_bytes
from tiering.progress import Progress, no_progress
from tiering.sources.source import AnySource
from tiering.store.manifest import Manifest
from tiering.store.protocol import Store
from tiering.store.schema import ORIGINAL_CRC
from tiering.store.settings import Settings

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Synced:
    """The result of a sync.

    Attributes:
        manifest: The manifest of the store. It is the old one if there was nothing to do.
        new: Number of new samples.
        changed: Number of samples whose bytes changed.
        vanished: Number of samples that the source no longer has.
        relabelled: Number of samples with a new label or split.
    """

    manifest: Manifest
    new: int
    changed: int
    vanished: int
    relabelled: int


def sync(
    source: AnySource,
    store: str | os.PathLike[str],
    *,
    fields: Mapping[str, str] | None = None,
    images_only: bool = False,
    on_error: OnBadImage = "fail",
    check: Check = "quick",
    resume: Literal["auto", "never"] = "auto",
    workers: Workers = None,
    progress: Progress = no_progress,
) -> Synced:
    """Update a store from its source: new, changed and vanished images, and changed labels and splits.

    A sample whose fields changed is packed again, too. Existing shards stay as they are, and open readers keep the
    generation that they opened. The bytes of vanished and changed images stay in their shards until tiering.remove
    purges them, or the dataset is converted again. Every image of the source is read, to find those that changed.

    Args:
        source: As for tiering.append.
        store: A finished store, its path or URL.
        fields: As for tiering.append.
        images_only: As for tiering.append.
        on_error: As for tiering.append.
        check: As for tiering.append.
        resume: As for tiering.append.
        workers: As for tiering.append.
        progress: Called with the samples compared or packed, all of them, and their bytes.

    Returns:
        What changed, in counts, and the manifest.

    Raises:
        DatasetError: The source has no image of the store.
        StoreError: There is no finished store.

    Example:
        >>> tiering.sync("photos", "photos.lmdb").vanished  # doctest: +SKIP
        0
    """
    counts: dict[str, int] = {}

    def choose(listing: Listing, base: Store, settings: Settings) -> Growth | None:
        growth, found = _difference(listing, base, settings, progress)
        counts.update(found)
        return growth if any(found.values()) else None

    manifest = grow(source, store, choose, GrowOptions(fields, images_only, on_error, check, resume, workers, progress))
    return Synced(manifest, **counts)


def _difference(listing: Listing, base: Store, settings: Settings, progress: Progress) -> tuple[Growth, dict[str, int]]:
    """Compare a store with a listing. Return the parts of the next generation, and the counts of Synced.

    Takes about 30 bytes of memory per sample, besides the 16 of the look-up.
    """
    row = _rows_of(listing, base)
    there = row != NOWHERE
    if not there.any():
        raise DatasetError(
            listing.source.url,
            found=f"none of the {len(base):,} images of {base.location} is in it",
            action="Check the path; tiering convert makes a store of another dataset.",
        )
    counts = {"vanished": int(np.count_nonzero(~there))}
    new = np.ones(len(listing), dtype=bool)
    new[row[there]] = False
    removed = RemovedKeys.of(base.location, base.manifest)
    for every in row_parts(len(listing)):
        rows = every[new[every]]
        new[rows] = False
        new[leave_out_removed(listing, rows, removed)] = True
    changed = np.zeros(len(listing), dtype=bool)
    for rows in _changed(listing, base, row, settings, progress):
        changed[rows] = True
    there[there] = ~changed[row[there]]
    label, split = base.index.label.copy(), base.index.split.copy()
    size = 0
    for samples in row_parts(len(base)):
        kept = samples[there[samples]]
        label[kept], split[kept] = listing.columns["label"][row[kept]], listing.columns["split"][row[kept]]
        size += int(listing.size[row[kept]].sum())
    relabelled = (label != base.index.label) | (split != base.index.split)
    for name, which in (("new", new), ("changed", changed), ("relabelled", relabelled)):
        counts[name] = int(np.count_nonzero(which))
    return Growth(np.flatnonzero(new | changed), KeptSamples(base, there, label, split), size), counts


def _rows_of(listing: Listing, base: Store) -> IndexArray:
    """Return the row of the listing for each sample of a store, int64 (n,); NOWHERE if the listing lacks it."""
    row = np.empty(len(base), dtype=np.int64)
    held = KeyLookup(len(listing), listing.keys)
    for samples in row_parts(len(base)):
        row[samples] = held.find(base.index.keys(samples))
    return row


def _changed(
    listing: Listing, base: Store, row: IndexArray, settings: Settings, progress: Progress
) -> Iterator[IndexArray]:
    """Yield the rows of a listing whose images differ from those of the store, some at a time.

    They are read in the order of the source, which is fastest for a disk. An image that can no longer be read or packed
    counts as changed: the packer will report what is wrong with it.
    """
    sample = np.full(len(listing), NOWHERE, dtype=np.int64)
    held = np.flatnonzero(row != NOWHERE)
    sample[row[held]] = held
    read, sizes, crcs = 0, original_sizes(base), base.index.crc32c
    if settings.reencoded is not None:
        crcs = base.index.fields[ORIGINAL_CRC]
    for every in row_parts(len(listing), _BATCH):
        rows = every[sample[every] != NOWHERE]
        if sizes is not None:
            same = sizes[sample[rows]] == listing.size[rows]
            yield rows[~same]
            rows = rows[same]
        if not len(rows):
            continue
        there = listing.rows(rows)
        images = zip(there.keys(), there.read(listing.source), crcs[sample[rows]].tolist(), strict=True)
        yield rows[[_crc(image, key, settings) != crc for key, image, crc in images]]
        fields = there.fields
        for _, differs in differing_fields(base, sample[rows], fields, listing.source):
            yield rows[differs]
        for _, further in further_fields(base, fields):
            yield rows[further]
        read += int(listing.size[rows].sum())
        progress(int(every[-1]) + 1, len(listing), read)


def _crc(image: bytes | OSError | DatasetError, key: bytes, settings: Settings) -> int | None:
    """Return the CRC-32C of an image as the store would hold it, or None if it cannot be read or decoded.

    For a store of re-encoded images it is that of the original.
    """
    if not isinstance(image, bytes):
        return None
    try:
        stored = image if settings.reencoded else stored_bytes(image, settings.lenient, key)
        return int(google_crc32c.value(stored))
    except DatasetError:
        return None
