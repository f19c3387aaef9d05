"""The scan and the sampled profile of a tree of a million small images, beside `find -printf '%s %p'`.

python -m benchmarks.scan WORKDIR [--files N] [--rounds R] [--seeds S] [--keep]

Makes WORKDIR/tree where it is not there: N files in N/1000 class folders of unequal sizes, file sizes log-normal around
12 kB with another mean in each folder, nine in ten a JPEG, the rest PNG. Then, interleaved in each round: find, the
full metadata scan with its peak memory (the process's and those of its workers), and the sampled profile, header reads
included. Last, the sampled profile once for each seed: how many of its 95 % intervals hold the true number of files,
the true bytes and the true mean size. All with the page cache warm. Removes the tree, unless told to keep it.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from tiering.dataset.counting import count_tree
from tiering.dataset.profile import profile_dataset

_LINE = "find {:.2f} s (CPU {:.2f}), scan {:.2f} s (CPU {:.2f}), sampled profile {:.3f} s, peak {:.0f} MiB"
_SHAPES = ((64, 48), (48, 64), (64, 64), (120, 90))


def make_tree(tree: Path, files: int) -> None:
    """Make the tree; about 60 us a file. Bodies are holes: what the file system keeps is the head and the end."""
    rng = np.random.default_rng(20260101)
    folders = max(1, files // 1000)
    weight = rng.lognormal(0, 0.5, folders)
    counts = np.diff(np.rint(np.cumsum(np.r_[0, weight / weight.sum()]) * files).astype(int))
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_make_folder, [tree] * folders, range(folders), counts.tolist(), chunksize=8))


def _make_folder(tree: Path, number: int, count: int) -> None:
    rng = np.random.default_rng((7, number))
    heads = _heads()
    folder = tree / f"class{number:04d}"
    folder.mkdir(parents=True)
    sizes = rng.lognormal(math.log(12_000) + rng.normal(0, 0.25), 0.9, count).astype(int) + 900
    kinds = rng.random(count)
    for index, (size, kind) in enumerate(zip(sizes.tolist(), kinds.tolist(), strict=True)):
        head, end = heads[index % len(_SHAPES) + (len(_SHAPES) if kind < 0.1 else 0)]
        name = f"{folder}/img_{index:06d}.{'png' if kind < 0.1 else 'jpg'}"
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.pwrite(handle, head + b"%012d" % (number * 10**6 + index), 0)
        os.pwrite(handle, end, size - len(end))
        os.close(handle)


def _heads() -> list[tuple[bytes, bytes]]:
    heads = []
    for kind, end in (("JPEG", b"\xff\xd9"), ("PNG", b"\0\0\0\0IEND\xaeB`\x82")):
        for shape in _SHAPES:
            buffer = io.BytesIO()
            Image.new("RGB", shape, (90, 120, 40)).save(buffer, kind)
            heads.append((buffer.getvalue()[:800].removesuffix(end), end))
    return heads


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def scan_apart(tree: Path) -> dict[str, float]:
    """Scan in a process of its own, so that its peak memory is the scan's, Python and libraries included."""
    command = [sys.executable, "-m", "benchmarks.scan", str(tree.parent), "--inside"]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def inside(tree: Path) -> None:
    """Print seconds and sums of one scan, and its peak memory in MiB: that of this process and of all its workers."""
    before = sum(os.times()[:4])
    with Watch(os.getpid()) as watch:
        began = time.perf_counter()
        totals = count_tree(tree, keep=2000)
        seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu": sum(os.times()[:4]) - before,
                "mib": watch.peak / 2**20,
                "files": totals.sizes.count,
                "bytes": totals.sizes.total,
            }
        )
    )


class Watch(threading.Thread):
    """Adds up, every 20 ms, the resident memory of a process and of its children; the largest sum is the peak."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak, self.done = process, 0, threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()

    def run(self) -> None:
        while not self.done.wait(0.02):
            children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
            self.peak = max(self.peak, sum(map(_resident, [str(self.process), *children])))


def _resident(process: str) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def find(tree: Path) -> None:
    subprocess.run(["find", tree, "-printf", "%s %p\n"], stdout=subprocess.DEVNULL, check=True)


def compare(tree: Path, rounds: int) -> dict[str, float]:
    """Return the true sums, and print medians of the rounds."""
    find(tree)
    rows = []
    for _ in range(rounds):
        before = sum(os.times()[2:4])
        seconds = timed(lambda: find(tree))
        cpu = sum(os.times()[2:4]) - before
        scan = scan_apart(tree)
        sampled = timed(lambda: profile_dataset(tree, sample=2000))
        rows.append((seconds, cpu, scan["seconds"], scan["cpu"], sampled, scan["mib"]))
        print(_LINE.format(*rows[-1]), flush=True)
    ratios = [row[0] / row[2] for row in rows]
    shares = [row[4] / row[2] for row in rows]
    print("medians: " + _LINE.format(*(statistics.median(column) for column in zip(*rows, strict=True))))
    print(f"speed of the scan over find's: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
    print(f"sampled profile over the scan: {statistics.median(shares):.3f} ({min(shares):.3f}-{max(shares):.3f})")
    return scan


def intervals(tree: Path, truth: dict[str, float], seeds: int) -> None:
    """Print of how many seeds the intervals hold the truth, and how wide they are."""
    true = {"files": truth["files"], "bytes": truth["bytes"], "size_mean": truth["bytes"] / truth["files"]}
    held = dict.fromkeys(true, 0)
    widths: dict[str, list[float]] = {name: [] for name in true}
    for seed in range(seeds):
        estimates = profile_dataset(tree, sample=2000, seed=seed).estimates
        for name, value in true.items():
            held[name] += estimates[name].low <= value <= estimates[name].high
            widths[name].append((estimates[name].high - estimates[name].low) / 2 / value)
    for name in true:
        print(f"{name}: {held[name]} of {seeds} intervals hold the truth; half a width is {np.mean(widths[name]):.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    tree = asked.workdir / "tree"
    if asked.inside:
        inside(tree)
        return
    if not tree.exists():
        print(f"made {asked.files:,} files in {timed(lambda: make_tree(tree, asked.files)):.0f} s", flush=True)
    truth = compare(tree, asked.rounds) if asked.rounds else scan_apart(tree)
    print(f"{truth['files']:,} files, {truth['bytes']:,} bytes", flush=True)
    if asked.seeds:
        intervals(tree, truth, asked.seeds)
    if not asked.keep:
        shutil.rmtree(tree)


if __name__ == "__main__":
    main()
