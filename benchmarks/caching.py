"""What the cache delivers: hit ratios, bytes fetched, its bound, the cost of a hit, and a bucket far away.

Usage: python -m benchmarks.caching --images DIR [--tiny DIR] [--work DIR] [--only hits,processes,overhead,bucket]

- hits: epochs 2 to 4 at caches of a share c of the dataset; the largest size of the directory, looked at every 10 ms.
- processes: four ranks on one machine, cold, then a second epoch: what they fetch together.
- overhead: what a hit costs above the plain LMDB store (tiny images, batches of 256).
- bucket: a store in an S3 server on loopback behind a proxy of 30 ms median and 200 ms p99 latency, and so many MB/s.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import tiering
from benchmarks.lru_cache import lru_cached
from tests.s3 import BUCKET, s3_environment, s3_server

SHARES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.8)
BANDWIDTH = 20e6
MEDIAN, P99 = 0.030, 0.200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--tiny", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", default="hits,processes,overhead,bucket")
    asked = parser.parse_args()
    chosen = asked.only.split(",")
    with tempfile.TemporaryDirectory(dir=asked.work) as name:
        work = Path(name)
        tiering.convert(asked.images, work / "images.lmdb", "lmdb")
        if "hits" in chosen:
            hits(work / "images.lmdb", work)
        if "processes" in chosen:
            processes(work / "images.lmdb", work)
        if "overhead" in chosen and asked.tiny:
            tiering.convert(asked.tiny, work / "tiny.lmdb", "lmdb")
            overhead(work / "tiny.lmdb", work)
        if "bucket" in chosen:
            bucket(asked.images, work)


def serve(store: tiering.Store, epoch: int, **settings: object) -> float:
    """Serve an epoch, every byte copied once; return samples/s."""
    loader = tiering.Loader(store, 256, seed=1, **settings)
    loader.set_epoch(epoch)
    scratch = bytearray(int(store.index.size.max()))
    began, samples = time.perf_counter(), 0
    for batch in loader:
        for image in batch.images:
            scratch[: len(image)] = image
        samples += len(batch)
    return samples / (time.perf_counter() - began)


def size_of(directory: Path) -> int:
    total = 0
    for at, _, names in os.walk(directory):
        for name in names:
            try:
                found = (Path(at) / name).stat()
            except FileNotFoundError:
                continue
            total += max(found.st_size, found.st_blocks * 512)
    return total


@contextmanager
def watched(directory: Path) -> Iterator[list[int]]:
    """Note the largest size that a directory has, looked at every 10 ms."""
    largest, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            largest[0] = max(largest[0], size_of(directory))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield largest
    finally:
        done.set()
        thread.join()


def hits(path: Path, work: Path) -> None:
    print(
        "| c | hit ratio, epochs 2 to 4 | fetched an epoch | written after the first | largest, of the bound ", end=""
    )
    print("| LRU instead | LRU in theory |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for share in SHARES:
        origin = tiering.open_store(path)
        whole = origin.manifest.image_bytes
        size = int(share * whole)
        store = tiering.cached(origin, size, work / f"cache-{share}")
        with watched(work / f"cache-{share}") as largest:
            serve(store, 0)
            ratios, fetched, first = [], [], store.stats()
            for epoch in (1, 2, 3):
                before = store.stats()
                serve(store, epoch)
                now = store.stats()
                ratios.append((now.hits - before.hits) / len(store))
                fetched.append((now.origin_bytes - before.origin_bytes) / whole)
            written = store.stats().admitted_bytes - first.admitted_bytes
        store.close()
        spread = f"{min(ratios):.4f} to {max(ratios):.4f}"
        print(
            f"| {share} | {spread} | {statistics.median(fetched):.4f} | {written:,} B | {largest[0] / size:.4f} "
            f"| {lru(path, work / f'lru-{share}', size):.4f} | {share + (1 - share) * math.log(1 - share):.4f} |",
            flush=True,
        )


def lru(path: Path, cache: Path, size: int) -> float:
    """Return the hit ratio in epochs 2 to 4 of a cache that evicts what was used longest ago."""
    store = lru_cached(path, size, cache)
    serve(store, 0)
    before = store.stats()
    for epoch in (1, 2, 3):
        serve(store, epoch)
    now = store.stats()
    store.close()
    return (now.hits - before.hits) / (3 * len(store))


def rank_of_four(path: str, cache: Path, size: int, rank: int, epochs: int, results: object) -> None:
    store = tiering.cached(path, size, cache)
    found = []
    for epoch in range(epochs):
        before = store.stats().origin_bytes
        serve(store, epoch, ranks=tiering.Ranks(rank, 4))
        found.append(store.stats().origin_bytes - before)
    results.put(found)


def processes(path: Path, work: Path) -> None:
    whole = tiering.open_store(path).manifest.image_bytes
    for share in (0.5, 1.1):
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        arguments = (str(path), work / f"ranks-{share}", int(share * whole))
        ranks = [context.Process(target=rank_of_four, args=(*arguments, rank, 3, results)) for rank in range(4)]
        for rank in ranks:
            rank.start()
        found = [results.get() for _ in ranks]
        for rank in ranks:
            rank.join()
        epochs = [f"{sum(each) / whole:.4f}" for each in zip(*found, strict=True)]
        print(
            f"processes: c = {share}: four ranks fetch {', '.join(epochs)} of the dataset in epochs 1 to 3", flush=True
        )


def overhead(path: Path, work: Path) -> None:
    plain = tiering.open_store(path)
    store = tiering.cached(path, "1GB", work / "overhead")
    serve(store, 0)
    costs = []
    for epoch in range(1, 8):
        bare, behind = serve(plain, epoch), serve(store, epoch)
        costs.append(1e6 / behind - 1e6 / bare)
    print(
        f"overhead: a hit costs {statistics.median(costs):.2f} us ({min(costs):.2f}-{max(costs):.2f}) above plain LMDB",
        flush=True,
    )
    store.close()


class FarAway:
    """A proxy before a server: every request waits for its latency, and all share one bandwidth.

    Latencies are lognormal with MEDIAN and P99; bytes sent to clients are counted.
    """

    def __init__(self, target: str, bandwidth: float) -> None:
        self._target = urlsplit(target)
        self._bandwidth = bandwidth
        self._free_at = 0.0
        self.sent = 0
        self._random = random.Random(0)
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        self._server = self._loop.run_until_complete(asyncio.start_server(self._client, "127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = None
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if upstream is None:
                    upstream = await asyncio.open_connection(self._target.hostname, self._target.port)
                sigma = math.log(P99 / MEDIAN) / 2.326
                await asyncio.sleep(MEDIAN * math.exp(sigma * self._random.gauss(0, 1)))
                upstream[1].write(head + await reader.readexactly(_length(head)))
                answer = await upstream[0].readuntil(b"\r\n\r\n")
                writer.write(answer)
                left = 0 if head.startswith(b"HEAD") else _length(answer)
                while left:
                    piece = await upstream[0].read(min(left, 1 << 16))
                    left -= len(piece)
                    self._free_at = max(self._free_at, time.monotonic()) + len(piece) / self._bandwidth
                    await asyncio.sleep(max(0.0, self._free_at - time.monotonic()))
                    writer.write(piece)
                    await writer.drain()
                    self.sent += len(piece)
                if b"connection: close" in answer.lower():
                    upstream[1].close()
                    upstream = None
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()
            if upstream is not None:
                upstream[1].close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


def bucket(images: Path, work: Path) -> None:
    samples = 3000
    some = work / "some"
    found = sorted(path for path in images.rglob("*") if path.is_file())[:samples]
    for path in found:
        (some / path.parent.name).mkdir(parents=True, exist_ok=True)
        os.link(path, some / path.parent.name / path.name)
    with s3_server() as endpoint, s3_environment(endpoint):
        url = f"s3://{BUCKET}/images.lmdb"
        tiering.convert(some, url, "lmdb", shards=tiering.Shards(16 << 20))
        tiering.convert(some, work / "local.lmdb", "lmdb")
        with FarAway(endpoint, BANDWIDTH) as far, s3_environment(far.endpoint):
            rates, warm, spent = [], [], []
            for number in range(2):
                store = tiering.cached(url, "1GB", work / f"far-{number}")
                before = far.sent
                cold = serve(store, 0)
                spent.append((far.sent - before) / store.manifest.image_bytes)
                rates.append(cold * store.manifest.image_bytes / len(store) / BANDWIDTH)
                plain = tiering.open_store(work / "local.lmdb")
                serve(plain, 0)
                serve(store, 1)
                again = [serve(store, epoch) / serve(plain, epoch) for epoch in range(2, 62)]
                warm.append(statistics.median(again))
                last = store.stats()
                store.close()
            print(
                f"bucket: cold {statistics.median(rates):.0%} of {BANDWIDTH / 1e6:.0f} MB/s "
                f"({min(rates):.0%}-{max(rates):.0%}); sent {statistics.median(spent):.3f} of the dataset; at c = 1 "
                f"later epochs at {statistics.median(warm):.0%} of a local LMDB store; "
                f"{last.hedged} hedged, depth {last.depth}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
