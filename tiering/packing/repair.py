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
from tiering.packing.listing import Listing
from tiering.packing.receipts import Receipt, read_receipt, receipt_location
from tiering.packing.shard import ShardTask, pack_shard, packing_seconds
from tiering.packing.source_record import images_only_of, list_again, open_again
from tiering.packing.verify import check_index, check_shard_file
from tiering.packing.workspace import UNPACKED, workspace
from tiering.progress import Progress, no_progress
from tiering.sources.labels.numbering import ClassNumbering
from tiering.sources.source import AnySource
from tiering.storage.location import Location
from tiering.storage.scratch import scratch_directory
from tiering.store.layout import WORK, run_file
from tiering.store.manifest import Shard, read_manifest
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
        wrong = {
            number: [
                name
                for name, file in _files_of(base, number).items()
                if file.bytes and any(check_shard_file(location, file, scratch, quick=False))
            ]
            for number in range(len(base.manifest.shards))
        }
    damaged = [number for number, files in wrong.items() if files]
    # The index no longer names the samples that were removed, so their shard cannot come out the same.
    lost = [number for number in damaged if base.manifest.shards[number].removed]
    mendable = [number for number in damaged if number not in lost]
    if mendable:
        _repair(location, source, base, {number: wrong[number] for number in mendable}, workers, progress)
    if lost:
        names = ", ".join(base.manifest.shards[number].name for number in lost)
        # A store behind a URL cannot be replaced.
        output, overwrite = (location, ["--overwrite"]) if location.local else ("URL", [])
        again = command("tiering", "convert", os.fspath(source), output, "--to", base.manifest.kind, *overwrite)
        raise StoreError(
            str(location),
            expected="damaged shards that still have all their samples",
            found=f"{names}, from which samples were removed",
            action=f"All other shards are sound. Convert the dataset again: {again}",
        )
    return [_files_of(base, number)[name].name for number in damaged for name in wrong[number]]


def _files_of(store: Store, number: int) -> dict[str, Shard]:
    """Return the files of one shard: that of the images as "", and those of fields by the name of the field.

    number: its position among the shards.
    """
    runs = {name: run.manifest.shards[number] for name, run in store.runs.items()}
    return {"": store.manifest.shards[number]} | runs


def _sound(name: str, number: int, expected: Shard, receipt: Receipt) -> str | None:
    """Return the name of a packed file that is the expected one, or None if it is not. name: as by _files_of."""
    if not name:
        # Another build of the encoder may give the same bytes, too.
        packed = receipt.shard.model_copy(update={"encoder": expected.encoder})
        return expected.name if packed == expected else None
    file = next((each.files[0] for each in receipt.fields if each.name == name), None)
    if file is None or (file.bytes, file.crc32c) != (expected.bytes, expected.crc32c):
        return None
    return run_file(name, number, file.generation)


def _repair(
    location: Location,
    source: AnySource,
    base: Store,
    damaged: dict[int, list[str]],
    workers: Workers,
    progress: Progress,
) -> None:
    """Pack shards again, and replace each damaged file. damaged: the files of each shard, named as by _files_of."""
    with workspace(location, fresh=False) as space:
        # A directory of its own, because the notes of an unfinished append may be there.
        work = space.work / "repair"
        repaired = work / "shards"
        only = images_only_of(base.manifest.source)
        opened = open_again(source, base.manifest).unpacking_into(work / UNPACKED)
        given = ClassNumbering(class_map(base.manifest), grows=True)
        listing = list_again(
            opened, space.scratch / "listing", given, base.manifest, images_only=only, progress=progress
        )
        tasks = _tasks(listing, base, list(damaged), work)
        position = {shard.number: at for at, shard in enumerate(base.manifest.shards)}
        done = size = 0
        shards = [file for number in damaged for file in _files_of(base, number).values()]
        wanted = sum(base.manifest.shards[number].samples for number in damaged)
        decoded = base.manifest.settings is not None and not base.manifest.settings.original
        seconds = packing_seconds(
            sum(file.samples for file in shards), sum(file.bytes for file in shards), decoded=decoded
        )
        try:
            make = opener(workers, len(damaged), seconds, decoded=decoded)
            with closing(run_tasks(make, pack_shard, tasks, ahead=4)) as every:
                for packed in every:
                    at = position[packed.number]
                    receipt = read_receipt(receipt_location(work, packed.number))
                    files = _files_of(base, at)
                    made = {
                        name: None if receipt is None else _sound(name, packed.number, files[name], receipt)
                        for name in damaged[at]
                    }
                    if lacking := [files[name].name for name, file in made.items() if file is None]:
                        bad = [f"{display(each.key)}: {each.reason}" for each in receipt.bad] if receipt else []
                        raise StoreError(
                            f"{location}/{lacking[0]}",
                            expected="to come out as the manifest says",
                            found=bad[0] if bad else _other(base.manifest.shards[at], receipt),
                            action="The damaged shard was left as it is. Restore the source, or convert again "
                            "with `overwrite`.",
                        )
                    for name, file in made.items():
                        if file is not None:
                            (repaired / file).move(location / files[name].name)
                    done += packed.samples
                    size += packed.size
                    progress(done, wanted, size)
        finally:
            work.remove()
            if space.found is None:
                (location / WORK).remove()


def _other(expected: Shard, receipt: Receipt | None) -> str:
    """Say why a shard came out with other bytes."""
    if receipt is None or receipt.shard.encoder == expected.encoder:
        return "other bytes: the source has changed since it was packed"
    return (
        f"other bytes from another encoder, {receipt.shard.encoder}; with the one that packed it, {expected.encoder},"
        " they come out the same"
    )


def _tasks(listing: Listing, base: Store, damaged: list[int], work: Location) -> Iterator[ShardTask]:
    manifest, index = base.manifest, base.index
    if manifest.settings is None or manifest.kind == "folder":
        raise StoreError(str(base.location), expected="a packed store", found="a folder")
    settings = manifest.settings.lenient
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
            settings,
            "repair",
            manifest.shards[number].number,
            listing.rows(found),
            wanted=manifest.shards[number].crc32c,
        )
