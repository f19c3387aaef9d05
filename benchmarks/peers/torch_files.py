"""Plain files through torch's DataLoader, as with torchvision's ImageFolder, but without decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from benchmarks.peers import plain_files
from benchmarks.peers.images import Entry, listing

HOW = "2 workers, persistent"
PACKAGES = ("torch",)
pack = plain_files.pack


class Files(Dataset[Any]):
    """What ImageFolder does, without opening the image."""

    def __init__(self, images: Path) -> None:
        self.entries: list[Entry] = listing(images)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, at: int) -> tuple[bytes, int]:
        path, _, label = self.entries[at]
        with open(path, "rb") as file:
            return file.read(), label


def collated(items: list[tuple[bytes, int]]) -> Any:
    return tuple(zip(*items, strict=True))


def opened(at: Path, batch_size: int) -> Callable[[int], Iterator[Any]]:
    dataset = Files(at / "images")
    loader = DataLoader(
        dataset,
        batch_size,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
        prefetch_factor=4,
        collate_fn=collated,
    )
    return lambda _: iter(loader)
