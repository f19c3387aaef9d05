"""Runs that read the same data again and again: neural networks in training.

Every run reads its dataset once per epoch for at least three epochs, in a new order each time (or, for plain files of
records, always the same), and writes little: checkpoints, logs, a progress bar. Mohan et al., VLDB 2021, and Devarajan
et al., CCGrid 2021 (DLIO) describe such runs. In a real one of theirs, 91.6 % of the calls are writes, of its progress
bar, and 99.7 % of the bytes are reads.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tiering.arrays import IndexArray
from tiering.workload.training.corpus import rows

_BUFFERS = (4096, 8192, 32768, 65536, 131072, 1 << 20)


def _images(rng: np.random.Generator, count: int) -> list[str]:
    """Name images: class folders or one flat folder."""
    if rng.random() < 0.3:
        return rows.numbered("/data/images/{:06d}.png", count)
    per_class = max(1, count // int(rng.integers(2, 40)))
    return [f"/data/train/n{number // per_class:04d}/img_{number:06d}.jpg" for number in range(count)]


def _image_bytes(rng: np.random.Generator) -> float:
    """Draw a mean size (B): from MNIST's 784 to a raw microscope picture."""
    return rows.log_uniform(rng, 784, 4_000_000)


def _epochs(rng: np.random.Generator, rows_per_epoch: int, scale: float) -> int:
    """Draw the number of epochs of a run: at least three, more if an epoch is short."""
    return int(rng.integers(3, max(4, min(40, int(12_000 * scale) // max(1, rows_per_epoch)))))


def _checkpoints(rng: np.random.Generator, epoch_bytes: int, epochs: int, first_file: int) -> list[rows.Rows]:
    """Return the writes after each epoch: nothing, or a checkpoint; at most 15 % of the bytes of the run."""
    every = int(rng.choice([1, 1, 2, 5, 100]))
    size = max(1000, min(int(epoch_bytes * 10 ** rng.uniform(-4, -0.8)), epoch_bytes * every // 6))
    made = []
    for epoch in range(epochs):
        due = (epoch + 1) % every == 0 or epoch == epochs - 1
        one = np.array([first_file + (epoch if rng.random() < 0.5 else 0)])
        made.append(rows.visit(one, np.array([size]), max(65536, size // 40), op="write") if due else rows.chain())
    return made


def _chatter(rng: np.random.Generator, calls: int, log: int) -> rows.Rows:
    """Return the small writes of a log file and a progress bar."""
    return rows.touch("write", np.full(calls, log), 0, rng.integers(20, 200, calls)) if calls else rows.chain()


def _train(
    rng: np.random.Generator, epochs: list[rows.Rows], epoch_bytes: int, paths: list[str], lead: rows.Rows, total: int
) -> rows.SyntheticRun:
    """Combine epochs, checkpoints and logs. total: bytes of the dataset."""
    log, checkpoint = len(paths), len(paths) + 1
    names = [*paths, "/runs/7/train.log", *rows.numbered("/runs/7/epoch-{:03d}.pt", len(epochs))]
    offset = 0
    pieces = [lead]
    saved = _checkpoints(rng, epoch_bytes, len(epochs), checkpoint)
    chattiness = float(rng.choice([0.0, 0.02, 0.2, 2.0], p=[0.3, 0.3, 0.3, 0.1]))
    for moves, save in zip(epochs, saved, strict=True):
        moved = int(moves["size"].sum())  # a mapping counts as if it were read
        calls = min(int(chattiness * len(moves)), moved // 20_000)
        talk = _chatter(rng, calls, log)
        talk["offset"] = offset + np.cumsum(talk["size"]) - talk["size"]
        offset += int(talk["size"].sum())
        pieces += [rows.interleave(rng, moves, talk), save]
    return rows.finish(rng, rows.chain(*pieces), names, total)


def _orders(rng: np.random.Generator, count: int, epochs: int) -> list[IndexArray]:
    """Return the order of each epoch: a new shuffle each time, with replacement in one run of eight."""
    if rng.random() < 0.125:
        return [rng.integers(0, count, count) for _ in range(epochs)]
    return [rng.permutation(count) for _ in range(epochs)]


def _file_run(rng: np.random.Generator, scale: float, workers: int) -> rows.SyntheticRun:
    count = rows.log_uniform(rng, 40, max(60, 900 * scale))
    sizes = rows.file_sizes(rng, count, _image_bytes(rng))
    buffer = max(int(rng.choice(_BUFFERS)), int(sizes.mean()) // 12)
    paths = _images(rng, count)
    stat, batch = bool(rng.random() < 0.5), int(rng.choice([1, 4, 8, 32, 64]))
    held_out = int(count * rng.choice([0.0, 0.0, 0.1, 0.2]))
    lead = rows.chain()
    if rng.random() < 0.2:  # the framework looks at every file before the first epoch
        lead = rows.touch("stat", np.arange(count))
    probe = rows.visit(np.arange(2), sizes[:2], buffer, stat=stat)
    epochs = []
    training = count - held_out
    for order in _orders(rng, training, _epochs(rng, count * len(probe) // 2, scale)):
        pid = (np.arange(training) // batch) % workers
        moves = rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid, stat=stat))
        check = np.arange(training, count)
        epochs.append(rows.chain(moves, rows.visit(check, sizes[check], buffer, stat=stat)))
    return _train(rng, epochs, int(sizes.sum()), paths, lead, int(sizes.sum()))


def shuffled_files(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Many small image files in one process, shuffled before each epoch."""
    return _file_run(rng, scale, 1)


def worker_files(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Many small image files, batches dealt out to 2 to 16 worker processes."""
    return _file_run(rng, scale, int(rng.integers(2, 17)))


def packed_random(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """One packed file, LMDB-like: each sample is one positioned read, in a new order each epoch."""
    count = rows.log_uniform(rng, 200, max(300, 4000 * scale))
    sizes = rows.file_sizes(rng, count, rows.log_uniform(rng, 2000, 300_000))
    offsets = 8192 + np.cumsum(sizes) - sizes
    if rng.random() < 0.5:  # a page-aligned reader
        offsets, sizes = offsets // 4096 * 4096, -(-sizes // 4096) * 4096
    workers = int(rng.choice([1, 1, 4, 8]))
    shards = int(rng.choice([1, 1, 4, 16]))
    shard = np.arange(count) * shards // count
    epochs = []
    for order in _orders(rng, count, _epochs(rng, count, scale)):
        pid = (np.arange(count) // 32) % workers
        epochs.append(rows.by_process(rng, rows.touch("read", shard[order], offsets[order], sizes[order], pid=pid)))
    lead = rows.touch("open", np.arange(shards), flags="r")
    return _train(
        rng, epochs, int(sizes.sum()), rows.numbered("/data/train.lmdb/{:02d}.mdb", shards), lead, int(sizes.sum())
    )


def packed_batches(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """One HDF5-like file: batches of neighbouring samples, the batches in random order."""
    batches = rows.log_uniform(rng, 60, max(80, 800 * scale))
    per_batch = int(rng.choice([2, 4, 16]))
    size = rows.log_uniform(rng, 784, 200_000)
    epochs = []
    for order in _orders(rng, batches, _epochs(rng, batches * per_batch, scale)):
        sample = (order[:, None] * per_batch + np.arange(per_batch)).ravel()
        epochs.append(rows.touch("read", np.zeros_like(sample), 2048 + sample * size, size))
    total = batches * per_batch * size
    return _train(rng, epochs, total, ["/data/train.h5"], rows.touch("open", [0], flags="r"), total)


def packed_mapped(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """An LMDB environment or array read through mmap(): the mapping shows, its touches do not."""
    shards = int(rng.choice([1, 2, 8, 32]))
    sizes = rows.file_sizes(rng, shards, rows.log_uniform(rng, 1e7, 1e10))
    total = int(sizes.sum())
    epochs = int(rng.integers(3, 40))
    again = int(rng.choice([1, epochs]))  # some readers map again each epoch
    steps = rows.log_uniform(rng, 20, max(30, 300 * scale))
    pieces = [rows.touch("stat", np.arange(shards))]
    log = rows.touch("write", np.full(steps, shards), 0, rng.integers(20, 300, steps))
    log["offset"] = np.cumsum(log["size"]) - log["size"]
    saves = _checkpoints(rng, min(total, 10**8), epochs, shards + 1)
    for epoch, part in enumerate(np.array_split(log, epochs)):
        if epoch < again:
            opened = rows.touch("open", np.arange(shards), flags="r")
            pieces += [
                opened,
                rows.touch("read", np.arange(shards), 0, 144),
                rows.touch("mmap", np.arange(shards), 0, sizes, flags="r"),
            ]
        pieces += [part, saves[epoch]]
    names = [
        *rows.numbered("/data/train-{:02d}.mdb", shards),
        "/runs/7/train.log",
        *rows.numbered("/runs/7/{:03d}.pt", epochs),
    ]
    return rows.finish(rng, rows.chain(*pieces), names, total, (total, total * (epochs - 1)))


def record_files(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Files of records (TFRecord, WebDataset): each read whole from its start, the files in random order."""
    shards = rows.log_uniform(rng, 4, max(6, 64 * scale))
    sizes = rows.file_sizes(rng, shards, rows.log_uniform(rng, 1e6, 2e8), 0.1)
    buffer = max(int(rng.choice([65536, 262144, 1 << 20])), int(sizes.mean()) // 25)
    probe = len(rows.visit(np.arange(shards), sizes, buffer))
    workers = int(rng.choice([1, 2, 4]))
    orders = _orders(rng, shards, _epochs(rng, probe, scale))
    pid = np.arange(shards) % workers
    epochs = [rows.by_process(rng, rows.visit(order, sizes[order], buffer, pid=pid)) for order in orders]
    return _train(
        rng, epochs, int(sizes.sum()), rows.numbered("/data/train-{:05d}.tar", shards), rows.chain(), int(sizes.sum())
    )


def sequential_epochs(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """CSV or binary files that are read from start to end in the same order each epoch."""
    files = int(rng.choice([1, 1, 2, 5, 6]))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 1e6, 3e8))
    buffer = max(int(rng.choice([8192, 65536, 1 << 20])), int(sizes.sum()) // 800)
    moves = rows.visit(np.arange(files), sizes, buffer)
    epochs = [moves] * _epochs(rng, len(moves), scale)
    return _train(
        rng, epochs, int(sizes.sum()), rows.numbered("/data/part-{}.csv", files), rows.chain(), int(sizes.sum())
    )


def tuning_jobs(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Two to four training jobs over one dataset: each re-reads on its own, and they share first touches."""
    count = rows.log_uniform(rng, 40, max(60, 300 * scale))
    sizes = rows.file_sizes(rng, count, _image_bytes(rng))
    buffer = max(65536, int(sizes.mean()) // 8)
    paths = _images(rng, count)
    number = int(rng.integers(3, 8))
    jobs = []
    for job in range(int(rng.integers(2, 5))):
        orders = [rng.permutation(count) for _ in range(number)]
        jobs.append(rows.in_group(rows.chain(*(rows.visit(order, sizes[order], buffer) for order in orders)), job))
    save = rows.session(rows.touch("write", np.full(9, count), np.arange(9) * 10_000, 10_000), [count], "w")
    return rows.finish(rng, rows.chain(rows.interleave(rng, *jobs), save), [*paths, "/runs/best.pt"], int(sizes.sum()))


def mapped_arrays(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Column or array files (Arrow, .npy) that each worker process maps again, in random order, each epoch."""
    files = rows.log_uniform(rng, 4, max(6, 150 * scale))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 1e5, 1e9))
    total = int(sizes.sum())
    workers = int(rng.choice([1, 2, 8]))
    epochs = []
    for order in _orders(rng, files, _epochs(rng, files * 4, scale / 2)):
        pid = np.arange(files) % workers
        steps = [
            rows.touch("open", order, pid=pid, flags="r"),
            rows.touch("read", order, 0, 128, pid=pid),
            rows.touch("mmap", order, 0, sizes[order], pid=pid, flags="r"),
            rows.touch("close", order, pid=pid),
        ]
        epochs.append(np.stack(steps).T.ravel())
    run = _train(rng, epochs, min(total, 10**7), rows.numbered("/data/{:04d}.arrow", files), rows.chain(), total)
    return dataclasses.replace(run, unseen_read=total, unseen_reread=total * (len(epochs) - 1))
