"""Stores of re-encoded images: how fast they are made, how fast they are served, and how small they are.

    python -m benchmarks.reencoding --images DIR [--rounds 7] [--limit 1000] [--copies 8] [--work DIR]

DIR holds JPEGs. Three things are measured, in turn in every round, so that they meet the same machine:

- Conversion on all cores, to 400 pixels (longest side, quality 90) and to 256, of so many copies of the images. Beside
  it the bare work, of which conversion can be no more than all: the same images, in memory, decoded, resized and
  encoded by the same functions, in as many processes, and nothing read or written. All processes are running and warm,
  and conversion ends with everything synced. Pillow and OpenCV (where it is installed) do the same in their usual way.
  On a busy machine only the rates per CPU-second mean something; they do not show waiting.
- Ready batches, RandomResizedCrop(224, flip=0.5), from the originals and from each store, images per second of the
  processor. All fit into memory.
- Bytes of samples against those of their originals.

`kept` stores keep the chroma subsampling of each JPEG, which is what convert does. `4:2:0` stores are made from
originals whose colours were halved before, to show what the subsampling costs.
About five minutes for 1,000 ImageNet photographs; `--rounds 1 --limit 24 --copies 1` shows in 15 seconds that it works.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import simplejpeg
from PIL import Image

import tiering
from tiering.images.encoder_build import encoder_build
from tiering.images.reencoding import reencode
from tiering.system.file_calls import sync_file_system
from tiering.system.machine import usable_cores

try:
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
except ImportError:
    cv2 = None

SIZES: Final = {"400": tiering.Reencoded(max_side=400), "256": tiering.Reencoded(max_side=256)}
CROP: Final = tiering.RandomResizedCrop(224, flip=0.5)
#: Images that a process of the bare work makes at a time.
TOGETHER: Final = 8


def ours(path: Path, how: tiering.Reencoded) -> int:
    return len(reencode(_held(path), path.name, how))


def pillow(path: Path, how: tiering.Reencoded) -> int:
    with Image.open(io.BytesIO(_held(path))) as image:
        size = how.size(*image.size)
        image.draft("RGB", (2 * size[0], 2 * size[1]))
        made = io.BytesIO()
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(made, "JPEG", quality=how.quality)
    return len(made.getvalue())


def opencv(path: Path, how: tiering.Reencoded) -> int:
    pixels = cv2.imdecode(np.frombuffer(_held(path), np.uint8), cv2.IMREAD_COLOR)
    size = how.size(pixels.shape[1], pixels.shape[0])
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return len(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, how.quality])[1])


WAYS: Final[dict[str, Callable[[Path, tiering.Reencoded], int]]] = {
    "bare": ours, "Pillow": pillow, **({} if cv2 is None else {"OpenCV": opencv})
}  # fmt: skip
_files: Final[dict[Path, bytes]] = {}


def _held(path: Path) -> bytes:
    """Return the bytes of a file, which each process reads once."""
    if path not in _files:
        _files[path] = path.read_bytes()
    return _files[path]


def made(way: str, paths: Sequence[Path], how: tiering.Reencoded) -> int:
    return sum(WAYS[way](path, how) for path in paths)


class Cost(NamedTuple):
    """Seconds by the clock, and of all processors together."""

    wall: float
    cpu: float


class Clock:
    """Measures what this process and its children use, from where it was made."""

    def __init__(self) -> None:
        self._began = self._now()

    def read(self) -> Cost:
        now = self._now()
        return Cost(now.wall - self._began.wall, now.cpu - self._began.cpu)

    @staticmethod
    def _now() -> Cost:
        ticks = 0
        for child in multiprocessing.active_children():
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return Cost(time.perf_counter(), time.process_time() + ticks / os.sysconf("SC_CLK_TCK"))


def pooled(pool: ProcessPoolExecutor, way: str, paths: Sequence[Path], how: tiering.Reencoded) -> Cost:
    """Do the bare work on all processes."""
    clock = Clock()
    parts = [paths[at : at + TOGETHER] for at in range(0, len(paths), TOGETHER)]
    for _ in pool.map(made, [way] * len(parts), parts, [how] * len(parts)):
        pass
    return clock.read()


def converted(images: Path, store: Path, pool: ProcessPoolExecutor, how: tiering.Reencoded | None) -> Cost:
    """Convert on all cores. The shards are small enough for all cores to be busy to the end."""
    clock = Clock()
    size = sum(path.stat().st_size for path in images.iterdir())
    tiering.convert(images, store, "lmdb", encode=how, shards=tiering.Shards(max(size // 32, 1)), workers=pool)
    sync_file_system(store)
    return clock.read()


def served(store: Path, epoch: int) -> float:
    """Serve an epoch of ready batches, and return its seconds of processor time."""
    with tiering.Loader(store, 64, seed=epoch, images=CROP) as loader:
        began = time.process_time()
        for batch in loader.epoch(epoch):
            assert batch.images.shape[1:] == (3, 224, 224)
        return time.process_time() - began


def halved(images: Path, to: Path) -> Path:
    """Write the same photographs with half of their colours, both ways, at the highest quality."""
    to.mkdir()
    left_out = []
    for path in sorted(images.iterdir()):
        try:
            pixels = simplejpeg.decode_jpeg(path.read_bytes())
        except ValueError:
            left_out.append(path.name)
            continue
        (to / path.name).write_bytes(simplejpeg.encode_jpeg(pixels, 98, colorsubsampling="420"))
    if left_out:
        print(f"Left out of 4:2:0: {len(left_out)} images that simplejpeg does not decode, such as {left_out[0]}")
    return to


def shown(name: str, values: Sequence[float], form: str = "{:.2f}") -> None:
    low, high = (form.format(each) for each in (min(values), max(values)))
    print(f"{name:58} {form.format(statistics.median(values))} ({low}-{high})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    cores = usable_cores()
    with tempfile.TemporaryDirectory(dir=asked.work) as name, ProcessPoolExecutor(cores) as pool:
        work = Path(name)
        images, many = work / "images", work / "many"
        images.mkdir()
        many.mkdir()
        every = sorted(path for path in asked.images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        for number, path in enumerate(every[: asked.limit]):
            kept = images / f"{number:06}-{path.name}"  # classes may have files of one name
            shutil.copy(path, kept)
            for copy in range(asked.copies):
                (many / f"{copy}-{kept.name}").hardlink_to(kept)
        print(f"{len(every[: asked.limit]):,} images on {cores} cores; {encoder_build('jpeg')}")
        conversion(work, many, pool, asked.rounds)
        serving(work, images, pool, asked.rounds)


def conversion(work: Path, images: Path, pool: ProcessPoolExecutor, rounds: int) -> None:
    """Compare conversion with the bare work."""
    paths = sorted(images.iterdir())
    costs: dict[tuple[str, str], list[Cost]] = {}
    for turn in range(rounds + 1):  # the first one warms up
        for size, how in SIZES.items():
            for way in WAYS:
                costs.setdefault((size, way), []).append(pooled(pool, way, paths, how))
            store = work / f"{turn}-{size}.lmdb"
            costs.setdefault((size, "convert"), []).append(converted(images, store, pool, how))
            shutil.rmtree(store)
    for size in SIZES:
        of = {way: costs[size, way][1:] for way in (*WAYS, "convert")}
        for way, each in of.items():
            shown(f"to {size}: {way}, images/s", [len(paths) / took.wall for took in each], "{:,.0f}")
            shown(f"to {size}: {way}, images per CPU-second", [len(paths) / took.cpu for took in each], "{:,.0f}")
        both = [*zip(of["bare"], of["convert"], strict=True)]
        shown(f"to {size}: convert / bare (goal 0.9)", [bare.wall / took.wall for bare, took in both])
        shown(f"to {size}: convert / bare, per CPU-second", [bare.cpu / took.cpu for bare, took in both])


def serving(work: Path, images: Path, pool: ProcessPoolExecutor, rounds: int) -> None:
    """Compare ready batches from the originals with those from smaller images, and the bytes of both."""
    stores = {}
    for colours, source in (("kept", images), ("4:2:0", halved(images, work / "halved"))):
        for size, how in SIZES.items():
            stores[f"{size}, {colours}"] = work / f"{size}-{colours}"
            converted(source, stores[f"{size}, {colours}"], pool, how)
    converted(images, work / "originals", pool, None)
    original = tiering.open_store(work / "originals").manifest
    for name, store in stores.items():
        manifest = tiering.open_store(store).manifest
        share = manifest.image_bytes / manifest.samples / (original.image_bytes / original.samples)
        print(f"{name + ': bytes of the originals':58} {share:.3f}")
    rates: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        for name, store in {"originals": work / "originals", **stores}.items():
            samples = tiering.open_store(store).manifest.samples
            rates.setdefault(name, []).append(samples / served(store, turn))
    for name, each in rates.items():
        shown(f"ready images per CPU-second from {name}", each[1:], "{:,.0f}")
    for name in stores:
        ratios = [mine / theirs for mine, theirs in zip(rates[name][1:], rates["originals"][1:], strict=True)]
        shown(f"{name} / originals (goal {'2.5' if name.startswith('400') else '5'})", ratios)


if __name__ == "__main__":
    main()
