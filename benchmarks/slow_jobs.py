"""Training loops that are slow in one known way, and healthy ones, for benchmarks/causes.py and its test.

    python -m benchmarks.slow_jobs KIND DATA CACHE

DATA holds images/, which may be on a slow mount, photos.lmdb and pixels.npy. Prints "ready" once the first batches are
there, and then trains until it is stopped.
"""

from __future__ import annotations

import io
import itertools
import mmap
import multiprocessing
import random
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import tiering

BATCH = 16
SIDE = 64


class Images(Dataset):
    """Image files, each read and turned into a tensor by a function."""

    def __init__(self, directory: Path, load: Callable[[Path], Any], repeat: int = 1) -> None:
        self._paths = sorted(directory.rglob("*.jpg")) * repeat
        self._load = load

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        return self._load(self._paths[index])


def read(path: Path) -> torch.Tensor:
    """Read a file, without any work on it."""
    return torch.tensor(len(path.read_bytes()))


def decode(path: Path) -> torch.Tensor:
    """Read and decode an image, as a training would."""
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels.copy())


class Locked:
    """Decodes under a lock that all workers share, as around a file that only one of them may use at a time."""

    def __init__(self) -> None:
        self._lock = multiprocessing.Lock()

    def __call__(self, path: Path) -> torch.Tensor:
        with self._lock:
            return decode(path)


def large(path: Path) -> np.ndarray:
    """Return far more than was read, as floats in an object that is pickled."""
    return Large(np.full((3, 512, 512), len(path.name), np.float32))


class Large:
    """An array that torch does not put into shared memory."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values


class EvictingCache:
    """A directory that keeps the files used last, and so, in a shuffled epoch, the wrong ones."""

    def __init__(self, directory: Path, most: int) -> None:
        self._directory, self._most = directory, most
        self._kept: OrderedDict[Path, Path] = OrderedDict()

    def __call__(self, path: Path) -> torch.Tensor:
        kept = self._kept.pop(path, None)
        if kept is None:
            kept = self._directory / f"{path.parent.name}-{path.name}"
            kept.write_bytes(path.read_bytes())
        self._kept[path] = kept
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)[1].unlink()
        return read(kept)


def torch_batches(dataset: Dataset, workers: int, *, collate: Any = None) -> Iterator[Any]:
    """Yield batches of shuffled epochs without end."""
    loader = DataLoader(
        dataset, BATCH, shuffle=True, num_workers=workers, collate_fn=collate, persistent_workers=workers > 0
    )
    for _ in itertools.count():
        yield from loader


def tiering_batches(path: Path, **settings: Any) -> Iterator[Any]:
    """The same of tiering's own loader."""
    loader = tiering.Loader(tiering.open_store(path), BATCH, **settings)
    for _ in itertools.count():
        yield from loader


def mapped_pages(path: Path) -> Iterator[Any]:
    """Touch pages of a mapped file at random, with more memory in use than a batch needs."""
    held = np.ones(30_000_000, np.uint8)
    dice = random.Random(0)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        pages.madvise(mmap.MADV_RANDOM)
        while True:
            yield [pages[dice.randrange(len(pages) // 4096) * 4096] for _ in range(256)], held[0]


class Crops(Dataset):
    """Random crops of mapped pixels, with some work on each."""

    def __init__(self, path: Path) -> None:
        self._pixels = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> torch.Tensor:
        left = random.randrange(16)
        pixels = torch.from_numpy(self._pixels[index, left : left + 112].astype(np.float32))
        return torch.nn.functional.interpolate(pixels.permute(2, 0, 1)[None], (SIDE, SIDE), mode="bicubic")[0]


def train(batches: Iterable[Any], step: Callable[[float], None], ready: int = 8) -> None:
    """Take batches and train on each. step: gets the s that the batches before took to load, as a mean."""
    begun = time.perf_counter()
    loading = 0.0
    for number, _ in enumerate(batches, 1):
        loading += time.perf_counter() - begun
        step(loading / number)
        if number == ready:
            print("ready", flush=True)
        begun = time.perf_counter()


def none(_mean: float) -> None:
    """Take no time at all."""


def slowly(_mean: float) -> None:
    """Wait for an accelerator that takes far longer than loading."""
    time.sleep(0.3)


def balanced(share: float) -> Callable[[float], None]:
    """Return a step that takes so long that a loader alone would need this share of the time.

    The first batches are taken without a step, to see how long loading takes by itself.
    """
    alone: list[float] = []

    def step(mean: float) -> None:
        if len(alone) < 24:
            alone.append(mean)
        else:
            time.sleep(alone[-1] / share)

    return step


def compute(mean: float, seconds: float = 0.05) -> None:
    """Compute on the processor."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        np.dot(np.ones((64, 64)), np.ones((64, 64)))


def first(items: list[Any]) -> Any:
    """Leave a batch as it is."""
    return items


def run(kind: str, data: Path, cache: Path) -> None:
    """Train in one of the ways."""
    torch.set_num_threads(1)
    images = data / "images"
    match kind:
        case "slow disk" | "slow opens":
            train(torch_batches(Images(images, read), 2), none, ready=2)
        case "slow disk, no workers" | "slow opens, no workers":
            train(torch_batches(Images(images, read), 0), none, ready=2)
        case "slow disk, threads":
            train(tiering_batches(images, threads=4), none, ready=2)
        case "decoding":
            train(torch_batches(Images(images, decode), 2), none)
        case "one worker":
            train(torch_batches(Images(images, decode), 1), none)
        case "slow consumer":
            train(torch_batches(Images(images, read), 2), slowly, ready=2)
        case "lock":
            train(torch_batches(Images(images, Locked()), 4), none)
        case "memory":
            train(mapped_pages(data / "pixels.npy"), none)
        case "cache that thrashes":
            evicting = EvictingCache(cache, most=40)
            train(torch_batches(Images(images, evicting), 0), none)
        case "transfer":
            train(torch_batches(Images(images, large, repeat=4), 2, collate=first), none)
        case "healthy, 2 workers":
            train(torch_batches(Images(images, decode), 2), balanced(0.4), ready=30)
        case "healthy, no workers":
            train(torch_batches(Images(images, decode), 0), balanced(0.4), ready=30)
        case "healthy, tiering.Loader":
            train(
                tiering_batches(data / "photos.lmdb", images=tiering.RandomResizedCrop(SIDE)), balanced(0.4), ready=30
            )
        case "healthy, memmap":
            train(torch_batches(Crops(data / "pixels.npy"), 2), balanced(0.4), ready=30)
        case "healthy, one process computes":
            train(torch_batches(Images(images, read), 0), compute)
        case _:
            raise SystemExit(f"no such job: {kind}")


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
