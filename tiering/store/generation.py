"""The generation that a reader keeps: the files of a local store as opening saw them.

An append or a repair changes nothing for a reader that is open: the files of its generation stay, or come back byte for
byte. A store that is put in the place of another one has files of the same names, and maybe of the same sizes. So a
reader notes at opening which files there are, and compares each shard with that before it maps it. A file that is
another one by then is known by its CRC-32C: it is a shard that was repaired, or none of this store.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tiering.errors import InputError, MachineError, StoreError
from tiering.storage.location import Location
from tiering.store.columns import damaged, descriptor_crc, file_crc
from tiering.store.index import column_place
from tiering.store.manifest import Manifest, read_manifest

#: Inode, bytes, and the times of change of contents and of the inode in ns. Not the device: it has another number on
#: every machine that mounts it, and workers may be there.
Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """The identities of a store's shards and columns; None for a file that was not there."""

    shards: Sequence[Identity | None]
    columns: Sequence[Identity | None]


class Generation:
    """One generation of a local store, and its files as they were when it was opened.

    seen: what the process saw that opened the store, where this one was told to read the same; by default the files
    are looked at now.
    Raises StoreError where the store is no longer the manifest's.
    """

    def __init__(self, place: Location, manifest: Manifest, seen: Seen | None = None) -> None:
        self._place, self._manifest = place, manifest
        self._columns = [column_place(place / manifest.index, name) for name in manifest.columns]
        columns = [look(column) for column in self._columns]
        if seen is None:
            seen = Seen([look(place / shard.name) for shard in manifest.shards], columns)
        else:
            self._check_columns(columns, seen)
        self._shards = list(seen.shards)
        self._seen_columns = seen.columns

    @property
    def seen(self) -> Seen:
        """What another process needs to know, to read the same files."""
        return Seen(tuple(self._shards), tuple(self._seen_columns))

    def holds(self, number: int, descriptor: int) -> bool:
        """Tell whether an open file is a shard of this generation, byte for byte."""
        found = _identity(os.fstat(descriptor))
        if found == self._shards[number]:
            return True
        if descriptor_crc(descriptor) != self._manifest.shards[number].crc32c:
            return False
        self._shards[number] = found
        return True

    def explain(self, error: StoreError) -> StoreError:
        """Return why a file is not what it should be: the store was replaced, or else the error as it is."""
        return explain(self._place, self._manifest, error)

    def explain_shard(self, error: StoreError, number: int, descriptor: int | None) -> StoreError:
        """Return why a shard is not what it should be, as explain does.

        descriptor: the file that was found wrong; None where there was none. A shard that is another file by now was
        found in the midst of a replacement, even where the manifest is one of the same store again.
        """
        found = None if descriptor is None else _identity(os.fstat(descriptor))
        if look(self._place / self._manifest.shards[number].name) != found:
            return replaced(self._place, "files that change while they are read")
        return self.explain(error)

    def _check_columns(self, columns: list[Identity | None], seen: Seen) -> None:
        """Make sure that the index is the one that the manifest names."""
        crcs = self._manifest.columns
        for column, found, before, (name, crc) in zip(self._columns, columns, seen.columns, crcs.items(), strict=True):
            if found is None or (found != before and file_crc(Path(column.url)) != crc):
                error = damaged(column, f"the column {name} with the manifest's CRC-32C", "other bytes")
                raise self.explain(error)


def explain(place: Location, manifest: Manifest, error: StoreError) -> StoreError:
    """Return why what a store holds is not what an open reader expects: it was replaced, or else the error as it is."""
    try:
        now = read_manifest(place)
    except (InputError, OSError):
        return replaced(place, "no store there any more")
    except MachineError:
        return error
    return error if _continues(now, manifest) else replaced(place, "another one in its place")


def check_lengths(place: Location, manifest: Manifest) -> None:
    """Compare the length of every shard with the manifest's. Raises StoreError for one that is missing or differs."""
    for shard in manifest.shards:
        found = look(place / shard.name)
        if found is None or found[1] != shard.bytes:
            there = "no such file" if found is None else f"{found[1]:,}"
            raise damaged(place / shard.name, f"{shard.bytes:,} bytes by the manifest", there)


def replaced(place: Location, found: str) -> StoreError:
    """Return the error for a store that another one took the place of."""
    return StoreError(
        str(place),
        expected="the store that was opened",
        found=found,
        action="It was replaced or removed while it was open: open it again, and start what reads it anew.",
    )


def _continues(now: Manifest, before: Manifest) -> bool:
    """Tell whether a manifest is of the same store as an earlier one, of its generation or a later one."""
    same = (now.kind, now.settings) == (before.kind, before.settings) and now.generation >= before.generation
    return same and _files(now)[: len(before.shards)] == _files(before)


def _files(manifest: Manifest) -> list[tuple[str, int, int]]:
    """Return name, bytes and CRC-32C of every shard: they stay, whatever samples a later generation takes out."""
    return [(shard.name, shard.bytes, shard.crc32c) for shard in manifest.shards]


def look(place: Location) -> Identity | None:
    """Return the identity of a local file; None where it is not there, or not local."""
    try:
        return _identity(os.stat(place.url))  # noqa: PTH116 - a third of the time of Path.stat, for every shard
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def _identity(found: os.stat_result) -> Identity:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
