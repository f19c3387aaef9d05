"""Plain files: open, read, close, in a shuffled order."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.images import in_batches, listing

HOW = "one process"
PACKAGES = ()


def pack(images: Path, to: Path) -> None:
    shutil.copytree(images, to / "images")


def opened(at: Path, batch_size: int) -> Callable[[int], Iterator[Any]]:
    entries = listing(at / "images")

    def epoch(number: int) -> Iterator[Any]:
        def read(entry: tuple[str, str, int]) -> tuple[bytes, int]:
            with open(entry[0], "rb", buffering=0) as file:
                return file.read(), entry[2]

        order = entries.copy()
        random.Random(number).shuffle(order)
        return in_batches(map(read, order), batch_size)

    return epoch
