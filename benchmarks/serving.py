"""What the loader costs, against bare loops that do the same work: warm, decoding, pixels, orders, memory.

Usage: python benchmarks/serving.py --images DIR [--tiny DIR] [--rounds 5] [--work DIR]

- warm: encoded images as bytes of their own, and as views, against a loop that copies the same slices out of maps of
  the same shards in the same order.
- decoded: against simplejpeg on as many threads, over the same images, which nothing has to be read for.
- pixels: 224 x 224 x 3 in a Zarr store with block shuffle, against numcodecs decoding the same chunks on as many
  threads, and against decoding and resizing the JPEGs.
- orders: the first batch of 10^8 samples, positions/s, and memory.
- memory: an epoch in a process whose control group may use 256 MiB, page cache included (needs root and cgroup v1).
"""

from __future__ import annotations

import argparse
import mmap
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

import tiering
from tiering.images.image import decode
from tiering.permutation import EpochOrder
from tiering.store.codecs import parse_codec
from tiering.system.machine import usable_cores

Rate = Callable[[int], float]
GROUP = Path("/sys/fs/cgroup/memory")
LIMIT = 256 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--tiny", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.work) as name:
        work = Path(name)
        tiering.convert(asked.images, work / "images", "lmdb")
        shown("warm", asked.rounds, warm(tiering.open_store(work / "images")))
        if asked.tiny:
            tiering.convert(asked.tiny, work / "tiny", "lmdb")
            shown("warm, tiny", asked.rounds, warm(tiering.open_store(work / "tiny")))
        shown("decoded, 1,500 images", asked.rounds, decoded(tiering.open_store(work / "images"), 1500))
        pixels = some(asked.images, work / "some", 4000)
        for codec in ("zstd", "blosc-lz4"):
            tiering.convert(pixels, work / codec, "zarr", pixels=tiering.Pixels(224, 224), codec=codec)
            shown(f"pixels, {codec}", asked.rounds, chunks(tiering.open_store(work / codec), pixels))
        orders()
        memory(work / "images")


def shown(title: str, rounds: int, ways: dict[str, Rate]) -> None:
    """Measure ways in turn, rounds times; the first is what the others are compared with."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            rates[name].append(way(number))
    base = next(iter(rates.values()))
    for name, found in rates.items():
        ratio = statistics.median(one / other for one, other in zip(found, base, strict=True))
        print(
            f"{title}: {name}: {statistics.median(found):,.0f}/s ({min(found):,.0f}-{max(found):,.0f}), {ratio:.2f} x"
        )


def epochs_of(store: tiering.Store, **settings: object) -> Rate:
    def rate(epoch: int) -> float:
        loader = tiering.Loader(store, 256, seed=1, **settings)
        loader.set_epoch(epoch)
        began, samples = time.perf_counter(), 0
        for batch in loader:
            samples += len(batch.labels)
            if settings.get("images") == "bytes":
                for _ in batch.images:
                    pass
        return samples / (time.perf_counter() - began)

    return rate


def warm(store: tiering.Store) -> dict[str, Rate]:
    maps = []
    for path in store.files():
        with path.open("rb") as file:
            maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    for each in maps:
        for at in range(0, len(each), 1 << 24):
            each[at : at + (1 << 24)]

    def bare(epoch: int) -> float:
        ranges = store.byte_ranges(EpochOrder(len(store), 1, epoch).take(0, len(store)))
        slices = list(
            zip(ranges.file.tolist(), ranges.offset.tolist(), (ranges.offset + ranges.size).tolist(), strict=True)
        )
        began = time.perf_counter()
        for file, begin, end in slices:
            maps[file][begin:end]
        return len(slices) / (time.perf_counter() - began)

    return {"bare copies": bare, "Loader, copies": epochs_of(store, images="bytes"), "Loader, views": epochs_of(store)}


def decoded(store: tiering.Store, limit: int) -> dict[str, Rate]:
    def bare(epoch: int) -> float:
        images = [bytes(image) for image in store.read(EpochOrder(len(store), 1, epoch).take(0, limit))]
        images = [image for image in images if image[:2] == b"\xff\xd8"]
        with ThreadPoolExecutor(usable_cores()) as pool:
            began = time.perf_counter()
            for _ in pool.map(simplejpeg.decode_jpeg, images, chunksize=32):
                pass
            return len(images) / (time.perf_counter() - began)

    return {"bare simplejpeg": bare, "Loader(images='pixels')": epochs_of(store, images="pixels", limit=limit)}


def chunks(store: tiering.Store, images: Path) -> dict[str, Rate]:
    codec = parse_codec(store.manifest.settings.codec)
    encoded = [codec.encode(memoryview(store[i].image.reshape(-1))) for i in range(1000)]
    threads = usable_cores()

    def bare(_: int) -> float:
        def decode_all(part: list[bytes]) -> None:
            out = memoryview(bytearray(224 * 224 * 3))
            for each in part:
                codec.decode_into(each, out)

        with ThreadPoolExecutor(threads) as pool:
            began = time.perf_counter()
            list(pool.map(decode_all, [encoded[at::threads] for at in range(threads)]))
            return len(encoded) / (time.perf_counter() - began)

    folder = tiering.open_store(images)

    def resized(epoch: int) -> float:
        def make(sample: tiering.Sample) -> np.ndarray:
            return np.asarray(Image.fromarray(decode(sample.image)).resize((224, 224)))

        return epochs_of(folder, transform=make, limit=500)(epoch)

    return {
        "bare numcodecs": bare,
        "Loader, block shuffle": epochs_of(store, shuffle="block"),
        "JPEG decoded and resized": resized,
    }


def some(images: Path, to: Path, count: int) -> Path:
    """Link the first so many images of class folders into a directory of its own."""
    found = sorted(path for path in images.glob("*/*") if path.is_file())[:count]
    for path in found:
        (to / path.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(path, to / path.parent.name / path.name)
    return to


def orders() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    order = EpochOrder(10**8, 1, 1)
    order.take(0, 256)
    first = time.perf_counter() - began
    began, count = time.perf_counter(), 1 << 23
    for at in range(0, count, 1 << 14):
        order.take(at, at + (1 << 14))
    rate = count / (time.perf_counter() - began)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"orders of 10^8: first batch after {first * 1000:.1f} ms, {rate / 1e6:.1f} M positions/s, {grown:.0f} MiB more"
    )


SERVE = """
import resource, sys, time, tiering
store = tiering.open_store(sys.argv[1])
began = time.perf_counter()
scratch = bytearray(int(store.index.size.max()))
for _ in range(2):
    for batch in tiering.Loader(store, 256):
        for image in batch.images:
            scratch[: len(image)] = image
own = [line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon")][0]
rate = 2 * len(store) / (time.perf_counter() - began)
print(f"{rate:,.0f} images/s in two epochs; {int(own) / 1024:.0f} MiB of its own at the end")
"""


def memory(store: Path) -> None:
    if not (GROUP / "memory.limit_in_bytes").exists() or os.geteuid():
        print("memory: not measured, it needs root and cgroup v1's memory controller")
        return
    group = GROUP / f"tiering-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
        Path("/proc/sys/vm/drop_caches").write_text("3")
        joined = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        command = ["sh", "-c", joined, "sh", sys.executable, "-c", SERVE, str(store)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        peak = int((group / "memory.max_usage_in_bytes").read_text()) / 2**20
        print(f"memory: {done.stdout.strip() or done.stderr[-500:]}; the group's peak {peak:.0f} of {LIMIT >> 20} MiB")
    finally:
        group.rmdir()


if __name__ == "__main__":
    main()
