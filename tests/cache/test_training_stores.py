"""A cache too small for the originals holds the whole store that was made from them for training."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import tiering
from tiering.images.training_formats import TRAINING_FORMATS


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Originals of 700 x 525 pixels, and the same images as jpeg-400, both in LMDB."""
    root, random = tmp_path_factory.mktemp("stores"), np.random.default_rng(0)
    (root / "originals").mkdir()
    for number in range(64):
        rough = random.integers(0, 256, (105, 140, 3), np.uint8)
        path = root / "originals" / f"{number:03}.jpg"
        Image.fromarray(rough).resize((700, 525), Image.Resampling.BICUBIC).save(path, quality=92)
    for name, how in (("originals", None), ("small", TRAINING_FORMATS["jpeg-400"])):
        shards = tiering.Shards(1 << 20)
        tiering.convert(root / "originals", root / f"{name}.lmdb", "lmdb", encode=how, shards=shards)
    return root


def epochs(store, size, directory):
    """Return the hit ratio and the bytes from the origin of three epochs. Closing a cache waits until it is filled."""
    figures = []
    for epoch in range(3):
        with tiering.cached(store, size, directory) as cache:
            for _ in tiering.Loader(cache, 20, seed=0, images=tiering.RandomResizedCrop(32)).epoch(epoch):
                pass
            stats = cache.stats()
        figures.append((stats.hit_ratio, stats.origin_bytes))
    return figures


def test_half_the_originals_bytes_hold_all_of_the_store_made_for_training(stores, tmp_path):
    half = tiering.open_store(stores / "originals.lmdb").manifest.image_bytes // 2
    _, second, third = epochs(stores / "small.lmdb", half, tmp_path / "small")
    assert second == third == (1, 0)
    _, second, third = epochs(stores / "originals.lmdb", half, tmp_path / "originals")
    assert 0.3 < second[0] < 0.6
    assert 0.3 < third[0] < 0.6
    assert min(second[1], third[1]) > 0.3 * 2 * half
