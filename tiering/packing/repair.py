"""Repair: repack only the missing or damaged shards of a finished store, from its source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import numpy as np

from tiering.errors import DatasetError, StoreError, command
from tiering.packing.class_maps import class_map
from tiering.packing.executors import Workers, opener, run_tasks
from tiering.packing.key_lookup import NOWHERE, KeyLookup
from tiering.packing.listing import Listing, make_listing, open_again
from tiering.packing.progress import Progress, no_progress
from tiering.packing.receipts import read_receipt, receipt_location
from tiering.packing.shard import ShardTask, pack_shard
from tiering.packing.verify import check_index, check_shard_file
from tiering.packing.workspace import workspace
from tiering.sources.labels.numbering import ClassNumbering
from tiering.sources.source import AnySource
from tiering.storage.location import Location
from tiering.storage.scratch import scratch_directory
from tiering.store.layout import WORK
from tiering.store.manifest import read_manifest
from tiering.store.open import open_packed
from tiering.store.protocol import Store
from tiering.text import display


def repair(
    store: str | os.PathLike[str],
    *,
    source: AnySource,
    workers: Workers = None,
    progress: Progress = no_progress,
) -> list[str]:
    """Repack only the missing or damaged shards of a finished store.

    A repacked shard is put in place only if it equals, byte for byte, the one that the manifest describes.

    Args:
        store: A finished store, its path or URL.
        source: The dataset that the store was packed from.
        workers: As for tiering.convert.
        progress: Called with the samples packed, the samples of all damaged shards, and the bytes packed.

    Returns:
        The names of the repaired shards.

    Raises:
        StoreError: The index is damaged, or a shard cannot come out the same.
        DatasetError: The source lacks images that are needed.

    Example:
        >>> tiering.repair("photos.lmdb", source="photos")  # doctest: +SKIP
        ['shard-00003.mdb']
    """
    location = Location.of(store)
    base = open_packed(location, read_manifest(location))
    problems = list(check_index(base))
    if problems:
        raise StoreError(
            str(location), expected="a sound index to repair shards by", found=problems[0],
            action="Convert the dataset again with `overwrite`.",
        )  # fmt: skip
    with scratch_directory() as scratch:
        damaged = [
            number
            for number, shard in enumerate(base.manifest.shards)
            if any(check_shard_file(location, shard, scratch, quick=False))
        ]
    # The source no longer has the images that a sync removed.
    lost = [number for number in damaged if base.manifest.shards[number].removed]
    mendable = [number for number in damaged if number not in lost]
    if mendable:
        _repair(location, source, base, mendable, workers, progress)
    if lost:
        names = ", ".join(base.manifest.shards[number].name for number in lost)
        # A store behind a URL cannot be replaced.
        output, overwrite = (location, ["--overwrite"]) if location.local else ("URL", [])
        again = command("tiering", "convert", os.fspath(source), output, "--to", base.manifest.kind, *overwrite)
        raise StoreError(
            str(location),
            expected="damaged shards whose images are all in the source",
            found=f"{names}, from which a sync removed images",
            action=f"All other shards are sound. Convert the dataset again: {again}",
        )
    return [base.manifest.shards[number].name for number in damaged]


def _repair(
    location: Location,
    source: AnySource,
    base: Store,
    damaged: list[int],
    workers: Workers,
    progress: Progress,
) -> None:
    """Pack shards again, and replace each damaged one."""
    with workspace(location, fresh=False) as space:
        # A directory of its own, because the notes of an unfinished append may be there.
        work = space.work / "repair"
        repaired = work / "shards"
        only = base.manifest.source.images_only or None
        opened = open_again(source, base.manifest)
        given = ClassNumbering(class_map(base.manifest), grows=True)
        listing = make_listing(opened, space.scratch / "listing", given, images_only=only)
        tasks = _tasks(listing, base, damaged, work)
        done = size = 0
        wanted = sum(base.manifest.shards[number].samples for number in damaged)
        try:
            with closing(run_tasks(opener(workers, len(damaged)), pack_shard, tasks, ahead=4)) as every:
                for packed in every:
                    shard = base.manifest.shards[packed.number]
                    receipt = read_receipt(receipt_location(work, packed.number))
                    if receipt is None or receipt.shard != shard:
                        bad = [f"{display(each.key)}: {each.reason}" for each in receipt.bad] if receipt else []
                        raise StoreError(
                            f"{location}/{shard.name}",
                            expected="to come out as the manifest says",
                            found=bad[0] if bad else "other bytes: the source has changed since it was packed",
                            action="The damaged shard was left as it is. Restore the source, or convert again "
                            "with `overwrite`.",
                        )
                    (repaired / shard.name).move(location / shard.name)
                    done += packed.samples
                    size += packed.size
                    progress(done, wanted, size)
        finally:
            work.remove()
            if space.found is None:
                (location / WORK).remove()


def _tasks(listing: Listing, base: Store, damaged: list[int], work: Location) -> Iterator[ShardTask]:
    manifest, index = base.manifest, base.index
    if manifest.settings is None or manifest.kind == "folder":
        raise StoreError(str(base.location), expected="a packed store", found="a folder")
    held = KeyLookup(len(listing), listing.keys)
    ends = np.cumsum([shard.samples for shard in manifest.shards])
    for number in damaged:
        samples = np.arange(int(ends[number]) - manifest.shards[number].samples, int(ends[number]), dtype=np.int64)
        keys = index.keys(samples)
        found = held.find(keys)
        lacking = [display(keys[at]) for at in np.flatnonzero(found == NOWHERE).tolist()]
        if lacking:
            raise DatasetError(
                listing.source.url, expected=f"the images of {manifest.shards[number].name}",
                found=f"{len(lacking):,} missing, {lacking[0]} first", action="Restore them from elsewhere.",
            )  # fmt: skip
        yield ShardTask(
            listing.source,
            work / "shards",
            work,
            manifest.kind,
            manifest.settings,
            "repair",
            number,
            listing.rows(found),
        )
