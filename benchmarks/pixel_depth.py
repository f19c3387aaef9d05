"""What deep pixels cost: a store of 8 bits against another version of tiering, and other types by bytes.

    python benchmarks/pixel_depth.py [--against CHECKOUT] [--samples 8000] [--side 128] [--rounds 7] [--work DIR]

- serving: warm epochs of one store of uint8 RGB, uncompressed and with blosc-lz4, by this version and by the one in
  CHECKOUT (a worktree of an earlier commit), which also packs it. Both read the same files, in turns, each in a process
  of its own.
- packing: PNG and JPEG of 8 bits to pixels, by both versions.
- types: GB/s of uint8, uint16 and float32 stores with rows of the same bytes, by this version.

Rates are those of the best epoch, by the clock and by processor time, which other work on the machine disturbs less. A
ratio is the median over the rounds of this version's rate over the other's in the same round. The defaults take about 5
minutes on two idle cores, `--samples 1000 --rounds 3` about one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import tiering

ROOT = Path(__file__).parent.parent

#: Run in a process of its own, with either version on the path: prints images/s.
SERVING = """
import sys, time, tiering
loader = tiering.Loader(sys.argv[1], 128, shuffle={"global": True}.get(sys.argv[2], sys.argv[2]), seed=1)
took = []
for epoch in range(6):
    began = time.perf_counter(), time.process_time()
    served = sum(len(batch) for batch in loader.epoch(epoch))
    took.append((time.perf_counter() - began[0], time.process_time() - began[1]))
print(*(served / min(each) for each in zip(*took[1:])))
"""
CONVERTING = """
import sys, tiering
tiering.convert(sys.argv[1], sys.argv[2], "zarr", pixels=tiering.Pixels(), codec=sys.argv[3])
"""
PACKING = """
import sys, time
from pathlib import Path
from tiering.images.pixels import PixelShape, to_pixels
files = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
shape = PixelShape(96, 96, 3)
took = []
for _ in range(4):
    began = time.perf_counter(), time.process_time()
    for data in files:
        to_pixels(data, "x", shape, "crop")
    took.append((time.perf_counter() - began[0], time.process_time() - began[1]))
print(*(len(files) / min(each) for each in zip(*took)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="a checkout of another version")
    parser.add_argument("--samples", type=int, default=8000)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    versions = {"this": ROOT} | ({"other": asked.against.resolve()} if asked.against else {})
    with tempfile.TemporaryDirectory(dir=asked.work) as name:
        work = Path(name)
        for codec in ("none", "blosc-lz4"):
            store = work / f"pictures-{codec}"
            source = pictures(work / "pictures", "PNG", asked.samples, asked.side)
            run(CONVERTING, [str(source), str(store), codec], [*versions.values()][-1])
            for shuffle in ("global", "block"):
                compare(f"serving uint8, {codec}, {shuffle}", SERVING, [str(store), shuffle], versions, asked.rounds)
        for kind in ("PNG", "JPEG"):
            compare(f"packing {kind}", PACKING, [str(pictures(work / kind, kind))], versions, asked.rounds)
        row = asked.side * asked.side * 3
        for dtype in ("uint8", "uint16", "float32"):
            for codec in ("none", "blosc-lz4"):
                store = store_of(work, dtype, asked.samples, asked.side, codec)
                rates = [run(SERVING, [str(store), "block"], ROOT)[0] for _ in range(asked.rounds)]
                ratio = sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) / (asked.samples * row)
                rate = statistics.median(rates) * row / 1e9
                print(f"{dtype}, {codec}: {rate:.2f} GB/s, stored in {ratio:.2f} of the bytes")


def compare(title: str, code: str, arguments: list[str], versions: dict[str, Path], rounds: int) -> None:
    rates: dict[str, list[list[float]]] = {name: [] for name in versions}
    for number in range(rounds):
        for name in [*versions][:: 1 if number % 2 else -1]:
            rates[name].append(run(code, arguments, versions[name]))
    for at, clock in enumerate(("clock", "processor")):
        found = {name: [rate[at] for rate in each] for name, each in rates.items()}
        text = ", ".join(f"{name} {statistics.median(each):,.0f}/s" for name, each in found.items())
        if "other" in found:
            ratios = [mine / other for mine, other in zip(found["this"], found["other"], strict=True)]
            text += f", ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"{title}, {clock}: {text}", flush=True)


def run(code: str, arguments: list[str], version: Path) -> list[float]:
    environment = os.environ | {"PYTHONPATH": str(version)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True, cwd="/"
    )
    return [float(each) for each in done.stdout.split()]


def store_of(work: Path, dtype: str, samples: int, side: int, codec: str) -> Path:
    """Pack smooth arrays with some noise, whose rows have the same bytes for every type."""
    store = work / f"{dtype}-{codec}"
    if store.exists():
        return store
    arrays = work / dtype
    if not arrays.exists():
        arrays.mkdir()
        channels, item = 3, np.dtype(dtype).itemsize
        height = side // item
        ramp = np.add.outer(np.arange(height), np.arange(side))[:, :, None] / (height + side)
        random = np.random.default_rng(0)
        for number in range(samples):
            noisy = ramp + random.normal(scale=0.02, size=(height, side, channels))
            scale = {"uint8": 200, "uint16": 50_000, "float32": 1}[dtype]
            np.save(arrays / f"{number}.npy", np.clip(noisy * scale, 0, scale).astype(dtype))
    tiering.convert(
        arrays, store, "zarr", pixels=tiering.Pixels(dtype=None if dtype == "uint8" else dtype), codec=codec
    )
    return store


def pictures(folder: Path, kind: str, count: int = 300, side: int = 160) -> Path:
    """Draw smooth pictures of one size."""
    if folder.exists():
        return folder
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        small.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{number}.{kind.lower()}", kind)
    return folder


if __name__ == "__main__":
    main()
