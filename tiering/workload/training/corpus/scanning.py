"""Runs that read everything once: nearly all their bytes are reads, and none are repeated.

Read-only is not re-read: Hadoop scans, web search and IOR reads are 99.9 % reads (Chen, Alspaugh and Katz, VLDB 2012,
on MapReduce).
"""

from __future__ import annotations

import numpy as np

from tiering.arrays import IndexArray
from tiering.workload.training.corpus import rows


def _tree(count: int, folders: int, suffix: str) -> list[str]:
    """Name the files of a source tree or home directory, in sorted order."""
    per_folder = -(-count // folders)
    return [f"/srv/tree/d{number // per_folder:03d}/f{number:05d}{suffix}" for number in range(count)]


def _walk(rng: np.random.Generator, count: int, folders: int) -> IndexArray:
    """Return the order of a directory walk: sorted, or in the hashed order of the file system.

    Programs that read one large folder have usually sorted its names, or read them as they were listed.
    """
    order = np.arange(count)
    if rng.random() > (0.35 if folders >= 4 else 0.06):
        return order
    folder = order * folders // count
    return order[np.lexsort((rng.random(count), rng.permutation(folders)[folder]))]


def table_scan(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Hadoop-like: many tasks read the blocks of large files, each once, and write a small result."""
    files = rows.log_uniform(rng, 2, max(3, 40 * scale))
    blocks = int(rng.integers(2, 9))
    block = int(rng.choice([16, 64, 128])) << 20
    calls = int(rng.integers(4, 17))
    tasks = rng.permutation(files * blocks) if rng.random() < 0.5 else np.arange(files * blocks)
    slots = int(rng.choice([1, 4, 16]))
    which = np.repeat(tasks, calls)
    at = (which % blocks) * block + np.tile(np.arange(calls), len(tasks)) * (block // calls)
    pid = np.repeat(np.arange(len(tasks)) % slots, calls)
    reads = rows.by_process(rng, rows.touch("read", which // blocks, at, block // calls, pid=pid))
    result = rows.visit(
        np.array([files]), np.array([int(files * blocks * block * rng.uniform(0, 0.1)) + 100]), 16 << 20, op="write"
    )
    moves = rows.chain(rows.session(reads, np.arange(files), "r"), result)
    return rows.finish(
        rng, moves, [*rows.numbered("/hdfs/part-{:05d}", files), "/hdfs/out/part-r-00000"], files * blocks * block
    )


def _walked(
    rng: np.random.Generator, scale: float, *, workers: int, output: float, suffix: str, flat: bool
) -> rows.SyntheticRun:
    count = rows.log_uniform(rng, 60, max(80, 1500 * scale))
    sizes = rows.file_sizes(rng, count, rows.log_uniform(rng, 800, 1_000_000))
    folders = 1 if flat else int(rng.integers(1, max(2, count // 10)))
    order = _walk(rng, count, folders)
    buffer = max(int(rng.choice([4096, 10240, 65536, 131072])), int(sizes.mean()) // 12)
    pid = np.arange(count) % workers  # all take the next file from one queue
    moves = rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid, stat=bool(rng.random() < 0.6)))
    out = int(sizes.sum() * output)
    if out:
        calls = max(1, min(out // 100, count // 4))
        moves = rows.interleave(
            rng, moves, rows.touch("write", np.full(calls, count), np.arange(calls) * (out // calls), out // calls)
        )
    return rows.finish(rng, moves, [*_tree(count, folders, suffix), "/srv/out/result"], int(sizes.sum()))


def archive_source(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """tar, rsync or a backup agent: walks a tree and reads every file whole; the output goes down a pipe."""
    return _walked(rng, scale, workers=1, output=0.0, suffix=".dat", flat=False)


def text_search(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Grep through a source tree, alone or with a few threads."""
    return _walked(
        rng, scale, workers=int(rng.choice([1, 4, 8])), output=float(rng.choice([0.0, 0.001])), suffix=".c", flat=False
    )


def inference(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A trained network over new images: each is read once, whole, and a short result is written."""
    output = float(rng.choice([0.0, 0.001, 0.05]))
    return _walked(
        rng, scale, workers=int(rng.choice([1, 1, 4])), output=output, suffix=".jpg", flat=bool(rng.random() < 0.5)
    )


def checksums(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """IOR reads, sha256sum, copying to the network: large files from start to end, some in several processes."""
    files = rows.log_uniform(rng, 1, max(2, 30 * scale))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 1e7, 1e9))
    buffer = max(32768, int(sizes.mean()) // 40)
    moves = rows.by_process(
        rng, rows.visit(np.arange(files), sizes, buffer, pid=np.arange(files) % int(rng.choice([1, 4])))
    )
    return rows.finish(rng, moves, rows.numbered("/archive/{:03d}.iso", files), int(sizes.sum()))


def mapped_scan(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A search or a loaded network that maps its files: their bytes are touched once, without any call."""
    files = rows.log_uniform(rng, 1, max(2, 300 * scale))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 10_000, 1e9))
    one = np.arange(files)
    moves = np.stack(
        [
            rows.touch("open", one, flags="r"),
            rows.touch("stat", one),
            rows.touch("mmap", one, 0, sizes, flags="r"),
            rows.touch("close", one),
        ]
    )
    fresh = rows.log_uniform(rng, 1, max(2, 200 * scale))
    new = rows.visit(np.arange(files + 1, files + 1 + fresh), rows.file_sizes(rng, fresh, 10_000), 65536)
    lines = rows.touch("write", np.full(20, files), np.arange(20) * 80, 80)
    total = int(sizes.sum())
    names = [
        *rows.numbered("/srv/model/{:05d}.bin", files),
        "/srv/out.txt",
        *rows.numbered("/srv/in/{:05d}.json", fresh),
    ]
    return rows.finish(rng, rows.chain(moves.T.ravel(), rows.interleave(rng, new, lines)), names, None, (total, 0))


def mapped_tables(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A query over mapped column files (Arrow): footers are read, columns are mapped and touched once."""
    files = rows.log_uniform(rng, 2, max(3, 200 * scale))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 1e5, 1e9))
    total = int(sizes.sum())
    one = np.arange(files)
    steps = [
        rows.touch("open", one, flags="r"),
        rows.touch("stat", one),
        rows.touch("read", one, np.maximum(0, sizes - 4096), np.minimum(sizes, 4096)),
        rows.touch("mmap", one, 0, sizes, flags="r"),
    ]
    result = rows.visit(
        np.array([files]), np.array([rows.log_uniform(rng, 100, total / 20)]), total // 400 + 1, op="write"
    )
    moves = rows.chain(np.stack(steps).T.ravel(), result, rows.touch("close", one))
    return rows.finish(
        rng, moves, [*rows.numbered("/lake/{:04d}.arrow", files), "/lake/out/result.csv"], total, (total, 0)
    )
