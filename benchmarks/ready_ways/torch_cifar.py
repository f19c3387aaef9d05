"""CIFAR in memory as torchvision's dataset has it, with its usual transforms, in the workers of a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.ready_ways.ours import MEAN, STD
from benchmarks.ready_ways.vision import transforms

PACKAGES = ("torch", "torchvision", "pillow")


class Cifar(Dataset[Any]):
    """What torchvision.datasets.CIFAR10 does with its array."""

    def __init__(self, pixels: str) -> None:
        self.data = np.load(pixels)
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, at: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.data[at])), 0


def opened(pixels: str, batch: int) -> Callable[[int], Iterator[Any]]:
    workers = DataLoader(Cifar(pixels), batch, shuffle=True, num_workers=2, persistent_workers=True, prefetch_factor=4)
    return lambda _: (images for images, _ in workers)
