"""open_store: one way to open a packed dataset or a plain directory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tiering.errors import StoreError, UsageError, command
from tiering.storage.location import Location
from tiering.store.chunked_store import ChunkedStore
from tiering.store.generation import check_lengths, look, replaced
from tiering.store.layout import MANIFEST, WORK
from tiering.store.lmdb_format import format_of, refuse_other
from tiering.store.manifest import LARGEST, Manifest, read_kept, read_manifest
from tiering.store.packed_store import PackedStore
from tiering.store.protocol import Store
from tiering.store.zarr_metadata import check_array
from tiering.system.mounts import NETWORK, filesystem_of

#: An unfinished store has at least one of these; a directory of images has none.
_TRACES: Final = (WORK, "index/zarr.json", "shard-00000.mdb", "zarr.json")


#: A manifest names its format near its beginning.
_HEAD: Final = 4096
_MARK: Final = b'"format": "tiering"'

#: How often to retry opening a store that changes meanwhile.
_TIMES: Final = 10


class NetworkFileSystemWarning(UserWarning):
    """A store on a network file system is read through maps."""


def open_store(
    location: str | os.PathLike[str], *, generation: int | None = None, fields: Mapping[str, str] | None = None
) -> Store:
    """Open a dataset for reading: an LMDB or Zarr store, or any other directory as a folder of images.

    Args:
        location: A path or an fsspec URL.
        generation: An earlier generation of a packed store, as tiering.log lists them; by default the last one.
        fields: For a folder of images, patterns of the files of fields in trees of their own, as for tiering.convert.

    Returns:
        The store. Close it, or use it in a `with` block.

    Raises:
        StoreError: The path does not exist, the store is unfinished or damaged, or a shard is missing or has the wrong
            length.
        DatasetError: The directory has no images.
        UsageError: The store does not keep that generation, or is packed and has its fields already.

    Warns:
        NetworkFileSystemWarning: A packed store is on a network file system.

    Example:
        >>> with tiering.open_store("photos.lmdb") as store:  # doctest: +SKIP
        ...     store[0].label
        0
    """
    opened = open_damaged(location, generation, fields)
    if opened.location.local and opened.manifest.kind != "folder":
        check_lengths(opened.location, opened.manifest)
        _check_format(opened.location, opened.manifest)
    return opened


def is_store(location: str | os.PathLike[str]) -> bool:
    """Return whether a path or URL is a packed store, by the beginning of its manifest.

    Raises MachineError if a server does not answer.
    """
    try:
        return _MARK in (Location.of(location) / MANIFEST).read(most=LARGEST)[:_HEAD]
    except (FileNotFoundError, NotADirectoryError, StoreError):  # none, or no regular file of a manifest's size
        return False


def _check_format(store: Location, manifest: Manifest) -> None:
    """Raise StoreError for an LMDB store whose first or last shard LMDB 0.9 cannot read."""
    if manifest.kind == "lmdb":
        for shard in {manifest.shards[0].name, manifest.shards[-1].name}:
            location = store / shard
            if location.local:
                refuse_other(store, str(location), format_of(location.local))


def open_damaged(
    location: str | os.PathLike[str], generation: int | None = None, fields: Mapping[str, str] | None = None
) -> Store:
    """Open a dataset as open_store does, but without checking its shards."""
    store = Location.of(location)
    if store.local and not store.is_directory():
        found = "a file is no store, and no directory of images" if store.exists() else "no such directory"
        raise StoreError(str(location), found=found, action="Check the path.")
    folder = not any((store / name).exists() for name in (MANIFEST, *_TRACES)) and store.is_directory()
    if folder:
        if generation is not None:
            raise UsageError(
                "generation", expected="a packed store, which has generations", found=f"a directory of images, {store}"
            )
        # Imported here: a machine that only serves packed stores needs no Polars.
        from tiering.store.folder_store import FolderStore  # noqa: PLC0415

        return FolderStore(store, fields=fields)
    if fields:
        raise UsageError(
            "fields", expected="a folder of images", found=f"a packed store, {store}, which has its fields already"
        )
    for _ in range(_TIMES):
        before = look(store / MANIFEST)
        try:
            opened = open_packed(store, _manifest_of(store, generation))
        except StoreError:
            if look(store / MANIFEST) == before:
                raise
        else:
            # If the manifest has not changed meanwhile, the files belong to it. Otherwise open the store again.
            if look(store / MANIFEST) == before:
                return opened
    raise replaced(store, "other stores, again and again during opening")


def _manifest_of(store: Location, generation: int | None) -> Manifest:
    """Return the manifest of a generation, by default of the last one. Raises UsageError if the store lacks it."""
    last = read_manifest(store)
    if generation is None or generation == last.generation:
        return last
    change = next((change for change in last.log if change.generation == generation), None)
    if change is not None and change.ended is not None:
        found = f"{generation}, which the purge of generation {change.ended} ended"
    elif change is not None and (kept := read_kept(store, generation)) is not None:
        return kept
    else:
        found = f"{generation}, which it does not keep"
    there = [change.generation for change in last.log if change.ended is None] or [last.generation]
    raise UsageError(
        "generation", rule=f"must be one of those that {store} keeps ({', '.join(map(str, there))})", found=found,
        action=f"To list them: {command('tiering', 'log', store)}",
    )  # fmt: skip


def open_packed(store: Location, manifest: Manifest) -> Store:
    """Open a finished store with a manifest that was already read."""
    settings = manifest.settings
    if manifest.kind == "folder" or settings is None:
        raise StoreError(str(store), expected="a manifest of kind lmdb or zarr", found=manifest.kind)
    check_array(store, manifest)
    if store.local:
        _warn_of_network(store.local)
    chunked = manifest.kind == "zarr" and settings.codec != "none"
    return (ChunkedStore if chunked else PackedStore)(store, manifest, settings)


def _warn_of_network(path: Path) -> None:
    """Warn if a path is on a network file system, and say what to do instead."""
    kind = filesystem_of(path)
    if kind in NETWORK:
        warnings.warn(
            f"{path} is on a network file system ({kind}). Shards are mapped, so every page fault is a request, and "
            "the reader dies if the server goes away. Copy the store to a local disk, or keep it in an object store.",
            NetworkFileSystemWarning,
            stacklevel=3,
        )
