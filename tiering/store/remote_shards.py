"""The shard files of a store: mapped if they are local, fetched by many parallel requests if they are remote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from tiering.arrays import IndexArray
from tiering.errors import StoreError
from tiering.io_sizes import BLOCK_BYTES, JOINED_GAP_BYTES
from tiering.storage.location import Location
from tiering.store.columns import damaged
from tiering.store.generation import Generation
from tiering.store.manifest import Shard
from tiering.store.mapped_files import MappedFiles


class ShardFiles(Protocol):
    """Byte ranges of the files of a store."""

    paths: list[Path]

    def views(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> Sequence[bytes | memoryview]:
        """Return the bytes of ranges in the given order."""
        ...

    def announce(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> None:
        """Announce that ranges will be read soon."""
        ...

    def resident(self) -> bool:
        """Return whether there is nothing to announce."""
        ...

    @property
    def held(self) -> bool:
        """Whether there was nothing to announce a moment ago. Asking costs nothing."""
        ...

    def close(self) -> None:
        """Close files and maps."""
        ...


class RemoteFiles:
    """Shards behind a URL. Every call fetches its ranges in parallel."""

    def __init__(self, store: Location, shards: Sequence[Shard]) -> None:
        self.paths: list[Path] = []
        self._store = store
        self._shards = list(shards)

    def views(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> list[bytes]:
        """Fetch ranges without checking them, neighbours with requests of about 8 MiB.

        The caller compares their CRC-32C.

        Raises StoreError if a shard is gone, MachineError if the server is.
        """
        if not len(file):
            return []
        order = np.lexsort((offset, file))
        number, begin, end = file[order], offset[order], (offset + size)[order]
        request = _joined(number, begin, end)
        first = np.flatnonzero(np.diff(request, prepend=-1))
        locations = [self._store / self._shards[each].name for each in number[first].tolist()]
        begins, ends = begin[first], np.maximum.reduceat(end, first)
        try:
            found = self._store.ranges(locations, begins.tolist(), ends.tolist())
        except FileNotFoundError as error:
            raise damaged(self._store, "all shards of the manifest", str(error)) from error
        if len(found) == len(file):  # one range each
            parts = found
        else:
            # Slices of bytes are copies, so no sample keeps the whole response alive.
            within = (begin - begins[request]).tolist(), (end - begins[request]).tolist()
            parts = [found[nth][start:stop] for nth, start, stop in zip(request.tolist(), *within, strict=True)]
        views = [b""] * len(parts)
        for at, part in zip(order.tolist(), parts, strict=True):
            views[at] = part
        return views

    def announce(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> None:
        """Do nothing: the page cache does not hold data behind a URL."""

    def resident(self) -> bool:
        """Return True: there is never anything to announce."""
        return True

    @property
    def held(self) -> bool:
        """True: there is never anything to announce."""
        return True

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _joined(file: IndexArray, begin: IndexArray, end: IndexArray) -> IndexArray:
    """Return the request, from 0, that each range belongs to: neighbours are cut into requests of about 8 MiB.

    The pieces of a run are equally long, at most 12 MiB plus one range. The files of a store hold a few percent more
    than its samples, so a block of 8 MiB of samples is a little longer. Cut at 8 MiB, it would be two requests.

    Args:
        file: int64 (n,), with begin and end in bytes: the ranges, by file and then by begin.
        begin: int64 (n,).
        end: int64 (n,).
    """
    # Lay the files end to end with more than a gap between them. Then one running maximum serves all of them.
    shift = file * (int(end.max()) + 2 * JOINED_GAP_BYTES)
    reach = np.maximum.accumulate(end + shift)
    apart = np.concatenate([[True], begin[1:] + shift[1:] > reach[:-1] + JOINED_GAP_BYTES])
    firsts = np.flatnonzero(apart)
    run = np.cumsum(apart) - 1
    length = np.maximum.reduceat(end, firsts) - begin[firsts]
    piece = -(-length // np.maximum(1, np.rint(length / BLOCK_BYTES).astype(np.int64)))
    cut = np.diff((begin - begin[firsts][run]) // np.maximum(1, piece)[run], prepend=0) != 0
    return np.cumsum(apart | cut) - 1


class ShardMaps(MappedFiles):
    """Mapped shards of a local store, only those of the generation that was opened."""

    def __init__(self, location: Path, shards: Sequence[Shard], generation: Generation) -> None:
        super().__init__([location / shard.name for shard in shards], [shard.bytes for shard in shards])
        self._generation = generation

    def check(self, number: int, descriptor: int) -> None:
        """Raise StoreError for a file that is neither the shard that was opened nor that shard after a repair."""
        super().check(number, descriptor)
        if not self._generation.holds(number, descriptor):
            raise self.wrong(number, "other bytes, with another CRC-32C", descriptor)

    def wrong(self, number: int, found: str, descriptor: int | None = None) -> StoreError:
        """Return the error for a shard that is damaged, or belongs to another store."""
        return self._generation.explain_shard(super().wrong(number, found), number, descriptor)


def shard_files(store: Location, shards: Sequence[Shard], generation: Generation | None) -> ShardFiles:
    """Return the shard files of a store. generation: of a local store."""
    local = store.local
    if local is None or generation is None:
        return RemoteFiles(store, shards)
    return ShardMaps(local, shards, generation)
