"""tiering, LMDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tiering

HOW = "one process, views"
PACKAGES = ("tiering", "lmdb")


def packed(kind: str, images: Path, to: Path) -> None:
    tiering.convert(images, to / "store", kind)


def opened(at: Path, batch_size: int) -> Callable[[int], Iterator[Any]]:
    loader = tiering.Loader(tiering.open_store(at / "store"), batch_size)

    def epoch(number: int) -> Iterator[Any]:
        loader.set_epoch(number)
        return ((batch.images, batch.labels) for batch in loader)

    return epoch


pack = partial(packed, "lmdb")
