"""tiering's Loader, and a transform on its threads: simplejpeg decodes all of the image, OpenCV resizes the crop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import simplejpeg

import tiering
from benchmarks.ready_ways.boxes import box

PACKAGES = ("simplejpeg", "opencv-python-headless")


def opened(store: str, batch: int, *, area: bool = False) -> Callable[[int], Iterator[Any]]:
    cv2.setNumThreads(0)
    interpolation = cv2.INTER_AREA if area else cv2.INTER_LINEAR

    def ready(sample: tiering.Sample) -> Any:
        pixels = simplejpeg.decode_jpeg(sample.image)
        (left, top, width, height), flip = box(pixels.shape[1], pixels.shape[0], sample.rng)
        small = cv2.resize(pixels[top : top + height, left : left + width], (224, 224), interpolation=interpolation)
        return np.ascontiguousarray((small[:, ::-1] if flip else small).transpose(2, 0, 1))

    loader = tiering.Loader(store, batch, transform=ready, threads=2)
    return lambda number: (each.images for each in loader.epoch(number))
