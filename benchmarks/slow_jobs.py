"""Training loops that are slow in one known way, and healthy ones, for benchmarks/causes.py and its test.

    python -m benchmarks.slow_jobs KIND DATA CACHE [--other-user]

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
from PIL import Image

import tiering
from benchmarks.other_user import become_other

BATCH = 16
SIDE = 64


class Images:
    """Image files, each read and turned into a tensor by a function."""

    def __init__(self, directory: Path, load: Callable[[Path], Any], repeat: int = 1) -> None:
        self._paths = sorted(directory.rglob("*.jpg")) * repeat
        self._load = load

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Any:
        return self._load(self._paths[index])


def read(path: Path) -> int:
    """Read a file, without any work on it."""
    return len(path.read_bytes())


def decode(path: Path) -> np.ndarray:
    """Read and decode an image, as a training would."""
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)).copy()


class Locked:
    """Decodes under a lock that all workers share, as around a file that only one of them may use at a time."""

    def __init__(self) -> None:
        self._lock = multiprocessing.Lock()

    def __call__(self, path: Path) -> np.ndarray:
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

    def __call__(self, path: Path) -> int:
        kept = self._kept.pop(path, None)
        if kept is None:
            kept = self._directory / f"{path.parent.name}-{path.name}"
            kept.write_bytes(path.read_bytes())
        self._kept[path] = kept
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)[1].unlink()
        return read(kept)


def torch_batches(dataset: Any, workers: int, *, collate: Any = None) -> Iterator[Any]:
    """Yield batches of shuffled epochs without end."""
    # Imported here: it takes seconds, which jobs without it need not wait.
    import torch  # noqa: PLC0415
    from torch.utils.data import DataLoader  # noqa: PLC0415

    torch.set_num_threads(1)
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


#: Pages that the job with too little memory reads again and again.
_TOUCHED = 16_000


def mapped_pages(path: Path) -> Iterator[Any]:
    """Touch the first pages of a mapped file at random, again and again: four times what their cache may hold."""
    held = np.ones(30_000_000, np.uint8)
    dice = random.Random(0)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        pages.madvise(mmap.MADV_RANDOM)
        while True:
            yield [pages[dice.randrange(_TOUCHED) * 4096] for _ in range(256)], held[0]


class Crops:
    """Random crops of mapped pixels, with some work on each."""

    def __init__(self, path: Path) -> None:
        self._pixels = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> Any:
        import torch  # noqa: PLC0415

        left = random.randrange(16)
        pixels = torch.from_numpy(self._pixels[index, left : left + 112].astype(np.float32))
        return torch.nn.functional.interpolate(pixels.permute(2, 0, 1)[None], (SIDE, SIDE), mode="bicubic")[0]


class Training:
    """The consumer: takes batches, and takes its time for each.

    seconds: s that a step takes. share: in place of them, the share of the time that the loader shall need: steps are
    then so long that this holds, as seen on the first batches, which are taken without a step.
    """

    def __init__(self, seconds: float = 0.0, share: float = 0.0, ready: int = 4, *, computes: bool = False) -> None:
        self._seconds, self._share, self._computes = seconds, share, computes
        self._ready = max(ready, _ALONE + 2) if share else ready

    def on(self, batches: Iterable[Any]) -> None:
        """Train for ever."""
        begun = time.perf_counter()
        for number, _ in enumerate(batches, 1):
            if self._share and number == _ALONE // 2:
                begun = time.perf_counter()
            if self._share and number == _ALONE:
                self._seconds = (time.perf_counter() - begun) / (_ALONE // 2) / self._share
            self._step()
            if number == self._ready:
                print("ready", flush=True)

    def _step(self) -> None:
        if not self._computes:
            time.sleep(self._seconds)
            return
        end = time.perf_counter() + self._seconds
        while time.perf_counter() < end:
            np.dot(np.ones((64, 64)), np.ones((64, 64)))


#: Batches that are taken at first without a step.
_ALONE = 32


def first(items: list[Any]) -> Any:
    """Leave a batch as it is."""
    return items


#: Each job: its batches, from the directories of data and of a cache, and its training.
JOBS: dict[str, tuple[Callable[[Path, Path], Iterable[Any]], Training]] = {
    "slow disk": (lambda data, _: torch_batches(Images(data / "images", read), 2), Training()),
    "slow disk, no workers": (lambda data, _: torch_batches(Images(data / "images", read), 0), Training()),
    "slow disk, threads": (lambda data, _: tiering_batches(data / "images", threads=4), Training()),
    "slow opens": (lambda data, _: torch_batches(Images(data / "images", read), 2), Training()),
    "decoding": (lambda data, _: torch_batches(Images(data / "images", decode), 2), Training()),
    "one worker": (lambda data, _: torch_batches(Images(data / "images", decode), 1), Training()),
    "slow consumer": (lambda data, _: torch_batches(Images(data / "images", read), 2), Training(0.3)),
    "lock": (lambda data, _: torch_batches(Images(data / "images", Locked()), 4), Training()),
    "memory": (lambda data, _: mapped_pages(data / "pixels.npy"), Training()),
    "cache that thrashes": (
        lambda data, cache: torch_batches(Images(data / "images", EvictingCache(cache, most=10)), 0),
        Training(),
    ),
    "transfer": (
        lambda data, _: torch_batches(Images(data / "images", large, repeat=4), 2, collate=first),
        Training(),
    ),
    "healthy, 2 workers": (lambda data, _: torch_batches(Images(data / "images", decode), 2), Training(share=0.5)),
    "healthy, no workers": (lambda data, _: torch_batches(Images(data / "images", decode), 0), Training(share=0.5)),
    "healthy, tiering.Loader": (
        lambda data, _: tiering_batches(data / "photos.lmdb", images=tiering.RandomResizedCrop(SIDE)),
        Training(share=0.5),
    ),
    "healthy, memmap": (lambda data, _: torch_batches(Crops(data / "pixels.npy"), 2), Training(share=0.5)),
    "healthy, one process": (
        lambda data, _: torch_batches(Images(data / "images", read), 0),
        Training(0.05, computes=True),
    ),
}


if __name__ == "__main__":
    found, training = JOBS[sys.argv[1]]
    if "--other-user" in sys.argv:
        # A first batch imports everything here; what workers import, they import in processes of their own.
        import secrets  # noqa: F401

        np.random.default_rng(0)
        begun = iter(found(Path(sys.argv[2]), Path(sys.argv[3])))
        next(begun)
        del begun
        for cached in Path(sys.argv[3]).iterdir():
            cached.unlink()
        become_other()
    training.on(found(Path(sys.argv[2]), Path(sys.argv[3])))
