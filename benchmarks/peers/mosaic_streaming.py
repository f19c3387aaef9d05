"""MosaicML Streaming: MDS shards, its default shuffle py1e."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

# It imports torchvision, whose wheels fail to import where torch was built for processors alone, unless the operators
# that they look for exist.
for operator in ("nms", "qnms"):
    torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import streaming  # noqa: E402

from benchmarks.peers.images import contents  # noqa: E402

HOW = "2 workers, persistent, shards of 64 MB, shuffle py1e"
PACKAGES = ("mosaicml-streaming", "torch")


def pack(images: Path, to: Path) -> None:
    with streaming.MDSWriter(out=str(to / "mds"), columns={"image": "bytes", "label": "int"}) as writer:
        for _, image, label in contents(images):
            writer.write({"image": image, "label": label})


def collated(items: list[dict[str, Any]]) -> tuple[list[bytes], list[int]]:
    return [item["image"] for item in items], [item["label"] for item in items]


def opened(at: Path, batch_size: int) -> Callable[[int], Iterator[Any]]:
    streaming.base.util.clean_stale_shared_memory()
    dataset = streaming.StreamingDataset(local=str(at / "mds"), shuffle=True, batch_size=batch_size)
    loader = DataLoader(dataset, batch_size, num_workers=2, persistent_workers=True, collate_fn=collated)
    return lambda _: iter(loader)
