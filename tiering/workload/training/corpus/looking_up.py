"""Runs that look things up: random reads from a large space, few of them repeated.

A short part of them resembles training from a packed file. But most of the files is never read, and favourites come
back while others have never been read (SPC WebSearch traces; Cao et al., FAST 2020, on RocksDB).
"""

from __future__ import annotations

import numpy as np

from tiering.workload.training.corpus import rows


def _favourites(rng: np.random.Generator, calls: int, slots: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Draw positions to read: mostly anywhere, up to one in ten among a few favourites."""
    popular = rng.random(calls) < rng.uniform(0.0, 0.12)
    return np.where(popular, rng.integers(0, max(2, calls // 30), calls), rng.integers(0, slots, calls))


def index_lookups(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Web search: page-aligned reads of one size, anywhere in a few index files, by several threads."""
    calls = rows.log_uniform(rng, 200, max(300, 4000 * scale))
    size = int(rng.choice([8192, 16384, 32768]))
    files = int(rng.integers(1, 8))
    slots = calls * int(rng.integers(8, 60))
    slot = _favourites(rng, calls, slots)
    reads = rows.touch("read", slot % files, slot // files * size, size, pid=np.arange(calls) % int(rng.choice([1, 8])))
    return rows.finish(
        rng, rows.session(reads, np.arange(files), "r"), rows.numbered("/index/seg{}.bin", files), slots * size
    )


def point_queries(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Gets from a key-value store: one block of one of many tables, a little log of its own."""
    calls = rows.log_uniform(rng, 200, max(300, 4000 * scale))
    files = int(rng.integers(10, 80))
    block = int(rng.choice([4096, 16384]))
    slots = calls * int(rng.integers(6, 40))
    slot = _favourites(rng, calls, slots)
    sizes = block + rng.integers(-300, 300, calls)
    reads = rows.touch("read", slot % files, slot // files * (block + 300), sizes, pid=np.arange(calls) % 4)
    log = rows.touch("write", np.full(calls // 50, files), np.arange(calls // 50) * 120, 120)
    moves = rows.chain(rows.touch("open", np.arange(files), flags="r"), rows.interleave(rng, reads, log))
    return rows.finish(rng, moves, [*rows.numbered("/kv/{:06d}.sst", files), "/kv/LOG"], slots * block)


def range_requests(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A server of map tiles or media: each request opens an archive and reads a stretch of it in a few calls."""
    requests = rows.log_uniform(rng, 60, max(80, 700 * scale))
    files = int(rng.integers(3, 40))
    calls, buffer = int(rng.integers(1, 6)), int(rng.choice([16384, 65536, 262144]))
    slots = requests * int(rng.integers(6, 40))
    slot = _favourites(rng, requests, slots)
    pid = np.arange(requests) % int(rng.choice([1, 4, 16]))
    opened = rows.touch("open", slot % files, pid=pid, flags="r")[:, None]
    at = (slot // files)[:, None] * calls * buffer + np.arange(calls) * buffer
    reads = rows.touch("read", (slot % files)[:, None], at, buffer, pid=pid[:, None])
    closed = rows.touch("close", slot % files, pid=pid)[:, None]
    moves = rows.by_process(rng, np.concatenate([opened, reads, closed], axis=1).ravel())
    return rows.finish(rng, moves, rows.numbered("/tiles/{:03d}.pmtiles", files), slots * calls * buffer)


def column_scan(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A query over Parquet files: the footer of each, then some of its column chunks, by several tasks."""
    files = rows.log_uniform(rng, 4, max(6, 150 * scale))
    groups, columns = int(rng.integers(2, 9)), int(rng.integers(4, 20))
    chunk = rows.log_uniform(rng, 20_000, 4_000_000)
    wanted = np.sort(rng.permutation(columns)[: int(rng.integers(1, columns))])
    at = (np.arange(groups)[:, None] * columns + wanted).ravel() * chunk
    order = np.arange(files) if rng.random() < 0.5 else rng.permutation(files)
    end = groups * columns * chunk
    tasks = int(rng.choice([1, 4, 8]))
    pieces = []
    for position, file in enumerate(order):
        pid = position % tasks
        footer = rows.touch("read", [file], end, 8000, pid=pid)
        pieces.append(
            rows.session(rows.chain(footer, rows.touch("read", [file], at, chunk, pid=pid)), [file], "r", pid=pid)
        )
    moves = rows.by_process(rng, rows.chain(*pieces))
    return rows.finish(rng, moves, rows.numbered("/lake/part-{:05d}.parquet", files), files * end)
