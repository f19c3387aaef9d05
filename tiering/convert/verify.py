"""Verify a store against its manifest and its source."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np
import polars as pl

from tiering.dataset.scan import Scan, scan
from tiering.errors import StoreError, TieringError
from tiering.store.base import IndexArray, Store
from tiering.store.index import COLUMNS, column_crc, column_path
from tiering.store.lmdb import check_shard
from tiering.store.open import open_store
from tiering.store.packed import PackedStore

_BATCH: Final = 1024
_KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Verification:
    """What verify found: sizes in bytes; problems holds the first hundred of problem_count."""

    store: str
    samples: int
    image_bytes: int
    source: str | None
    problem_count: int
    problems: list[str]

    @property
    def ok(self) -> bool:
        """Whether the store holds exactly what it should."""
        return self.problem_count == 0


def verify(
    store: str | Path, *, source: str | Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Check every shard, every column and the CRC-32C of every sample; with a source, every byte against it.

    store: a packed store; source: the dataset directory it was packed from. progress: told samples and bytes checked.
    Returns what was found. Raises StoreError where there is no finished store to check.
    """
    opened = open_store(store)
    if opened.manifest.kind == "folder":
        raise StoreError(
            str(store),
            expected="a packed store",
            found="a directory of images",
            action=f"Pack it first: tiering convert {store} STORE",
        )
    scanned = scan(source) if source is not None else None
    problems = list(_index(opened))
    if not problems:
        # A damaged index names and places samples wrongly: it is the finding, and no guide to others.
        problems += [*_shards(opened), *_samples(opened, scanned, progress)]
        if scanned is not None:
            problems += _unpacked(opened, scanned)
    return Verification(
        store=str(store),
        samples=len(opened),
        image_bytes=opened.manifest.image_bytes,
        source=None if source is None else str(source),
        problem_count=len(problems),
        problems=problems[:_KEPT],
    )


def _index(store: Store) -> Iterator[str]:
    """Check the manifest's sums and the index against it."""
    shards = sum(shard.samples for shard in store.manifest.shards)
    if shards != len(store):
        yield f"manifest.json: {len(store):,} samples in all, {shards:,} in its shards"
    if store.manifest.columns.keys() != COLUMNS.keys():
        yield f"manifest.json: columns {', '.join(store.manifest.columns)} instead of {', '.join(COLUMNS)}"
        return
    for name, crc in store.manifest.columns.items():
        if column_crc(column_path(store.path, name)) != crc:
            yield f"index/{name}: its CRC-32C is not the manifest's"
    if len(store) and not 0 <= int(store.index.label.max()) + 1 <= len(store.manifest.labels):
        yield "index/label: a label that the manifest does not name"
    if int(store.index.size.sum()) != store.manifest.image_bytes:
        yield f"manifest.json: {store.manifest.image_bytes:,} bytes of images, {int(store.index.size.sum()):,} indexed"


def _shards(store: Store) -> Iterator[str]:
    """Check the shards: sizes, CRCs, and for LMDB its own view of them."""
    first = 0
    for shard in store.manifest.shards:
        path = store.path / shard.name
        if not path.is_file():
            yield f"{shard.name}: missing"
        elif path.stat().st_size != shard.bytes:
            yield f"{shard.name}: {shard.bytes:,} bytes by the manifest, {path.stat().st_size:,} found"
        elif column_crc(path) != shard.crc32c:
            yield f"{shard.name}: its CRC-32C is not the manifest's"
        elif store.manifest.kind == "lmdb" and isinstance(store, PackedStore):
            yield from check_shard(path, store, first, shard.samples)
        first += shard.samples


def _samples(store: Store, scanned: Scan | None, progress: Callable[[int, int], None] | None) -> Iterator[str]:
    """Check every sample's CRC-32C, and its bytes against the file of its name in the source."""
    checked = 0
    for indices in batches(len(store)):
        try:
            images = store.read(indices)
        except TieringError as error:
            yield f"samples {indices[0]:,} to {indices[-1]:,}: {error}"
            continue
        for row, key, image in zip(indices.tolist(), store.index.keys(indices), images, strict=True):
            shown = key.decode("utf-8", "backslashreplace")
            if len(image) != store.index.size[row] or google_crc32c.value(bytes(image)) != store.index.crc32c[row]:
                yield f"sample {row:,} ({shown}): its bytes do not have their CRC-32C"
            elif scanned is not None and image != _original(scanned, key):
                yield f"sample {row:,} ({shown}): differs from the source"
            checked += len(image)
        if progress:
            progress(int(indices[-1]) + 1, checked)


def _original(scanned: Scan, key: bytes) -> bytes | None:
    try:
        return (scanned.root / os.fsdecode(key)).read_bytes()
    except FileNotFoundError:
        return None


def _unpacked(store: Store, scanned: Scan) -> Iterator[str]:
    """Name the images of the source that the store does not hold."""
    pieces = [pl.Series("key", store.index.keys(indices), dtype=pl.Binary) for indices in batches(len(store))]
    packed = pl.concat(pieces).to_frame()
    for key in scanned.files.join(packed, on="key", how="anti")["key"]:
        yield f"{key.decode('utf-8', 'backslashreplace')}: in the source but not in the store"


def batches(n: int) -> Iterator[IndexArray]:
    """Yield [0, n) in pieces that a store reads at once."""
    for begin in range(0, n, _BATCH):
        yield np.arange(begin, min(begin + _BATCH, n), dtype=np.int64)
