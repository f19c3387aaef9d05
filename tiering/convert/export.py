"""Write a store's images back as files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import google_crc32c

from tiering.convert.verify import batches
from tiering.errors import StoreError, UsageError
from tiering.store.open import open_store


def export(store: str | Path, directory: str | Path, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Write every image of a store back to a file of its original name; the tree equals the source byte for byte.

    directory: must not exist, or be empty. Returns the number of files. Raises UsageError where it holds something,
    StoreError for a sample whose bytes do not have their CRC-32C.
    """
    opened = open_store(store)
    root = Path(directory)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(str(root), expected="an empty directory", found="something there", action="Choose another.")
    written = 0
    for indices in batches(len(opened)):
        images = opened.read(indices)
        for row, key, image in zip(indices.tolist(), opened.index.keys(indices), images, strict=True):
            if len(opened.index.crc32c) and google_crc32c.value(bytes(image)) != opened.index.crc32c[row]:
                raise StoreError(
                    str(store), expected=f"the CRC-32C of {os.fsdecode(key)!r}", found="other bytes",
                    action=f"See what is damaged: tiering verify {store}",
                )  # fmt: skip
            path = root / os.fsdecode(_safe(key, store))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
            written += len(image)
        if progress:
            progress(int(indices[-1]) + 1, written)
    return len(opened)


def _safe(key: bytes, store: str | Path) -> bytes:
    """Refuse a key that would be written outside the directory, as a store from elsewhere might hold."""
    if key.startswith(b"/") or b".." in key.split(b"/") or not key:
        raise StoreError(str(store), expected="keys that are relative paths", found=repr(key))
    return key
