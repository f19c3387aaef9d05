"""LitData: optimized chunks, shuffled by chunk and within."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import litdata

from benchmarks.peers.images import Entry, listing

HOW = "2 workers, persistent, chunks of 64 MB"
PACKAGES = ("litdata", "torch")


def sample_of(entry: Entry) -> dict[str, Any]:
    with open(entry[0], "rb") as file:
        return {"image": file.read(), "label": entry[2]}


def pack(images: Path, to: Path) -> None:
    # Otherwise it works in, and first empties, /tmp/data and /tmp/chunks, whoever they belong to.
    os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = str(to / "work" / "chunks")
    os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] = str(to / "work" / "data")
    litdata.optimize(sample_of, listing(images), str(to / "chunks"), chunk_bytes="64MB", num_workers=2)


def collated(items: list[dict[str, Any]]) -> tuple[list[bytes], list[int]]:
    return [item["image"] for item in items], [item["label"] for item in items]


def opened(at: Path, batch_size: int) -> Callable[[int], Iterator[Any]]:
    dataset = litdata.StreamingDataset(str(at / "chunks"), shuffle=True, drop_last=False)
    loader = litdata.StreamingDataLoader(
        dataset, batch_size=batch_size, num_workers=2, persistent_workers=True, collate_fn=collated
    )
    return lambda _: iter(loader)
