"""What must hold for every store and every loader."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tiering import Loader, Store


def tree(root: Path) -> dict[bytes, bytes]:
    """Every file below a directory: its relative name, byte-exact, and its contents."""
    found = {}
    base = os.fsencode(root)
    for directory, _, names in os.walk(base):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, base)] = file.read()
    return found


def assert_holds_exactly(store: Store, root: Path) -> None:
    """The store's keys and bytes are the directory's, whatever their order."""
    everything = np.arange(len(store))
    images = dict(zip(store.index.keys(everything), map(bytes, store.read(everything)), strict=True))
    assert len(images) == len(store)
    assert images == tree(root)


def served(loader: Loader, epoch: int) -> list[int]:
    """The indices that a loader serves in an epoch, in order."""
    loader.set_epoch(epoch)
    return [index for batch in loader for index in batch.indices.tolist()]


def assert_every_sample_once(loaders: list[Loader], epoch: int, samples: int) -> None:
    """The ranks together serve every sample exactly once."""
    everything = sorted(index for loader in loaders for index in served(loader, epoch))
    assert everything == list(range(samples))
