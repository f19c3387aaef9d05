"""The generation that a reader has open: the files of a local store as they were at opening.

An append or a repair changes nothing for an open reader: the files of its generation stay, or are restored byte for
byte. But if another store replaces this one, it has files with the same names, and perhaps the same sizes. So a reader
notes the identity of each file at opening, and compares it before it maps a shard. If it is a different file by then,
its CRC-32C decides whether it is a repaired shard or belongs to another store.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiering.errors import InputError, MachineError, StoreError
from tiering.storage.location import Location
from tiering.store.columns import damaged, descriptor_crc, file_crc
from tiering.store.index import column_location
from tiering.store.layout import run_file
from tiering.store.manifest import Manifest, Shard, read_manifest
from tiering.store.schema import Field

#: Inode, size in bytes, and the change times of contents and inode in ns. Not the device: its number differs between
#: machines that mount it, and workers may run on other machines.
Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class FileIdentities:
    """The identities of a store's shards and columns; None for a file that was not there.

    runs: those of the files that hold the values of each field.
    """

    shards: Sequence[Identity | None]
    columns: Sequence[Identity | None]
    runs: Mapping[str, FileIdentities | None]


class Generation:
    """One generation of a local store, and its files as they were when it was opened.

    seen: the identities that another process saw, to read the same files; by default those of the files now.
    Raises StoreError if the store no longer fits the manifest.
    """

    def __init__(self, location: Location, manifest: Manifest, seen: FileIdentities | None = None) -> None:
        self._location, self._manifest = location, manifest
        self._columns = [column_location(location / manifest.index, name) for name in manifest.columns]
        columns = [look(column) for column in self._columns]
        if seen is None:
            shards = [look(location / shard.name) for shard in manifest.shards]
            seen = FileIdentities(shards, columns, {})
        else:
            self._check_columns(columns, seen)
        self._shards = list(seen.shards)
        self._seen_columns = seen.columns

    @property
    def seen(self) -> FileIdentities:
        """The identities of the files, for another process that should read the same ones, without those of runs."""
        return FileIdentities(tuple(self._shards), tuple(self._seen_columns), {})

    def holds(self, number: int, descriptor: int) -> bool:
        """Return whether an open file is a shard of this generation, byte for byte."""
        found = _identity(os.fstat(descriptor))
        if found == self._shards[number]:
            return True
        if descriptor_crc(descriptor) != self._manifest.shards[number].crc32c:
            return False
        self._shards[number] = found
        return True

    def explain_shard(self, error: StoreError, number: int, descriptor: int | None) -> StoreError:
        """Return the error for a wrong shard, as explain does.

        descriptor: the wrong file; None if there was no file. If the store was replaced twice meanwhile, its manifest
        may be the same again, but the shard is a different file. So look at the shard after the manifest: then no
        replacement fits between the two.
        """
        found = None if descriptor is None else _identity(os.fstat(descriptor))
        explained = explain(self._location, self._manifest, error)
        if look(self._location / self._manifest.shards[number].name) != found:
            return replaced(self._location, "files that change during reading")
        return explained

    def _check_columns(self, columns: list[Identity | None], seen: FileIdentities) -> None:
        """Raise StoreError if a column of the index is not the one that the manifest names."""
        crcs = self._manifest.columns
        for column, found, before, (name, crc) in zip(self._columns, columns, seen.columns, crcs.items(), strict=True):
            if found is None or (found != before and file_crc(Path(column.url)) != crc):
                error = damaged(column, f"the column {name} with the manifest's CRC-32C", "other bytes")
                raise explain(self._location, self._manifest, error)


def explain(location: Location, manifest: Manifest, error: StoreError) -> StoreError:
    """Return an error that says that the store was replaced or purged while it was open, or else the given one."""
    try:
        now = read_manifest(location)
    except (InputError, OSError):
        return replaced(location, "no store there any more")
    except MachineError:
        return error
    if not _continues(now, manifest):
        return replaced(location, "another store")
    ended = any(each.ended for each in now.log if each.generation == manifest.generation)
    return purged(location, manifest.generation, now) if ended else error


def check_lengths(location: Location, manifest: Manifest) -> None:
    """Compare the length of every file of samples and fields with the manifest's.

    Raises StoreError for one that is missing or differs.
    """
    for name, size, _ in [*_shards(manifest), *_runs(manifest)]:
        found = look(location / name)
        if found is None or found[1] != size:
            there = "no such file" if found is None else f"{found[1]:,}"
            raise damaged(location / name, f"{size:,} bytes by the manifest", there)


def replaced(location: Location, found: str) -> StoreError:
    """Return the error for a store that another one has replaced."""
    return StoreError(
        str(location),
        expected="the store that was opened",
        found=found,
        action="It was replaced or removed while it was open. Open it again, and restart the programs that read it.",
    )


def purged(location: Location, generation: int, now: Manifest) -> StoreError:
    """Return the error for a generation that a purge ended. now: the manifest of the last generation."""
    by = next((change.ended for change in now.log if change.generation == generation), None)
    return StoreError(
        str(location),
        expected=f"the files of generation {generation}",
        found="none of some samples: they were purged" + (f" in generation {by}" if by else ""),
        action="Open the store again, and restart the programs that read it.",
    )


def _continues(now: Manifest, before: Manifest) -> bool:
    """Return whether a manifest is of the same store as an earlier one, in the same generation or a later one.

    Files stay, whatever samples a later generation takes out, unless it purges them. before: may be that of a field's
    runs alone.
    """
    same = now.kind == before.kind and now.generation >= before.generation
    later, earlier = {*_shards(now), *_runs(now)}, set(_shards(before))
    if before.generation in {change.generation for change in now.log if change.ended is not None}:
        names = {name for name, *_ in later}
        earlier = {file for file in earlier if file[0] in names}
    return same and earlier <= later


def runs_manifest(manifest: Manifest, field: Field) -> Manifest:
    """Return a manifest of the values of a field instead of the images. A shard without values has no bytes."""
    shards = [
        Shard(
            name=run_file(field.name, shard.number, 1 if file is None else file.generation), samples=shard.samples,
            removed=shard.removed, bytes=file.bytes if file else 0, crc32c=file.crc32c if file else 0,
        )
        for shard, file in zip(manifest.shards, field.files, strict=True)
    ]  # fmt: skip
    settings = manifest.settings and manifest.settings.model_copy(update={"pixels": None})
    return manifest.model_copy(
        update={
            "shards": shards,
            "image_bytes": sum(shard.bytes for shard in shards),
            "settings": settings,
            "columns": {},
            "fields": [],
        }
    )


def _shards(manifest: Manifest) -> list[tuple[str, int, int]]:
    """Return name, bytes and CRC-32C of every shard."""
    return [(shard.name, shard.bytes, shard.crc32c) for shard in manifest.shards if shard.bytes]


def _runs(manifest: Manifest) -> list[tuple[str, int, int]]:
    """Return name, bytes and CRC-32C of every file with values of fields."""
    return [each for field in manifest.fields if field.files for each in _shards(runs_manifest(manifest, field))]


def look(location: Location) -> Identity | None:
    """Return the identity of a local file; None if it is missing, or not local."""
    try:
        return _identity(os.stat(location.url))  # noqa: PTH116 - a third of the time of Path.stat, for every shard
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def _identity(found: os.stat_result) -> Identity:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
