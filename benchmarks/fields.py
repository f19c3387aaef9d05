"""What fields cost: image-only epochs of a store with fields and without, and epochs with three small fields.

Usage: python -m benchmarks.fields --images DIR [--before CHECKOUT] [--rounds 9] [--work DIR]

A table gives each image an integer, a float, a box of four floats and a caption of about 60 characters. Images are
views, copied into bytes of their own, or decoded. Each way serves warm epochs in a process of its own, in turn, for at
least 0.2 s each time. With --before, the same store without fields is also served by another checkout of tiering, such
as the version before fields. The ratios are of samples per second, in the same round, by the clock and by processor
time. The second ones hold on a busy machine, too. Finally, a bare loop shows what the strings of the captions alone
cost. About two minutes for 10,000 images.
"""

from __future__ import annotations

import argparse
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

import tiering

#: Serves epochs for each line of stdin, and prints their seconds by the clock and of the processor for each sample.
SERVE: Final = """
import itertools, sys, time, tiering
loader = tiering.Loader(sys.argv[1], 256, images=sys.argv[2], **({"fields": sys.argv[3:]} if sys.argv[3:] else {}))
epochs, least = itertools.count(), 2.0  # the first ones map the files, and find out that they are in memory
for _ in sys.stdin:
    began, used, served = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < least:
        for batch in loader.epoch(next(epochs)):
            [*batch.images], batch.labels, [batch[name] for name in sys.argv[3:]]
            served += len(batch)
    print((time.perf_counter() - began) / served, (time.process_time() - used) / served, flush=True)
    least = 0.2
"""
ROOT: Final = Path(__file__).parent.parent
NUMBERS: Final = ("number", "score", "box")
CAPTION: Final = ("number", "score", "caption")
TEXT: Final = "a caption of sixty characters for the image with the number {}"


class Cost(NamedTuple):
    """Seconds for a sample: by the clock, and of the processor."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--before", type=Path, help="another checkout of tiering")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.work) as name:
        work = Path(name)
        plain, rich = stores(asked.images.absolute(), work)
        earlier = plain_for(asked.before, asked.images.absolute(), work) if asked.before else None
        for images in ("encoded", "bytes", "pixels"):
            ways = {"image only, store without fields": Server(plain, images)}
            if earlier is not None:
                ways["image only, before"] = Server(earlier, images, at=asked.before)
            ways["image only, store with fields"] = Server(rich, images)
            ways["with an integer, a float and a vector"] = Server(rich, images, *NUMBERS)
            ways["with an integer, a float and a caption"] = Server(rich, images, *CAPTION)
            show(images, ways, asked.rounds)
    print(f"bare loop over captions in a mapped file: {bare_captions() * 1e6:.3f} us of processor time each")


def stores(images: Path, work: Path) -> tuple[Path, Path]:
    """Pack the images without fields and with them."""
    plain, rich, table = work / "plain", work / "rich", work / "list.parquet"
    tiering.convert(images, plain, "lmdb")
    with tiering.open_store(plain) as store:
        keys = [os.fsdecode(key) for key in store.index.keys(np.arange(len(store)))]
    rows = pl.DataFrame({"path": keys}).with_row_index("number")
    sides = [pl.col("number") / divisor for divisor in (2, 3, 5, 7)]
    rows.with_columns(
        (pl.col("number") / 7).alias("score"),
        pl.concat_list(sides).list.to_array(len(sides)).alias("box"),
        pl.format(TEXT, "number").alias("caption"),
    ).write_parquet(table)
    tiering.convert(tiering.TableSource(table, root=images), rich, "lmdb")
    return plain, rich


def plain_for(checkout: Path, images: Path, work: Path) -> Path:
    """Pack the images with another checkout."""
    store = work / "before"
    command = [sys.executable, "-m", "tiering", "convert", str(images), str(store), "--to", "lmdb"]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": ""}, cwd=checkout, stdout=subprocess.DEVNULL)
    return store


class Server:
    """A process that serves epochs of a store."""

    def __init__(self, store: Path, images: str, *fields: str, at: Path | None = None) -> None:
        env = os.environ | {"PYTHONPATH": ""}
        command = [sys.executable, "-c", SERVE, str(store), images, *fields]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=at or ROOT
        )

    def cost(self) -> Cost:
        """Serve some epochs and return what a sample cost."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("no pipes")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Cost(*map(float, self._process.stdout.readline().split()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def show(images: str, ways: dict[str, Server], rounds: int) -> None:
    """Measure the ways in turn; the first is what the others are compared with."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, server in ways.items():
            cost = server.cost()
            if number:
                costs[name].append(cost)
    for server in ways.values():
        server.close()
    base = next(iter(costs.values()))
    for name, found in costs.items():
        rate = 1 / statistics.median(cost.wall for cost in found)
        cpu = statistics.median(cost.cpu for cost in found)
        pairs = list(zip(base, found, strict=True))
        by_wall = statistics.median(one.wall / other.wall for one, other in pairs)
        by_cpu = statistics.median(one.cpu / other.cpu for one, other in pairs)
        figures = f"{rate:,.0f} samples/s, {by_wall:.3f} x; {cpu * 1e6:.3f} us of processor time, {by_cpu:.3f} x"
        print(f"{images}: {name}: {figures}", flush=True)


def bare_captions(count: int = 60_000, batch: int = 256) -> float:
    """Return the seconds that a loop takes to make one string from a mapped file, in random order."""
    texts = [TEXT.format(number).encode() for number in range(count)]
    end = np.cumsum([len(text) for text in texts])
    begin = end - [len(text) for text in texts]
    order = np.random.default_rng(0).permutation(count)
    least = float("inf")
    with tempfile.TemporaryFile() as file:
        file.write(b"".join(texts))
        file.flush()
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            for _ in range(20):
                began = time.process_time()
                for at in range(0, count, batch):
                    rows = order[at : at + batch]
                    places = zip(begin[rows].tolist(), end[rows].tolist(), strict=True)
                    [mapped[first:last].decode() for first, last in places]
                least = min(least, (time.process_time() - began) / count)
    return least


if __name__ == "__main__":
    main()
