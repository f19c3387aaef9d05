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

from tiering.errors import TieringError
from tiering.sources.scan import scan
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
    total = len(found.files)
    chosen = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    keys = [bytes(key) for key in found.files["key"].gather(chosen)]
    made = [_thumbnail(os.fsencode(found.root) + b"/" + key, display(key)) for key in keys]
    return [each for each in made if each is not None]


def _thumbnail(path: bytes, name: str) -> Thumbnail | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(os.fsdecode(path)) as image:
                if image.width * image.height > LARGEST:
                    return None
                image.draft("RGB", (SIDE, SIDE))
                image.thumbnail((SIDE, SIDE))
                small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        # Pillow raises many types for incomplete images. The profile counts those.
        return None
    target = io.BytesIO()
    small.save(target, "WEBP", quality=60)
    uri = "data:image/webp;base64," + base64.b64encode(target.getvalue()).decode()
    return Thumbnail(name, uri, small.width, small.height)
