"""torchvision's ImageFolder and transforms, in the workers of a DataLoader or on the threads of tiering's Loader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader

import tiering
from benchmarks.ready_ways.vision import ImageFolder, v2

PACKAGES = ("torch", "torchvision", "pillow")


def opened(source: str, batch: int, *, loader: str) -> Callable[[int], Iterator[Any]]:
    ready = v2.Compose([v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip(), v2.PILToTensor()])
    if loader == "tiering":
        return on_threads(source, batch, ready)
    workers = DataLoader(
        ImageFolder(source, ready), batch, shuffle=True, num_workers=2, persistent_workers=True, prefetch_factor=4
    )
    return lambda _: (images for images, _ in workers)


def on_threads(store: str, batch: int, ready: Callable[[Any], Any]) -> Callable[[int], Iterator[Any]]:
    torch.set_num_threads(1)
    ours = tiering.Loader(
        store, batch, transform=lambda each: ready(Image.open(BytesIO(each.image)).convert("RGB")), threads=2
    )
    return lambda number: (each.images for each in ours.epoch(number))
