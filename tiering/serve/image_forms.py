"""The forms in which a loader hands out images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from tiering.images.crop import Crop

#: How a loader hands out encoded images: as they are (views of the store where that saves a copy), each copied to bytes
#: of its own, or decoded.
ImageForm = Literal["encoded", "bytes", "pixels"]

#: What they become, instead: a crop such as RandomResizedCrop(224), or several for batches of several arrays.
ReadyForm = Crop | Sequence[Crop]


def form_of(images: ImageForm | ReadyForm) -> tuple[ImageForm, ReadyForm | None]:
    """Return in which form images are read, and which crops they become, if any."""
    if isinstance(images, str) and images in get_args(ImageForm):
        return images, None
    if isinstance(images, Crop):
        return "encoded", images
    if isinstance(images, list | tuple) and images and all(isinstance(each, Crop) for each in images):
        return "encoded", images
    raise ValueError(
        f'images must be "encoded", "bytes", "pixels", or a crop such as RandomResizedCrop(224), got {images!r}'
    )
