"""The calls that the Loader makes for each image, in a loop of one thread: what its own work is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tiering
from tiering.images.picture import open_picture

PACKAGES = ("tiering",)


def opened(store: str, batch: int, *, size: int) -> Callable[[int], Iterator[Any]]:
    source, crop = tiering.open_store(store), tiering.RandomResizedCrop(size, flip=0.5)
    look = crop.look()
    arrays = np.zeros((4, batch, 3, size, size), np.uint8)
    # The views and the random numbers are made before, and the slots.
    slots = [[(image.transpose(1, 2, 0), image.transpose(1, 2, 0)[:, ::-1]) for image in array] for array in arrays]
    images = source.read(np.arange(len(source)))
    numbers = np.random.default_rng(0).random((len(source), 1 + crop.numbers)).tolist()

    def epoch(number: int) -> Iterator[Any]:
        order = np.random.default_rng(number).permutation(len(source)).tolist()
        for turn, begin in enumerate(range(0, len(order), batch)):
            part = order[begin : begin + batch]
            for at, slot in zip(part, slots[turn % 4], strict=False):
                drawn = numbers[at]
                picture = open_picture(images[at])
                geometry = crop.geometry(picture.width, picture.height, drawn[1:])
                picture.draw([(geometry, slot[drawn[0] < crop.flip])], look)
            yield arrays[turn % 4][: len(part)]

    return epoch
