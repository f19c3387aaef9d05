"""tiering's Loader with a crop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import tiering
from tiering.images.picture import NATIVE

PACKAGES = ("tiering",)

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def opened(
    store: str, batch: int, *, crop: str = "resized", size: int = 224, antialias: bool = True, threads: int = 2
) -> Callable[[int], Iterator[Any]]:
    if not NATIVE and sys.modules.get("tiering.images._draw", ...) is not None:
        raise ImportError("tiering was installed without its C extension")
    images: Any = tiering.RandomResizedCrop(size, flip=0.5, antialias=antialias)
    if crop == "padded":
        images = tiering.PadCrop(size, padding=4, flip=0.5, dtype="float32", mean=MEAN, std=STD)
    loader = tiering.Loader(store, batch, images=images, threads=threads)
    return lambda number: (each.images for each in loader.epoch(number))
