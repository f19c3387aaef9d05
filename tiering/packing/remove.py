"""Remove: takes samples out of a finished store.

By default the next index does not name them, and their bytes stay in their shards: this is fast, and earlier
generations can still be opened. A purge packs the rest of their shards again, under new numbers, and deletes the old
files (packing/purge.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tiering.arrays import MaskArray, row_parts
from tiering.errors import UsageError, command
from tiering.packing.changing import remove_ended
from tiering.packing.executors import Workers
from tiering.packing.generations import OpenChange, changing
from tiering.packing.kept_generation import KeptSamples
from tiering.packing.original_fields import original_sizes
from tiering.packing.purge import concerned_shards, ended_generations, purge_shards
from tiering.packing.removed_keys import RemovedKeys
from tiering.packing.wanted_keys import Keys, WantedKeys, read_keys
from tiering.progress import Progress, no_progress
from tiering.sources.account import Account
from tiering.sources.left_out import REMOVED, Tally
from tiering.storage.location import Location
from tiering.store.manifest import Manifest
from tiering.store.protocol import Store

if TYPE_CHECKING:
    import polars as pl

#: How many keys to list that the store lacks.
_LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class Removed:
    """The result of a removal.

    Attributes:
        manifest: The manifest of the store. It is the old one if there was nothing to do.
        removed: Number of samples that were taken out of the store.
        purged: Number of samples whose bytes were deleted, those that were removed before included.
        rewritten: Names of the new shards, which hold the other samples of the purged ones.
        deleted_bytes: Bytes of the shards that were deleted, less those of the new ones.
        ended: Generations that can no longer be opened, because they named purged samples.
        unknown: Number of keys that the store lacks.
        unknown_keys: The first hundred of these keys.
        may_remain: After a purge: where copies of the samples may still be, and how to remove them.
    """

    manifest: Manifest
    removed: int
    purged: int
    rewritten: list[str]
    deleted_bytes: int
    ended: list[int]
    unknown: int
    unknown_keys: list[str]
    may_remain: list[str]


def remove(
    store: str | os.PathLike[str],
    keys: Keys | None = None,
    *,
    where: str | pl.Expr | None = None,
    purge: bool = False,
    workers: Workers = None,
    progress: Progress = no_progress,
) -> Removed:
    """Take samples out of a store, as a new generation.

    Open readers keep the generation that they opened. Appends leave the samples out, although the source may still have
    them. Without `purge`, no shard is written, and the bytes of the samples stay in their shards. With `purge`, the
    shards that hold such samples in any generation are packed again without them, the old files are deleted, and
    generations that named them end. A reader that has a purged shard mapped can still read it; any other is refused.
    If a purge is killed or interrupted, call it again with the same arguments: it continues where it stopped. Any other
    change of the store undoes it first.

    Args:
        store: A finished store, its path or URL.
        keys: A file with one key a line, or a list of keys, as Sample.key has them. None with `purge` deletes the bytes
            of all samples that were removed before.
        where: A condition, as for Store.select: an SQL condition or a Polars expression. Removes its samples too.
        purge: Delete the bytes of the samples.
        workers: As for tiering.convert, for the shards that a purge packs again.
        progress: Called with the samples packed again, all of them, and their bytes.

    Returns:
        What was removed, in counts, and the manifest.

    Raises:
        DatasetError: There is no file of keys.
        StoreError: There is no finished store, or a shard is damaged.
        UsageError: No sample would be left, `where` holds for none, or an append to the store is unfinished.

    Example:
        >>> tiering.remove("photos.lmdb", ["cat/1.jpg"], purge=True).purged  # doctest: +SKIP
        1
    """
    if keys is None and where is None and not purge:
        raise UsageError("keys", rule="needs the keys of the samples to remove, or `where`")
    with changing(Location.of(store), purges=purge) as change:
        base = change.base
        given = () if keys is None else read_keys(keys)
        wanted = WantedKeys(chain(given, () if where is None else _keys_where(base, where)))
        there = ~wanted.among(base.index)
        if not there.any():
            raise UsageError(
                str(base.location), found="these are the keys of all samples",
                action="To remove all of them, delete the store.",
            )  # fmt: skip
        removed = len(base) - int(np.count_nonzero(there))
        if purge:
            everything = keys is None and where is None
            return _purged(change, wanted, there, removed, workers, progress, everything=everything)
        manifest = base.manifest
        if removed:
            change.begin("remove")
            kept = KeptSamples(base, there)
            update = {"shards": kept.shards, **_remembered(change, wanted), **_accounted(base, removed, there)}
            manifest = change.write("remove", {"removed": removed}, kept.parts(manifest.fields), **update)
        unknown, listed = wanted.missing(_LISTED)
        return Removed(manifest, removed, 0, [], 0, [], unknown, listed, [])


def _keys_where(store: Store, where: str | pl.Expr) -> Iterator[bytes]:
    chosen = store.select(where)
    for rows in row_parts(len(chosen)):
        yield from chosen.index.keys(rows)


def _purged(
    change: OpenChange,
    wanted: WantedKeys,
    there: MaskArray,
    removed: int,
    workers: Workers,
    progress: Progress,
    *,
    everything: bool,
) -> Removed:
    base, before = change.base, change.manifest
    kept = KeptSamples(base, there)
    concerned = concerned_shards(base, kept, wanted, everything=everything)
    ended = ended_generations(base, concerned)
    manifest, purged = before, 0
    rewritten: list[str] = []
    if concerned:

        def update() -> dict[str, Any]:
            return _remembered(change, wanted) | (_accounted(base, removed, there) if removed else {})

        manifest, purged, rewritten = purge_shards(change, kept, concerned, ended, update, workers, progress)
    # Also after a purge that was killed before it had deleted everything.
    remove_ended(base.location, manifest)
    unknown, listed = wanted.missing(_LISTED)
    size = [sum(shard.bytes for shard in each.shards) for each in (before, manifest)]
    remains = where_copies_remain(base.location, before) if concerned else []
    return Removed(manifest, removed, purged, rewritten, size[0] - size[1], ended, unknown, listed, remains)


def _remembered(change: OpenChange, wanted: WantedKeys) -> dict[str, Any]:
    """Write the list of removed samples, so that an append does not pack them again."""
    store, manifest, work = change.space.target, change.manifest, change.space.work
    keys = wanted.there()
    if not keys:
        return {"documents": manifest.documents}
    return {"documents": RemovedKeys.of(store, manifest).written(keys, store, manifest, work)}


def _accounted(base: Store, removed: int, there: MaskArray) -> dict[str, Any]:
    """Return the account of a store without some samples, as fields of the manifest.

    What they have in the source is known, except for pixels: there the mean of all samples is taken.
    """
    account = base.manifest.account
    if account is None:
        return {}
    sizes = original_sizes(base)
    size = account.packed_bytes * removed // max(1, account.packed) if sizes is None else int(sizes[~there].sum())
    left_out = account.tallies
    tally = left_out.kinds.setdefault(REMOVED, Tally())
    tally.count += removed
    tally.size += size
    tally.examples = []
    return {"account": Account.of(account.packed - removed, account.packed_bytes - size, left_out)}


def where_copies_remain(store: Location, manifest: Manifest) -> list[str]:
    """Return sentences that say where purged samples may still be, and how to remove them there."""
    clear = command("tiering", "cache", "clear", store)
    found = [
        f"The source, {manifest.source.url}: delete them there too. An append to this store leaves them out.",
        "Copies and replicas of the store: run the same command on each, or copy the store again.",
        f"Caches of the store, on every machine that has one: {clear}",
        "Programs that have the store open: the disk space is freed when they end.",
        "Exports of the store, backups, and snapshots of its file system.",
    ]
    if store.local is None:
        found.append(
            "The bucket, if it keeps earlier versions of objects: delete the noncurrent versions below the URL."
        )
    return found
