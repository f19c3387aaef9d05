"""The earlier generations of a store that can still be opened, and what is wrong with their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tiering.errors import StoreError, TieringError
from tiering.storage.location import Location
from tiering.store.changes import change_of
from tiering.store.columns import sound_bytes, sound_file
from tiering.store.generation import runs_manifest
from tiering.store.index import column_location
from tiering.store.layout import is_left_out, kept_manifest_name
from tiering.store.manifest import Manifest, read_kept
from tiering.store.protocol import Store


def alive(manifest: Manifest) -> set[int]:
    """Return the generations that can be opened, the last one included."""
    return {each.generation for each in manifest.log or [change_of(manifest)] if each.ended is None}


def earlier_manifests(store: Store) -> Iterator[Manifest]:
    """Yield the manifests of the earlier generations. Raises StoreError if one is missing or damaged."""
    for generation in sorted(alive(store.manifest) - {store.manifest.generation}):
        found = read_kept(store.location, generation)
        if found is None:
            raise StoreError(
                f"{store.location}/{kept_manifest_name(generation)}",
                found="the manifest of an earlier generation is missing",
                action="The store is damaged or its copy incomplete: copy it again, with all its files.",
            )  # fmt: skip
        yield found


def generation_problems(store: Store, scratch: Path, *, quick: bool) -> Iterator[str]:
    """Yield the problems of manifests, indexes and fields of earlier generations. Their shards are in the last one too.

    scratch: a local directory. quick: only read the manifests, and look whether the other files are there.
    """
    shards = {shard.name: (shard.bytes, shard.crc32c) for shard in store.manifest.shards}
    try:
        for manifest in earlier_manifests(store):
            name = kept_manifest_name(manifest.generation)
            if any(shards.get(shard.name) != (shard.bytes, shard.crc32c) for shard in manifest.shards):
                yield f"{name}: shards that the last generation does not have"
            yield from _index_problems(store, manifest, scratch, quick=quick)
    except TieringError as error:
        yield str(error)


def _index_problems(store: Store, manifest: Manifest, scratch: Path, *, quick: bool) -> Iterator[str]:
    index = store.location / manifest.index
    files = {column_location(index, name): crc for name, crc in manifest.columns.items()}
    # Values that a relabel replaced.
    replaced = set(_runs(manifest)) - set(_runs(store.manifest))
    files |= {store.location / name: crc for name, crc in replaced}
    known = store.manifest.documents
    documents = {name: crc for name, crc in manifest.documents.items() if name not in known and not is_left_out(name)}
    for location, crc in (files | {store.location / name: crc for name, crc in documents.items()}).items():
        name = location.url.removeprefix(store.location.url).lstrip("/")
        try:
            if quick:
                problem = None if location.exists() else "missing"
            else:
                column = scratch / "column" if location in files else None
                problem = None if _is_sound(location, crc, column) else "its CRC-32C is not that of its manifest"
        except FileNotFoundError:
            problem = "missing"
        if problem:
            yield f"{name}: {problem}"


def _is_sound(location: Location, crc: int, column: Path | None) -> bool:
    """Return whether a file has its CRC-32C. column: where to download it; None reads a small file into memory."""
    return (sound_bytes(location, crc) if column is None else sound_file(location, column, crc)) is not None


def _runs(manifest: Manifest) -> Iterator[tuple[str, int]]:
    """Yield name and CRC-32C of every file with values of fields."""
    for field in manifest.fields:
        for file in runs_manifest(manifest, field).shards if field.files else ():
            if file.bytes:
                yield file.name, file.crc32c
