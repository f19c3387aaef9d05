"""Stores in small shards, and what they hold, for tests that change them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

import tiering

#: The format and the options of each kind of store.
WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lmdb": ("lmdb", {}),
    "zarr": ("zarr", {"codec": "none"}),
    "zstd": ("zarr", {"codec": "zstd"}),
    "pixels": ("zarr", {"pixels": tiering.Pixels(24, 32), "codec": "none"}),
}


def first_classes(photos: Path, place: Path, classes: int) -> Path:
    """A copy of the first few classes, of 30 images each, which a test may change."""
    for name in sorted(os.listdir(photos))[:classes]:
        shutil.copytree(photos / name, place / "photos" / name)
    return place / "photos"


def pack(source: Path, kind: Any, **how: Any) -> Path:
    """Pack a dataset into several shards beside it."""
    store = source.with_name("store")
    tiering.convert(source, store, kind, shards=tiering.Shards(50_000), workers=1, **how)
    return store


def keys(store: tiering.Store) -> list[bytes]:
    """The keys of all samples."""
    return store.index.keys(np.arange(len(store)))


def everything(store: tiering.Store) -> dict[bytes, bytes]:
    """The bytes of every sample, by key."""
    return dict(zip(keys(store), map(bytes, store.read(np.arange(len(store)))), strict=True))
