"""The sound things that are attacked: stores of each kind, one with an unfinished append, and one with a cache."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import tiering
from tiering.errors import DatasetError

FIXTURES = Path(__file__).parent.parent.parent / "fixtures" / "images"

#: Name of a base -> how it is packed. The last part is the codec.
KINDS = {
    "lmdb": {"to": "lmdb"},
    "zarr": {"to": "zarr", "codec": "none"},
    "gzip": {"to": "zarr", "codec": "gzip"},
    "zstd": {"to": "zarr", "codec": "zstd"},
    "lz4": {"to": "zarr", "codec": "lz4"},
    "blosc": {"to": "zarr", "codec": "blosc-zstd"},
    "pixels": {"to": "zarr", "codec": "zstd", "pixels": tiering.Pixels(48, 64)},
}


def make(root: Path) -> None:
    """Make every base below root, and beside them the images that are appended, and what each store holds."""
    photos = root / "photos"
    for folder in sorted(FIXTURES.iterdir())[:2]:
        (photos / folder.name).mkdir(parents=True)
        for image in sorted(folder.iterdir(), key=lambda path: path.stat().st_size)[:6]:
            shutil.copy(image, photos / folder.name)
    more = root / "more" / min(FIXTURES.iterdir()).name
    more.mkdir(parents=True)
    for number, image in enumerate(sorted(photos.rglob("*.jpg"))[:2]):
        shutil.copy(image, more / f"new-{number}.jpg")
    for name, how in KINDS.items():
        store = root / "bases" / name / "store"
        store.parent.mkdir(parents=True)
        with ThreadPoolExecutor(1) as executor:
            tiering.convert(photos, store, **how, shards=tiering.Shards(40_000), workers=executor)
        opened = tiering.open_store(store)
        images = [bytes(image) for image in opened.read(np.arange(len(opened)))]
        np.savez(root / "bases" / name / "holds.npz", *[np.frombuffer(image, np.uint8) for image in images])
    unfinished(root)
    with_cache(root)


def unfinished(root: Path) -> None:
    """Leave a store with an append that ended with its shards packed, because one image is none."""
    base = root / "bases" / "unfinished"
    shutil.copytree(root / "bases" / "lmdb", base)
    (root / "more" / "bad.jpg").write_bytes(b"no image")
    try:
        with ThreadPoolExecutor(1) as executor:
            tiering.append(root / "more", base / "store", workers=executor)
    except DatasetError:
        pass
    assert list((base / "store" / ".tiering").glob("*.npz"))


def with_cache(root: Path) -> None:
    """Leave a store with a cache that holds all of it."""
    base = root / "bases" / "cache"
    shutil.copytree(root / "bases" / "lmdb", base)
    with_it = tiering.cached(base / "store", "4MB", base / "cache")
    with_it.read(np.arange(len(with_it)))
    with_it.close()
