"""The random boxes of RandomResizedCrop, for the ways that crop by themselves."""

from __future__ import annotations

from typing import Any

import tiering

CROP = tiering.RandomResizedCrop(224, flip=0.5)


def box(width: int, height: int, rng: Any) -> tuple[tuple[int, int, int, int], bool]:
    """Return left, top, width and height of a box, and whether to flip it."""
    numbers = rng.random(1 + CROP.numbers).tolist()
    return CROP.geometry(width, height, numbers[1:]).region, numbers[0] < CROP.flip
