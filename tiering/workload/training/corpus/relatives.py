"""Relatives of families that are hard to tell apart by what they read, so that each has company when it is held out.

Training on large files in order, on mapped tokens, on chunk files, on pairs of images and labels, and without a known
framework; against passes over the same kinds of data: extracted features, evaluations, services, scans, loaded models
and tables. And runs that read first and then write for long: fine-tuning of large models, and forecasts of the weather.
"""

from __future__ import annotations

import numpy as np

from tiering.arrays import IndexArray
from tiering.workload.training.corpus import rows


def _saved(rng: np.random.Generator, file: int, moved: int) -> rows.Rows:
    """Write a checkpoint of 0.01 to 10 % of what an epoch moves."""
    size = max(1000, int(moved * 10 ** rng.uniform(-4, -1)))
    return rows.visit(np.array([file]), np.array([size]), max(65536, size // 20), op="write")


def _in_folders(count: int, folders: int, suffix: str) -> list[str]:
    each = -(-count // folders)
    return [f"/data/pictures/k{number // each:04d}/p{number:06d}{suffix}" for number in range(count)]


def _walk(rng: np.random.Generator, count: int, folders: int) -> IndexArray:
    """Return the order of a walk: sorted, or as the file system keeps it, one folder after the other."""
    order = np.arange(count)
    if rng.random() < 0.65:
        return order
    folder = order // -(-count // folders)
    return order[np.lexsort((rng.random(count), rng.permutation(folders)[folder]))]


def _pictures(rng: np.random.Generator, scale: float) -> tuple[int, int, IndexArray, int]:
    """Draw the number of pictures and of folders, sizes, and the size of a read call."""
    count = rows.log_uniform(rng, 60, max(80, 800 * scale))
    sizes = rows.file_sizes(rng, count, rows.log_uniform(rng, 1000, 2_000_000))
    folders = int(rng.choice([1, 4, 12, 30]))
    return count, folders, sizes, max(int(rng.choice([4096, 8192, 65536, 1 << 20])), int(sizes.mean()) // 10)


def streamed_text(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training that streams a few large files of text or tokens in order, each worker its own, in every epoch."""
    files = int(rng.choice([1, 2, 4, 8]))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 1e6, 5e8), 0.3)
    buffer = max(int(rng.choice([8192, 65536, 262144])), int(sizes.sum()) // max(100, int(1200 * scale)))
    pid = np.arange(files) % int(rng.choice([1, 2, 4]))
    pieces = []
    for epoch in range(int(rng.integers(3, 12))):
        pieces.append(rows.by_process(rng, rows.visit(np.arange(files), sizes, buffer, pid=pid)))
        pieces.append(_saved(rng, files + epoch % 2, int(sizes.sum())))
    suffix = str(rng.choice([".txt", ".jsonl", ".bin", ".csv", ".tfrecord"]))
    names = [*rows.numbered("/data/corpus/part-{:03d}" + suffix, files), "/runs/lm-a.pt", "/runs/lm-b.pt"]
    return rows.finish(rng, rows.chain(*pieces), names, int(sizes.sum()))


def mapped_tokens(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training on mapped arrays of tokens: each worker maps them again in each epoch, and touches windows anywhere."""
    files = int(rng.choice([1, 2, 5, 20]))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 1e6, 2e9))
    total, workers, epochs = int(sizes.sum()), int(rng.choice([1, 2, 4])), int(rng.integers(3, 10))
    steps = rows.log_uniform(rng, 40, max(60, 800 * scale))
    pieces = []
    for epoch in range(epochs):
        for worker in range(workers if epoch == 0 or rng.random() < 0.7 else 0):
            one = np.arange(files)
            opened = rows.touch("open", one, pid=worker, flags="r")
            pieces += [opened, rows.touch("mmap", one, 0, sizes, pid=worker, flags="r")]
        lines = epoch * steps + np.arange(steps)
        pieces += [
            rows.touch("write", np.full(steps, files), lines * 70, 70),
            _saved(rng, files + 1, min(total, 10**7)),
        ]
    names = [*rows.numbered("/data/tokens/shard{:03d}.npy", files), "/runs/loss.log", "/runs/net.pt"]
    return rows.finish(rng, rows.chain(*pieces), names, total, (total, total * (epochs - 1)))


def chunk_files(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training from a chunked array, a file for each chunk, in an order of chunks that is new in each epoch."""
    chunks = rows.log_uniform(rng, 20, max(40, 400 * scale))
    sizes = rows.file_sizes(rng, chunks, rows.log_uniform(rng, 3e4, 1e7), 0.2)
    buffer = max(1 << 17, int(sizes.mean()) // 6)
    pid = np.arange(chunks) % int(rng.choice([1, 2, 4, 8]))
    pieces = [rows.visit(np.array([chunks]), np.array([700]), 4096)]
    for epoch in range(int(rng.integers(3, 9))):
        order = rng.permutation(chunks)
        pieces.append(rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid)))
        pieces.append(_saved(rng, chunks + 1 + epoch % 2, int(sizes.sum())))
    names = [
        *rows.numbered("/data/cubes.zarr/images/c/{}", chunks),
        "/data/cubes.zarr/zarr.json",
        "/runs/a.h5",
        "/runs/b.h5",
    ]
    return rows.finish(rng, rows.chain(*pieces), names, int(sizes.sum()))


def detection(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training on pairs, an image and its labels, in a new order each epoch, with a validation split in between."""
    count = rows.log_uniform(rng, 40, max(60, 350 * scale))
    images = rows.file_sizes(rng, count, rows.log_uniform(rng, 5000, 1_500_000))
    sizes = np.concatenate([images, rows.file_sizes(rng, count, 600)])
    buffer = max(int(rng.choice([8192, 65536, 1 << 20])), int(images.mean()) // 8)
    held_out, workers = int(count * 0.15), int(rng.choice([1, 2, 4, 8]))
    pieces = []
    for epoch in range(int(rng.integers(3, 8))):
        for order in (rng.permutation(count - held_out), count - held_out + np.arange(held_out)):
            pairs = np.stack([order, order + count]).T.ravel()
            pid = np.repeat(np.arange(len(order)) // 8 % workers, 2)
            pieces.append(rows.by_process(rng, rows.visit(pairs, sizes[pairs], buffer, pid=pid)))
        pieces.append(_saved(rng, 2 * count + epoch % 2, int(sizes.sum())))
    part = ["train" if number < count - held_out else "val" for number in range(count)]
    names = [f"/data/images/{each}/{number:06d}.jpg" for number, each in enumerate(part)]
    names += [f"/data/labels/{each}/{number:06d}.txt" for number, each in enumerate(part)]
    return rows.finish(rng, rows.chain(*pieces), [*names, "/runs/last.pt", "/runs/best.pt"], int(sizes.sum()))


def native_training(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training in a language of its own, from an array file: batches of neighbours, mostly in random order."""
    batches = rows.log_uniform(rng, 60, max(100, 1500 * scale))
    step = rows.log_uniform(rng, 4096, 3_000_000)
    workers = int(rng.choice([1, 1, 4]))
    pieces = [rows.touch("open", [0], flags="r"), rows.touch("read", [0], 0, 2048)]
    for epoch in range(int(rng.integers(3, 9))):
        order = rng.permutation(batches) if rng.random() < 0.8 else np.arange(batches)
        pid = np.arange(batches) % workers
        pieces.append(
            rows.by_process(rng, rows.touch("read", np.zeros(batches, int), 2048 + order * step, step, pid=pid))
        )
        pieces.append(_saved(rng, 1 + epoch % 2, batches * step))
    return rows.finish(rng, rows.chain(*pieces), ["/data/set.h5", "/runs/n-a.out", "/runs/n-b.out"], batches * step)


def extracted_features(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A network looks at each picture once, in the order of the listing, and its features are written."""
    count, folders, sizes, buffer = _pictures(rng, scale)
    order = _walk(rng, count, folders)
    pid = np.arange(count) // int(rng.choice([1, 8, 32])) % int(rng.choice([1, 2, 4, 8]))
    reads = rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid))
    result = max(200, int(sizes.sum() * 10 ** rng.uniform(-3.5, -1)))
    write = rows.visit(np.array([count]), np.array([result]), max(65536, result // 20), op="write")
    moves = rows.interleave(rng, reads, write) if rng.random() < 0.5 else rows.chain(reads, write)
    return rows.finish(rng, moves, [*_in_folders(count, folders, ".jpg"), "/data/features.npy"], int(sizes.sum()))


def evaluated_network(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A checkpoint is loaded and tested on a held-out split, once, by a few workers; a line of results is written."""
    count, folders, sizes, buffer = _pictures(rng, scale)
    weights = np.array([rows.log_uniform(rng, 1e5, max(2e5, int(sizes.sum())))])
    load = rows.visit(np.array([count]), weights, max(65536, int(weights[0]) // 30))
    order = np.arange(count) if rng.random() < 0.8 else _walk(rng, count, folders)
    pid = np.arange(count) // int(rng.choice([4, 16, 64])) % int(rng.choice([1, 2, 4, 8]))
    reads = rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid, stat=bool(rng.random() < 0.5)))
    names = [name.replace("/pictures/", "/pictures/val/") for name in _in_folders(count, folders, ".jpg")]
    result = rows.visit(np.array([count + 1]), np.array([400]), 4096, op="write")
    moves = rows.chain(load, reads, result)
    return rows.finish(rng, moves, [*names, "/runs/7/best.pt", "/runs/7/results.json"], int(sizes.sum()))


def picture_service(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A service that gives out or scores pictures as they are asked for: each once or nearly, in any order; a log."""
    count, folders, sizes, buffer = _pictures(rng, scale)
    order = rng.permutation(count)
    again = order[rng.random(count) < rng.uniform(0, 0.08)]
    order = np.concatenate([order, again])
    pid = rng.integers(0, int(rng.choice([1, 2, 4, 8])), len(order))
    moves = rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid, stat=bool(rng.random() < 0.6)))
    lines = min(len(order), int(sizes.sum()) // 2000)
    log = rows.touch("write", np.full(lines, count), np.arange(lines) * 110, 110)
    names = [*_in_folders(count, folders, ".jpg"), "/srv/log/requests"]
    return rows.finish(rng, rows.interleave(rng, moves, log), names, None)


def loaded_model(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A server maps the weights of a network once, then reads prompts or pictures and writes short answers."""
    shards = int(rng.choice([1, 2, 5, 12]))
    sizes = rows.file_sizes(rng, shards, rows.log_uniform(rng, 1e7, 5e9), 0.1)
    one = np.arange(shards)
    load = rows.chain(
        rows.touch("open", one, flags="r"),
        rows.touch("read", one, 0, 4096),
        rows.touch("mmap", one, 0, sizes, flags="r"),
    )
    asked = rows.log_uniform(rng, 20, max(30, 300 * scale))
    questions = rows.visit(shards + 1 + np.arange(asked), rows.file_sizes(rng, asked, 20_000), 65536)
    answers = rows.touch("write", np.full(asked, shards), np.arange(asked) * 300, 300)
    names = [*rows.numbered("/models/llm/model-{:05d}.safetensors", shards), "/srv/answers.jsonl"]
    names += rows.numbered("/srv/in/{:05d}.json", asked)
    moves = rows.chain(load, rows.interleave(rng, questions, answers))
    return rows.finish(rng, moves, names, None, (int(sizes.sum()), 0))


def scanned_tree(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A virus scanner, an indexer or a checksum over a tree of pictures: heads or whole files, folder by folder."""
    count, folders, sizes, buffer = _pictures(rng, scale)
    order = _walk(rng, count, folders)
    seen = sizes if rng.random() < 0.7 else np.minimum(sizes, int(rng.choice([65536, 262144])))
    pid = np.arange(count) % int(rng.choice([1, 1, 2, 4]))
    moves = rows.by_process(rng, rows.visit(order, seen[order], buffer, pid=pid, stat=True))
    return rows.finish(rng, moves, _in_folders(count, folders, ".png"), int(sizes.sum()))


def loaded_tables(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """An analysis loads a few large tables into memory, from start to end, and writes a small result."""
    tables = int(rng.choice([1, 2, 4, 9]))
    sizes = rows.file_sizes(rng, tables, rows.log_uniform(rng, 1e6, 5e8), 0.4)
    buffer = max(int(rng.choice([8192, 65536, 262144, 1 << 20])), int(sizes.sum()) // max(100, int(1400 * scale)))
    pid = np.arange(tables) % int(rng.choice([1, 1, 4]))
    reads = rows.by_process(rng, rows.visit(np.arange(tables), sizes, buffer, pid=pid))
    result = np.array([max(100, int(sizes.sum() * 10 ** rng.uniform(-5, -1.1)))])
    suffix = str(rng.choice([".csv", ".jsonl", ".parquet", ".txt", ".bin"]))
    names = [*rows.numbered("/data/export/table-{:02d}" + suffix, tables), "/out/summary.csv"]
    moves = rows.chain(reads, rows.visit(np.array([tables]), result, 1 << 20, op="write"))
    return rows.finish(rng, moves, names, int(sizes.sum()))


def finetuning(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A large network is loaded, trained on a small set, and written with its optimiser's state again and again."""
    ranks = int(rng.choice([1, 2, 4]))
    one = np.arange(ranks)
    weights = np.full(ranks, rows.log_uniform(rng, 3e6, 3e8))
    chunk = int(weights[0]) // int(rng.integers(4, 20))
    count = rows.log_uniform(rng, 20, 200)
    sizes = rows.file_sizes(rng, count, max(200, int(weights[0]) // (count * 8)))
    pieces = [rows.by_process(rng, rows.visit(count + one, weights, chunk, pid=one))]
    for save in range(rows.log_uniform(rng, 3, max(4, 10 * scale))):
        order = rng.permutation(count)
        pieces.append(rows.visit(order, sizes[order], 65536, pid=order % ranks))
        target = count + ranks * (1 + save % 3) + one
        pieces.append(rows.by_process(rng, rows.visit(target, 3 * weights, 3 * chunk, op="write", pid=one)))
    names = [*rows.numbered("/data/examples/{:05d}.json", count), *rows.numbered("/ckpt/part-{:03d}.pt", 4 * ranks)]
    return rows.finish(rng, rows.chain(*pieces), names, int(sizes.sum()))


def weather(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A forecast: each cycle reads its boundary file once, and writes the state of all ranks, three times as much."""
    ranks, cycles = int(rng.choice([1, 2, 4, 8])), rows.log_uniform(rng, 4, max(6, 30 * scale))
    chunk, calls = rows.log_uniform(rng, 1e4, 3e6), int(rng.integers(3, 12))
    pid = np.repeat(np.arange(ranks), calls)
    at = np.arange(ranks * calls) * chunk
    growth = int(rng.integers(2, 5))
    pieces = []
    for cycle in range(cycles):
        pieces.append(rows.by_process(rng, rows.touch("read", np.full_like(pid, cycle), at, chunk, pid=pid)))
        write = rows.touch("write", np.full_like(pid, cycles + cycle), at * growth, chunk * growth, pid=pid)
        pieces.append(rows.session(rows.by_process(rng, write), [cycles + cycle], "w"))
    names = [*rows.numbered("/proj/boundary-{:03d}.nc", cycles), *rows.numbered("/proj/out-{:03d}.nc", cycles)]
    return rows.finish(rng, rows.chain(*pieces), names, None)
