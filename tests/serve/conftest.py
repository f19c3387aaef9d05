"""Stores that several tests of serving read; modules that need another one make it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tiering


@pytest.fixture(scope="session")
def store(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tiering.Store]:
    """The photographs, packed."""
    path = tmp_path_factory.mktemp("served") / "photos.lmdb"
    tiering.convert(photos, path, "lmdb")
    with tiering.open_store(path) as opened:
        yield opened


@pytest.fixture(scope="session")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 1,025 pixels, each of which holds its own number: one more than 2 ranks share in batches of 64."""
    root = tmp_path_factory.mktemp("numbered") / "arrays"
    root.mkdir()
    for at in range(1025):
        np.save(root / f"{at:04}.npy", np.full((1, 1, 1), at, dtype=np.uint16))
    out = root.parent / "numbers.zarr"
    tiering.convert(root, out, "zarr", pixels=tiering.Pixels(1, 1, dtype="uint16", channels=1), workers=1)
    return out
