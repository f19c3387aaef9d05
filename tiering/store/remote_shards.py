"""The shard files of a store: mapped if they are local, fetched by many parallel requests if they are remote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tiering.arrays import IndexArray
from tiering.errors import StoreError
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
        """Fetch ranges without checking them. The caller compares their CRC-32C.

        Raises StoreError if a shard is gone, MachineError if the server is.
        """
        locations = [self._store / self._shards[number].name for number in file.tolist()]
        try:
            found = self._store.ranges(locations, offset.tolist(), (offset + size).tolist())
        except FileNotFoundError as error:
            raise damaged(self._store, "all shards of the manifest", str(error)) from error
        return found

    def announce(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> None:
        """Do nothing: the page cache does not hold data behind a URL."""

    def resident(self) -> bool:
        """Return True: there is never anything to announce."""
        return True

    def close(self) -> None:
        """Do nothing: no file stays open."""


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
