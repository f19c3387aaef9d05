"""The images of a directory of class folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

Entry = tuple[str, str, int]  # path, path in the dataset, number of the class folder


def listing(images: Path) -> list[Entry]:
    """List the images below class folders, however deep."""
    found = sorted(os.path.relpath(path, images) for path in images.glob("*/**/*") if path.is_file())
    classes = {name: number for number, name in enumerate(sorted({os.path.dirname(key) for key in found}))}
    return [(f"{images}/{key}", key, classes[os.path.dirname(key)]) for key in found]


def contents(images: Path) -> Iterator[tuple[str, bytes, int]]:
    """Yield (path in the dataset, encoded bytes, label)."""
    for path, key, label in listing(images):
        with open(path, "rb") as file:
            yield key, file.read(), label


def in_batches(samples: Iterator[tuple[object, int]], batch_size: int) -> Iterator[tuple[list[object], list[int]]]:
    """Collect samples that come one by one."""
    images, labels = [], []
    for image, label in samples:
        images.append(image)
        labels.append(label)
        if len(images) == batch_size:
            yield images, labels
            images, labels = [], []
    if images:
        yield images, labels
