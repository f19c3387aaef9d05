"""FFCV: its own file, decoder and resampling (OpenCV's INTER_AREA), compiled by Numba, on two threads.

The file holds the bytes of the JPEGs as they are, where FFCV's own writer would encode them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
from ffcv.fields.rgb_image import IMAGE_MODES
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, RandomTranslate, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter
from PIL import Image

from benchmarks.ready_ways.ours import MEAN, STD

PACKAGES = ("ffcv", "numba", "numpy")


class Original(RGBImageField):
    """Writes the path of a JPEG as the bytes that are there."""

    def encode(self, destination: Any, image: Any, malloc: Any) -> None:
        data = np.fromfile(image, np.uint8)
        destination["mode"] = IMAGE_MODES["jpg"]
        with Image.open(image) as opened:
            destination["width"], destination["height"] = opened.size
        destination["data_ptr"], storage = malloc(data.nbytes)
        storage[:] = data


def packed(source: str, to: str) -> None:
    """Write a directory of JPEGs, or an array of pixels (n, height, width, 3) in a .npy file."""
    field, images = Original(), [str(path) for path in sorted(Path(source).glob("*/*"))]
    if source.endswith(".npy"):
        field, images = RGBImageField(write_mode="raw"), list(np.load(source))
    dataset = [(image, 0) for image in images]
    DatasetWriter(to, {"image": field, "label": IntField()}, num_workers=1).from_indexed_dataset(dataset)


def opened(source: str, batch: int, *, beton: str, cifar: bool = False) -> Callable[[int], Iterator[Any]]:
    if not Path(beton).exists():
        packed(source, beton)
    images: list[Any] = [RandomResizedCropRGBImageDecoder((224, 224)), RandomHorizontalFlip()]
    if cifar:
        mean, std = 255 * np.array(MEAN), 255 * np.array(STD)
        images = [SimpleRGBImageDecoder(), RandomHorizontalFlip(), RandomTranslate(padding=4)]
        images += [NormalizeImage(mean, std, np.float32)]
    # Its fastest layout: channels last in memory.
    images += [ToTensor(), ToTorchImage()]
    loader = Loader(
        beton, batch_size=batch, num_workers=2, order=OrderOption.RANDOM, os_cache=True, drop_last=False,
        pipelines={"image": images, "label": [IntDecoder(), ToTensor()]},
        custom_fields={} if cifar else {"image": Original},
    )  # fmt: skip
    torch.set_num_threads(1)
    return lambda _: (images for images, _ in loader)
