"""Small directories of real images to test with."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

FIXTURES = Path(__file__).parents[1] / "fixtures" / "images"


def picture(width: int = 16, height: int = 12, format: str = "JPEG", mode: str = "RGB") -> bytes:  # noqa: A002
    """Return an encoded gradient."""
    ramp = np.add.outer(np.arange(height) * 7, np.arange(width) * 5).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(ramp).convert(mode).save(file, format)
    return file.getvalue()


def put(root: Path, key: str | bytes, data: bytes | None = None) -> Path:
    """Write one file below root, with its folders."""
    path = Path(os.fsdecode(os.fsencode(root) + b"/" + os.fsencode(key)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture() if data is None else data)
    return path


def with_splits(photos: Path, root: Path, classes: Sequence[str]) -> Path:
    """Copy 60 photographs into splits and classes: 15 into val, 45 into train."""
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))[:60]):
        place = root / ("val" if number % 4 == 0 else "train") / classes[number % len(classes)] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return root
