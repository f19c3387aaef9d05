"""Shard files behind an address: byte ranges of them, fetched many requests at a time."""

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
        """Return the bytes of ranges, in the order asked for."""
        ...

    def announce(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> None:
        """Tell that ranges will be wanted soon."""
        ...

    def resident(self) -> bool:
        """Tell whether there is nothing to announce."""
        ...

    def close(self) -> None:
        """Let go of whatever is open."""
        ...


class RemoteFiles:
    """Shards at a URL: every call fetches its ranges side by side."""

    def __init__(self, store: Location, shards: Sequence[Shard]) -> None:
        self.paths: list[Path] = []
        self._store = store
        self._shards = list(shards)

    def views(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> list[bytes]:
        """Fetch ranges without checking them: the caller knows their CRC-32Cs.

        Raises StoreError if a shard is gone, MachineError if the server is.
        """
        locations = [self._store / self._shards[number].name for number in file.tolist()]
        try:
            found = self._store.ranges(locations, offset.tolist(), (offset + size).tolist())
        except FileNotFoundError as error:
            raise damaged(self._store, "all shards of the manifest", str(error)) from error
        return found

    def announce(self, file: IndexArray, offset: IndexArray, size: IndexArray) -> None:
        """Do nothing: there is no page cache over a URL."""

    def resident(self) -> bool:
        """Return True: there is no page cache over a URL to announce anything to."""
        return True

    def close(self) -> None:
        """Do nothing: no file stays open."""


class ShardMaps(MappedFiles):
    """Mapped shards on a local file system: only those of the generation that was opened."""

    def __init__(self, location: Path, shards: Sequence[Shard], generation: Generation) -> None:
        super().__init__([location / shard.name for shard in shards], [shard.bytes for shard in shards])
        self._generation = generation

    def check(self, number: int, descriptor: int) -> None:
        """Raise StoreError for a file that is neither the shard that was there at opening, nor that shard repaired."""
        super().check(number, descriptor)
        if not self._generation.holds(number, descriptor):
            raise self.wrong(number, "other bytes, with another CRC-32C", descriptor)

    def wrong(self, number: int, found: str, descriptor: int | None = None) -> StoreError:
        """Return the error for a shard that is damaged, or belongs to another store."""
        return self._generation.explain_shard(super().wrong(number, found), number, descriptor)


def shard_files(store: Location, shards: Sequence[Shard], generation: Generation | None) -> ShardFiles:
    """Return access to a store's shards: mapped where they are local, fetched where they are not.

    generation: of a local store.
    """
    local = store.local
    if local is None or generation is None:
        return RemoteFiles(store, shards)
    return ShardMaps(local, shards, generation)
