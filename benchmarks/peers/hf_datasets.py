"""Hugging Face datasets: Arrow files on disk, shuffled by an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets

from benchmarks.peers.images import contents

HOW = "one process, Arrow files, iter() by batch"
PACKAGES = ("datasets", "pyarrow")


def pack(images: Path, to: Path) -> None:
    columns = datasets.Features({"image": datasets.Value("large_binary"), "label": datasets.Value("int32")})

    def rows() -> Iterator[dict[str, Any]]:
        for _, image, label in contents(images):
            yield {"image": image, "label": label}

    made = datasets.Dataset.from_generator(rows, features=columns, cache_dir=str(to / "cache"))
    made.save_to_disk(str(to / "arrow"), max_shard_size="256MB")


def opened(at: Path, batch_size: int) -> Callable[[int], Iterator[Any]]:
    datasets.disable_caching()
    whole = datasets.load_from_disk(str(at / "arrow"))

    def epoch(number: int) -> Iterator[Any]:
        return ((batch["image"], batch["label"]) for batch in whole.shuffle(number).iter(batch_size))

    return epoch
