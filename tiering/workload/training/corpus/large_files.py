"""Families that read pieces of large files: token files, tar shards, indexed records, segments of objects.

Checkpoints are those of large language models (weights and the optimiser's state, every few hundred steps; Rajbhandari
et al., SC 2020, on ZeRO). Tar shards follow WebDataset, indexed records ArrayRecord.
"""

from __future__ import annotations

import numpy as np

from tiering.workload.training.corpus import rows


def language_pretraining(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Pretraining from token files: ranks may resume, read tokens once, and write the whole state often."""
    ranks = int(rng.choice([1, 2, 4, 8]))
    one = np.arange(ranks)
    state = np.full(ranks, rows.log_uniform(rng, 3e6, 3e8))
    chunk = int(state[0]) // int(rng.integers(4, 24))
    saves = rows.log_uniform(rng, 3, max(5, 16 * scale))
    steps = rows.log_uniform(rng, 4, 40)
    batch = rows.log_uniform(rng, 8_000, max(9_000, int(state[0]) // (4 * steps)))
    files, pieces = int(rng.integers(1, 6)), []
    if rng.random() < 0.5:
        pieces.append(rows.by_process(rng, rows.visit(2 * ranks + files + one, state, chunk, pid=one)))
    for save in range(saves):
        step = save * steps * ranks + np.arange(steps * ranks)
        pieces.append(rows.touch("read", step % files, step // files * batch, batch, pid=step % ranks))
        pieces.append(
            rows.by_process(rng, rows.visit(files + save % 2 * ranks + one, state, chunk, op="write", pid=one))
        )
    paths = [*rows.numbered("/data/tokens-{:03d}.bin", files), *rows.numbered("/ckpt/rank-{:03d}.pt", 3 * ranks)]
    return rows.finish(rng, rows.chain(*pieces), paths, files * saves * steps * ranks * batch)


def tar_shards(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training from tar shards: workers stream whole shards, whose order is new in each epoch; a log of the loss."""
    shards = rows.log_uniform(rng, 6, max(10, 120 * scale))
    sizes = rows.file_sizes(rng, shards, rows.log_uniform(rng, 1e6, 3e8), 0.1)
    buffer = max(10240, int(sizes.mean()) // rows.log_uniform(rng, 4, 40))
    workers = int(rng.choice([1, 2, 4, 8]))
    pieces = []
    for epoch in range(int(rng.integers(3, 10))):
        order = rng.permutation(shards)
        reads = rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=np.arange(shards) % workers))
        lines = np.arange(max(1, shards // 8))
        log = rows.touch("write", np.full(len(lines), shards), (epoch * len(lines) + lines) * 90, 90)
        pieces.append(rows.interleave(rng, reads, log))
    paths = [*rows.numbered("/data/train-{:06d}.tar", shards), "/runs/loss.csv"]
    return rows.finish(rng, rows.chain(*pieces), paths, int(sizes.sum()))


def indexed_records(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training by random access to records in shards, by an index: every record once an epoch, by several workers."""
    count = rows.log_uniform(rng, 200, max(300, 3000 * scale))
    shards = int(rng.choice([1, 2, 8, 32]))
    sizes = rows.file_sizes(rng, count, rows.log_uniform(rng, 1000, 400_000))
    each = -(-count // shards)
    shard = np.arange(count) // each
    ends = np.cumsum(sizes)
    offsets = ends - sizes - np.concatenate([[0], ends])[shard * each]
    workers = int(rng.choice([1, 2, 8]))
    pieces = [rows.touch("open", np.arange(shards), flags="r")]
    for epoch in range(int(rng.integers(3, 9))):
        order = rng.permutation(count)
        pid = np.arange(count) // 16 % workers
        pieces.append(rows.by_process(rng, rows.touch("read", shard[order], offsets[order], sizes[order], pid=pid)))
        saved = np.array([max(1000, int(sizes.sum() * 10 ** rng.uniform(-4, -1)))])
        pieces.append(rows.visit(np.array([shards + epoch % 2]), saved, 1 << 20, op="write"))
    paths = [*rows.numbered("/data/part-{:05d}.array_record", shards), "/runs/a.ckpt", "/runs/b.ckpt"]
    return rows.finish(rng, rows.chain(*pieces), paths, int(sizes.sum()))


def object_gets(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A node of an object store: gets of objects of all sizes anywhere in many segments, and its own journal."""
    calls = rows.log_uniform(rng, 200, max(300, 3000 * scale))
    segments = int(rng.integers(2, 60))
    block = int(rng.choice([4096, 8192, 32768, 65536]))
    slots = calls * int(rng.integers(6, 40))
    slot = rng.integers(0, slots, calls)
    sizes = rng.integers(block // 4 + 1, block + 1, calls)
    reads = rows.touch("read", slot % segments, slot // segments * block, sizes, pid=np.arange(calls) % 8)
    entries = np.arange(calls // int(rng.integers(20, 200)) + 1)
    journal = rows.touch("write", np.full(len(entries), segments), entries * 200, 200)
    moves = rows.session(rows.interleave(rng, reads, journal), np.arange(segments), "r")
    return rows.finish(rng, moves, [*rows.numbered("/objects/{:05d}.seg", segments), "/objects/journal"], slots * block)
