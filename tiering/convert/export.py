"""Write a store's images back as files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import google_crc32c
import numpy as np

from tiering.convert.listing import blocks
from tiering.convert.progress import Progress, no_progress
from tiering.dataset.pixels import encode_png
from tiering.errors import StoreError, UsageError, command
from tiering.store.base import Store, shape_of
from tiering.store.open import open_store

#: Labels and splits that the paths of the files do not tell.
LABELS: Final = "labels.csv"
_BATCH: Final = 1024


def export(
    store: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    progress: Progress = no_progress,
) -> int:
    """Write every image of a store back to a file of its original name; a folder's tree comes out byte for byte.

    Pixels come out as PNG files. Where labels or splits came from a table or from tar files, labels.csv holds them
    (path, label, split), and can itself be converted again.
    store: path or URL; directory: must not exist, or be empty. Returns the number of images. Raises UsageError where
    the directory holds something, StoreError for a sample whose bytes do not have their CRC-32C.
    """
    opened = open_store(store)
    root = Path(directory)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(str(root), expected="an empty directory", found="something there", action="Choose another.")
    root.mkdir(parents=True, exist_ok=True)
    told = opened.manifest.layout in ("table", "tar")
    written = 0
    with ExitStack() as open_files:
        if told:
            file = open_files.enter_context(
                (root / LABELS).open("w", newline="", encoding="utf-8", errors="surrogateescape")
            )
            table = csv.writer(file)
            table.writerow(["path", "label", "split"])
        for number, (*row, size) in enumerate(_write(opened, root), start=1):
            if told:
                table.writerow(row)
            written += size
            progress(number, len(opened), written)
    return len(opened)


def _write(store: Store, root: Path) -> Iterator[tuple[str, str, str, int]]:
    """Write the files, and yield path, label, split and size of each."""
    manifest, index = store.manifest, store.index
    pixels = shape_of(manifest) is not None
    made: set[Path] = set()
    for indices in blocks(len(store), _BATCH):
        for row, key, image in zip(indices.tolist(), index.keys(indices), store.read(indices), strict=True):
            data = bytes(image)
            if len(index.crc32c) and google_crc32c.value(data) != index.crc32c[row]:
                raise StoreError(
                    str(store.place), expected=f"the CRC-32C of {os.fsdecode(key)!r}", found="other bytes",
                    action=f"See what is damaged: {command('tiering', 'verify', store.place)}",
                )  # fmt: skip
            name = os.fsdecode(_safe(key, store))
            if pixels:
                data = encode_png(np.asarray(image))
                name += "" if name.lower().endswith(".png") else ".png"
            path = root / name
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            path.write_bytes(data)
            label = _name(manifest.labels, int(index.label[row]))
            yield name, label, _name(manifest.splits, int(index.split[row])), len(data)


def _name(names: list[str], number: int) -> str:
    return names[number] if number >= 0 else ""


def _safe(key: bytes, store: Store) -> bytes:
    """Refuse a key that would be written outside the directory, as a store from elsewhere might hold."""
    if key.startswith(b"/") or b".." in key.split(b"/") or not key:
        raise StoreError(str(store.place), expected="keys that are relative paths", found=repr(key))
    return key
