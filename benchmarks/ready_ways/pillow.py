"""tiering's Loader, and a transform on its threads: Pillow decodes all of the image and resizes the crop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

import tiering
from benchmarks.ready_ways.boxes import box

PACKAGES = ("pillow",)


def opened(store: str, batch: int) -> Callable[[int], Iterator[Any]]:
    def ready(sample: tiering.Sample) -> Any:
        image = Image.open(BytesIO(sample.image)).convert("RGB")
        (left, top, width, height), flip = box(image.width, image.height, sample.rng)
        part = (left, top, left + width, top + height)
        small = np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR, box=part))
        return np.ascontiguousarray((small[:, ::-1] if flip else small).transpose(2, 0, 1))

    loader = tiering.Loader(store, batch, transform=ready, threads=2)
    return lambda number: (each.images for each in loader.epoch(number))
