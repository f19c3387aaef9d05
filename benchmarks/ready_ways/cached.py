"""tiering's Loader with a crop, from a bucket through a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tiering

PACKAGES = ("tiering",)


def opened(store: str, batch: int, *, cache: str) -> Callable[[int], Iterator[Any]]:
    source = tiering.cached(store, "100GB", cache)
    loader = tiering.Loader(source, batch, images=tiering.RandomResizedCrop(224, flip=0.5), threads=2)
    return lambda number: (each.images for each in loader.epoch(number))
