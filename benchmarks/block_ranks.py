"""Requests and bytes of an epoch in a block order, with several loader processes as ranks, counted at the server.

Usage: python -m benchmarks.block_ranks [--samples N] [--window BLOCKS] [--ranks 1 2 4] [--formats lmdb zarr]

Photos of noise of about 110 kB are packed into a bucket of the S3 server of the tests, on loopback. Each rank is a
process. "Own windows" is the order of `shuffle="block"`: every block belongs to one rank. "Shared windows" is the order
of earlier versions, in which all ranks served each window together: a state that names no shares asks for it. Every run
checks that the ranks serve each sample once. "Predicted" comes from tiering/advice/tier_requests.py. The server is a
Python program on the same cores, so the times compare the two orders and are not rates of a bucket.

The small run below takes one to three minutes on two cores, the full run (the defaults, 1.1 GB) about ten:

    python -m benchmarks.block_ranks --samples 1200 --window 2
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import s3fs
from PIL import Image

import tiering
from tests.s3 import BUCKET, FaultyProxy, s3_environment, s3_server
from tiering.advice.cpu_costs import typical_costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.tier_requests import requests_of

BATCH = 64
#: Gives files of 110 kB.
SIDE, QUALITY = 320, 93


class Counting(FaultyProxy):
    """Counts the requests for ranges of files, and their bytes."""

    ranges = bytes = 0

    def draw(self, path: str, extent: str | None) -> tuple[bool, bool, bool]:
        if extent and "index" not in path:
            begin, end = extent.removeprefix("bytes=").split("-")
            with self._lock:
                self.ranges += 1
                self.bytes += int(end) - int(begin) + 1
        return super().draw(path, extent)


def photos(directory: Path, samples: int) -> None:
    random = np.random.default_rng(1)
    for number in range(samples):
        image = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(image, "JPEG", quality=QUALITY)
        folder = directory / f"class-{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(image.getvalue())


def rank(url: str, window: int, number: int, world_size: int, shared: bool, start: Any, results: Any) -> None:
    """Serve an epoch; put the samples that were served into results."""
    shuffle = tiering.BlockShuffle(window)
    with tiering.Loader(url, BATCH, shuffle=shuffle, images="bytes", ranks=tiering.Ranks(number, world_size)) as loader:
        loader.store.index.label[:1]
        if shared:
            state = loader.state_dict(0)
            del state["shares"]
            loader.load_state_dict(state)
        start.wait()
        results.put([index for batch in loader for index in batch.indices.tolist()])


def epoch(url: str, endpoint: str, window: int, world_size: int, shared: bool) -> tuple[int, int, float]:
    """Return the requests, their bytes, and the seconds of an epoch that world_size processes serve."""
    context = multiprocessing.get_context("spawn")
    with Counting(endpoint, 0.0) as proxy, s3_environment(proxy.endpoint):
        start, results = context.Barrier(world_size + 1), context.Queue()
        ranks = [
            context.Process(target=rank, args=(url, window, number, world_size, shared, start, results))
            for number in range(world_size)
        ]
        for each in ranks:
            each.start()
        start.wait()
        began, before = time.perf_counter(), (proxy.ranges, proxy.bytes)
        served = [index for _ in ranks for index in results.get()]
        took = time.perf_counter() - began
        for each in ranks:
            each.join()
        assert sorted(served) == list(range(len(served)))
        return proxy.ranges - before[0], proxy.bytes - before[1], took


def measure(directory: Path, endpoint: str, asked: argparse.Namespace) -> None:
    photos(directory / "photos", asked.samples)
    print("| store | ranks | windows | requests | predicted | bytes / dataset | s |\n|" + " --- |" * 7, flush=True)
    for name in asked.formats:
        tiering.convert(directory / "photos", directory / name, name)
        s3fs.S3FileSystem(use_listings_cache=False).put(str(directory / name), f"{BUCKET}/{name}", recursive=True)
        with tiering.open_store(directory / name) as store:
            data = DatasetSizes(len(store), store.manifest.image_bytes)
        for world_size in asked.ranks:
            predicted = requests_of(data, name, "none", typical_costs(data), "block", world_size)
            for shared in (True, False) if world_size > 1 else (False,):
                count, size, took = epoch(f"s3://{BUCKET}/{name}", endpoint, asked.window, world_size, shared)
                windows, expected = ("shared", "-") if shared else ("own", f"{predicted.count:,.0f}")
                print(
                    f"| {name}, {data.bytes / 1e9:.2f} GB | {world_size} | {windows} | {count:,} | {expected} | "
                    f"{size / data.bytes:.3f} | {took:.1f} |",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--window", type=int, default=tiering.BlockShuffle().window)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--formats", nargs="+", default=["lmdb", "zarr"], choices=["lmdb", "zarr"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, s3_server() as endpoint, s3_environment(endpoint):
        measure(Path(work), endpoint, asked)


if __name__ == "__main__":
    main()
