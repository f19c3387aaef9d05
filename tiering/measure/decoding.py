"""The time to decode one image of a store, to set beside measurements that decode nothing."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import nullcontext
from typing import Final, cast

import numpy as np

from tiering.errors import DatasetError
from tiering.images.image import decode
from tiering.store.open import open_store
from tiering.store.protocol import Store, shape_of
from tiering.store.sample import Buffer

#: Images that are decoded, and seconds after which no further one is begun.
_IMAGES: Final = 32
_SECONDS: Final = 1.0


def decode_seconds(store: Store | str | os.PathLike[str], *, seed: int = 0) -> float | None:
    """Measure how long one thread decodes an image of a store.

    Args:
        store: A store, its path or URL, or a directory of images.
        seed: Seed of the choice of images.

    Returns:
        Seconds, the mean over up to 32 random images. None for a store of pixels, and if none can be decoded.

    Raises:
        TieringError: If the store cannot be opened or read.

    Example:
        >>> decode_seconds("photos.lmdb")  # doctest: +SKIP
        0.0027
    """
    with open_store(store) if isinstance(store, str | os.PathLike) else nullcontext(store) as opened:
        if shape_of(opened.manifest) is not None:
            return None
        some = np.random.default_rng(seed).permutation(len(opened))[:_IMAGES]
        took: list[float] = []
        # The first image is decoded twice: once to load its decoder.
        for index in [*some[:1].tolist(), *some.tolist()]:
            image = cast("Buffer", opened[index].image)
            began = time.perf_counter()
            try:
                decode(image)
            except DatasetError:
                continue
            took.append(time.perf_counter() - began)
            if sum(took) > _SECONDS:
                break
    return statistics.fmean(took[1:] or took) if took else None
