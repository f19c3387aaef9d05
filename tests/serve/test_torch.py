"""The PyTorch face, with real DataLoaders and real worker processes."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from tiering.dataset.images import decode
from tiering.serve.torch import StoreDataset


def _as_is(items):
    return items


def _shape(sample):
    return sample.key, decode(sample.image).shape, sample.label


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_dataloader_serves_every_image_once(packed, photos, workers, method):
    if workers == 0 and method == "spawn":
        method = None
    context = method if workers else None
    loader = DataLoader(
        StoreDataset(packed), 64, shuffle=True, num_workers=workers, multiprocessing_context=context, collate_fn=_as_is
    )
    images = sorted(image for batch in loader for image, _ in batch)
    assert images == sorted(path.read_bytes() for path in photos.rglob("*.*"))


def test_a_transform_sees_the_sample(packed):
    key, shape, label = StoreDataset(packed, transform=_shape)[3]
    assert shape[2] == 3
    assert label >= 0
    assert "/" in key


def test_getitems_equals_getitem(packed):
    dataset = StoreDataset(packed)
    assert dataset.__getitems__([4, 2, 299]) == [dataset[4], dataset[2], dataset[299]]
    assert isinstance(dataset, torch.utils.data.Dataset)
