"""Where samples are in files, for a trace of what was read."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from tiering.arrays import IndexArray
from tiering.store.concat import ConcatStore
from tiering.store.folder_fields import CellValues
from tiering.store.joined_fields import JoinedRuns
from tiering.store.joined_index import parts_of
from tiering.store.protocol import Store
from tiering.store.selection import Selection
from tiering.trace.recorded_reads import Places


def places_of(stores: Sequence[Store], batches: Sequence[IndexArray]) -> list[Places]:
    """Return where samples are in several stores of the same samples, such as images and their masks.

    A plain folder has a file for each sample, and a packed store a byte range of a shard. Compressed chunks hold
    several samples, or a part of one, so their samples are byte ranges of the store's uncompressed array. Samples of a
    cache are where its origin has them. Values in tables of metadata are in memory: they have no bytes to read.

    Args:
        stores: A store, and runs of its fields.
        batches: int64 (n,) each, numbers of samples.
    """
    indices = np.concatenate([np.asarray(batch, np.int64) for batch in batches])
    return [_places(store, indices) for store in stores]


def _places(store: Store, indices: IndexArray) -> Places:
    if isinstance(store, Selection):
        return _places(store.origin, store.in_origin(indices))
    if isinstance(store, ConcatStore | JoinedRuns):
        return _joined(store, indices)
    if (origin := getattr(store, "origin", None)) is not None:  # of a cache
        return _places(origin, indices)
    size, none = np.asarray(store.index.size[indices], np.int64), np.zeros(len(indices), np.int64)
    if store.manifest.kind == "folder":
        if isinstance(store, CellValues):
            size = none
        # Without `/`, which checks each name: the names are those of files that were found.
        keys, root = store.index.keys(indices), f"{store.location}/"
        return Places([root + os.fsdecode(key) for key in keys], np.arange(len(indices)), none, size, none == 0)
    if (ranges := store.byte_ranges(indices)) is not None:
        shards = [str(store.location / shard.name) for shard in store.manifest.shards]
        return Places(shards, ranges.file, ranges.offset, ranges.size, none != 0)
    return Places([str(store.location)], none, np.asarray(store.index.offset[indices], np.int64), size, none != 0)


def _joined(store: ConcatStore | JoinedRuns, indices: IndexArray) -> Places:
    paths: list[str] = []
    file, offset, size = (np.zeros(len(indices), np.int64) for _ in range(3))
    found = Places(paths, file, offset, size, np.zeros(len(indices), np.bool_))
    for part, at, numbers in parts_of(store.begins, indices):
        if (inner := store.parts[part]) is not None:
            places = _places(inner, numbers)
            found.file[at] = places.file + len(paths)
            found.offset[at], found.size[at], found.opens[at] = places.offset, places.size, places.opens
            paths += places.paths
    return found
