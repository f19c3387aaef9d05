"""open_store: one way to open a packed dataset or a plain directory."""

from __future__ import annotations

from pathlib import Path

from tiering.errors import StoreError
from tiering.store.base import MANIFEST, Store, read_manifest
from tiering.store.folder import FolderStore
from tiering.store.index import INDEX
from tiering.store.lmdb import open_lmdb
from tiering.store.zarr import open_zarr

#: The first file of any store: what an unfinished one can be told by.
_TRACES = (INDEX, "shard-00000.mdb", "zarr.json")


def open_store(path: str | Path) -> Store:
    """Open a dataset for reading: an LMDB or Zarr store by its manifest, any other directory as a folder of images.

    Raises StoreError for an unfinished or damaged store or a missing path, DatasetError for a directory with no image.
    """
    place = Path(path)
    if not place.is_dir():
        found = "a file" if place.exists() else "no such directory"
        raise StoreError(str(place), expected="a store or a directory of images", found=found, action="Check the path.")
    if not (place / MANIFEST).exists() and not any((place / name).exists() for name in _TRACES):
        return FolderStore(place)
    manifest = read_manifest(place)
    if manifest.kind == "lmdb":
        return open_lmdb(place, manifest)
    if manifest.kind == "zarr":
        return open_zarr(place, manifest)
    raise StoreError(str(place), expected="a manifest of kind lmdb or zarr", found=manifest.kind)
