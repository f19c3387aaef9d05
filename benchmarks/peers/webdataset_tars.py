"""WebDataset: tar shards in random order, and a shuffle buffer; not a global shuffle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import webdataset

from benchmarks.peers.images import contents

HOW = "2 workers, shards of 64 MB, shuffle buffer of 2,000"
PACKAGES = ("webdataset", "torch")


def pack(images: Path, to: Path) -> None:
    with webdataset.ShardWriter(f"{to}/images-%05d.tar", maxsize=64e6, maxcount=100_000, verbose=0) as writer:
        for number, (_, image, label) in enumerate(contents(images)):
            writer.write({"__key__": f"{number:08d}", "jpg": image, "cls": b"%d" % label})


def opened(at: Path, batch_size: int) -> Callable[[int], Iterator[Any]]:
    shards = sorted(map(str, at.glob("*.tar")))

    def epoch(number: int) -> Iterator[Any]:
        dataset = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=number, empty_check=False)
        dataset = dataset.shuffle(2000).to_tuple("jpg", "cls").batched(batch_size, collation_fn=None)
        batches = webdataset.WebLoader(dataset, batch_size=None, num_workers=2)
        return (tuple(zip(*batch, strict=True)) for batch in batches)

    def as_numbers(number: int) -> Iterator[Any]:
        return ((images, list(map(int, labels))) for images, labels in epoch(number))

    return as_numbers
