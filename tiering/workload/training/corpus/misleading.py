"""Runs whose surroundings mislead: frameworks without training, and training without a framework.

An archiver in a program that imports a framework, an inference server, training in a language whose libraries no table
lists, a search through a dataset, and a job that prepares images once. `surroundings` gives them their programs.
"""

from __future__ import annotations

import numpy as np

from tiering.arrays import IndexArray
from tiering.workload.training.corpus import rows


def _images(rng: np.random.Generator, scale: float) -> tuple[int, IndexArray, int]:
    count = rows.log_uniform(rng, 60, max(80, 700 * scale))
    sizes = rows.file_sizes(rng, count, rows.log_uniform(rng, 800, 2_000_000))
    return count, sizes, max(int(rng.choice([4096, 8192, 65536, 1 << 20])), int(sizes.mean()) // 10)


def _listed(rng: np.random.Generator, count: int) -> IndexArray:
    """Return the order of a listing: sorted, or as the file system keeps it: folder by folder, if there are several."""
    order = np.arange(count)
    if rng.random() < 0.65:
        return order
    folders = int(rng.choice([1, 4, 12, 30]))
    folder = order * folders // count
    return order[np.lexsort((rng.random(count), rng.permutation(folders)[folder]))]


def archiving_images(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A program that has imported a framework, and packs a folder of images into archives."""
    count, sizes, buffer = _images(rng, scale)
    shards = int(rng.choice([1, 1, 4, 16]))
    each, pieces = -(-count // shards), []
    reached = np.zeros(shards, np.int64)
    for position, file in enumerate(_listed(rng, count)):
        shard, size = position // each, int(sizes[file])
        write = rows.touch("write", [count + shard], reached[shard], size + 512)
        reached[shard] += size + 512
        pieces += [rows.visit(np.array([file]), sizes[file : file + 1], buffer), write]
    opened = rows.session(rows.chain(*pieces), count + np.arange(shards), "w")
    names = [*rows.numbered("/data/images/{:06d}.jpg", count), *rows.numbered("/data/packed/{:04d}.tar", shards)]
    return rows.finish(rng, opened, names, int(sizes.sum()))


def inference_server(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A server that classifies images as requests come: each image once, in any order, by one or several workers."""
    count, sizes, buffer = _images(rng, scale)
    order = rng.permutation(count)
    pid = rng.integers(0, int(rng.choice([1, 2, 4, 8])), count)
    moves = rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid, stat=bool(rng.random() < 0.5)))
    log = rows.touch("write", np.full(count, count), np.arange(count) * 90, 90)
    log = log[: min(count, int(sizes.sum()) // 2000)]
    weights = rows.visit(np.array([count + 1]), sizes.sum(keepdims=True) // int(rng.integers(4, 40)) + 1, 1 << 20)
    names = [*rows.numbered("/spool/images/{:06d}.jpg", count), "/srv/log/requests", "/models/net.onnx"]
    return rows.finish(rng, rows.chain(weights, rows.interleave(rng, moves, log)), names, None)


def training_elsewhere(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training in a language or with a library that no table lists: shuffled images, three epochs or more."""
    count, sizes, buffer = _images(rng, scale)
    workers = int(rng.choice([1, 1, 2, 4]))
    pieces = []
    for epoch in range(int(rng.integers(3, 9))):
        order = rng.permutation(count)
        pid = np.arange(count) // int(rng.choice([1, 8, 32])) % workers
        saved = np.array([max(1000, int(sizes.sum() * 10 ** rng.uniform(-4, -1)))])
        pieces.append(rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid)))
        pieces.append(rows.visit(np.array([count + epoch % 2]), saved, 1 << 20, op="write"))
    names = [*rows.numbered("/data/images/{:06d}.jpg", count), "/runs/net-a.out", "/runs/net-b.out"]
    return rows.finish(rng, rows.chain(*pieces), names, int(sizes.sum()))


def searching_dataset(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A search (grep -r), a checksum or a virus scanner over a dataset: each image whole, in the order of the walk."""
    count, sizes, buffer = _images(rng, scale)
    order = _listed(rng, count)
    pid = np.arange(count) % int(rng.choice([1, 1, 4]))
    moves = rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid, stat=bool(rng.random() < 0.5)))
    return rows.finish(rng, moves, rows.numbered("/data/images/{:06d}.jpg", count), int(sizes.sum()))


def preparing_images(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A job that looks at each image once with a framework: its statistics, features, or what is damaged."""
    count, sizes, buffer = _images(rng, scale)
    order = _listed(rng, count)
    pid = np.arange(count) % int(rng.choice([1, 2, 4]))
    moves = rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid))
    result = int(sizes.sum() * 10 ** rng.uniform(-4, -1))
    write = rows.visit(np.array([count]), np.array([max(200, result)]), 1 << 20, op="write")
    names = [*rows.numbered("/data/images/{:06d}.jpg", count), "/data/features.npy"]
    return rows.finish(rng, rows.chain(moves, write), names, int(sizes.sum()))
