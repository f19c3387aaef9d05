"""Small pictures of a few images of a dataset."""

from __future__ import annotations

import base64
import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tiering.arrays import IndexArray
from tiering.errors import TieringError
from tiering.sources.scan import scan
from tiering.store.protocol import Store
from tiering.text import display

#: Pixels on the longer side, and the most pixels of an image that is decoded for a thumbnail.
SIDE: Final = 112
LARGEST: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture of an image.

    name: its key, for display. uri: data URI of a WebP. width, height: of the thumbnail, in pixels.
    """

    name: str
    uri: str
    width: int
    height: int


def thumbnails(root: str | Path, *, count: int = 12, seed: int = 0) -> list[Thumbnail]:
    """Return thumbnails of a random sample of a dataset's images; none if the dataset is missing.

    root: a local directory. seed: of the sample. Images that cannot be decoded, and those of more than 64 million
    pixels, are left out.
    """
    try:
        found = scan(root)
    except TieringError:
        return []
    keys = [bytes(key) for key in found.files["key"].gather(_drawn(len(found.files), count, seed))]
    made = [_of_file(Path(os.fsdecode(os.fsencode(found.root) + b"/" + key)), display(key)) for key in keys]
    return [each for each in made if each is not None]


def thumbnails_of(store: Store, *, count: int = 12, seed: int = 0) -> list[Thumbnail]:
    """Return thumbnails of a random sample of a store's images, as `thumbnails` does; none if they cannot be read.

    Pixels are shown only if they are grey or RGB with 8 bits a channel.
    """
    rows = _drawn(len(store), count, seed)
    try:
        images = store.read(rows)
    except TieringError:
        return []
    names = [display(key) for key in store.index.keys(rows)]
    if isinstance(images, list):
        made = [_of_file(io.BytesIO(data), name) for data, name in zip(images, names, strict=True)]
    elif images.dtype == np.uint8 and images.shape[-1] in (1, 3):
        made = [_small(Image.fromarray(each.squeeze(-1) if each.shape[-1] == 1 else each), name)
                for each, name in zip(images, names, strict=True)]  # fmt: skip
    else:
        return []
    return [each for each in made if each is not None]


def _drawn(total: int, count: int, seed: int) -> IndexArray:
    return np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False, shuffle=False))


def _of_file(file: Path | io.BytesIO, name: str) -> Thumbnail | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                if image.width * image.height > LARGEST:
                    return None
                image.draft("RGB", (SIDE, SIDE))
                return _small(image, name)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        # Pillow raises many types for incomplete images. The profile counts those.
        return None


def _small(image: Image.Image, name: str) -> Thumbnail:
    image.thumbnail((SIDE, SIDE))
    small = image.convert("RGB")
    target = io.BytesIO()
    small.save(target, "WEBP", quality=60)
    uri = "data:image/webp;base64," + base64.b64encode(target.getvalue()).decode()
    return Thumbnail(name, uri, small.width, small.height)
