"""More families of each workload, so that every held-out family has similar ones among the others.

They come from the same characterisations: weighted sampling, windowed shuffles and growing datasets in training; web
serving with Zipf popularity (Breslau et al., INFOCOM 1999); pictures in one big file (Beaver et al., OSDI 2010, on
Haystack); media streams; logs read once; HPC restarts; unpacking; spilling joins; copies.
"""

from __future__ import annotations

import numpy as np

from tiering.workload.training.corpus import rows


def _files(rng: np.random.Generator, scale: float) -> tuple[int, np.ndarray[tuple[int], np.dtype[np.int64]], int]:
    """Draw a number of sample files, their sizes, and the size of a read call."""
    count = rows.log_uniform(rng, 40, max(60, 500 * scale))
    sizes = rows.file_sizes(rng, count, rows.log_uniform(rng, 800, 3_000_000))
    return count, sizes, max(int(rng.choice([4096, 65536, 1 << 20])), int(sizes.mean()) // 8)


def _saved(rng: np.random.Generator, file: int, moved: int) -> rows.Rows:
    """Write a checkpoint of 0.01 to 10 % of what an epoch moves."""
    size = max(1000, int(moved * 10 ** rng.uniform(-4, -1)))
    return rows.visit(np.array([file]), np.array([size]), max(65536, size // 20), op="write")


def windowed_shuffle(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training through a shuffle buffer: files come in sorted order, mixed within a window."""
    count, sizes, buffer = _files(rng, scale)
    window = int(count * rng.uniform(0.05, 0.5)) + 2
    pieces = []
    for _ in range(int(rng.integers(3, 9))):
        order = np.argsort(np.arange(count) + rng.uniform(0, window, count), kind="stable")
        pieces += [rows.visit(order, sizes[order], buffer), _saved(rng, count, int(sizes.sum()))]
    return rows.finish(
        rng, rows.chain(*pieces), [*rows.numbered("/data/s/{:06d}.jpg", count), "/runs/last.pt"], int(sizes.sum())
    )


def weighted_sampling(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training that draws samples with replacement, those of rare classes more often."""
    count, sizes, buffer = _files(rng, scale)
    weights = rng.lognormal(0.0, float(rng.uniform(0.2, 1.2)), count)
    pieces = []
    for _ in range(int(rng.integers(4, 10))):
        order = rng.choice(count, count, p=weights / weights.sum())
        pieces += [rows.visit(order, sizes[order], buffer), _saved(rng, count, int(sizes.sum()))]
    return rows.finish(
        rng, rows.chain(*pieces), [*rows.numbered("/data/w/{:06d}.png", count), "/runs/last.pt"], int(sizes.sum())
    )


def growing_dataset(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Training while the dataset grows: each epoch reads the files that exist by then, in a new order."""
    count, sizes, buffer = _files(rng, scale)
    pieces = []
    for share in np.linspace(rng.uniform(0.5, 0.9), 1.0, int(rng.integers(5, 10))):
        order = rng.permutation(max(1, int(count * share)))
        pieces += [rows.visit(order, sizes[order], buffer), _saved(rng, count, int(sizes.sum() * share))]
    return rows.finish(
        rng, rows.chain(*pieces), [*rows.numbered("/data/g/{:06d}.jpg", count), "/runs/last.pt"], int(sizes.sum())
    )


def web_serving(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A web server: whole files by Zipf popularity, each request a short log line."""
    pages = rows.log_uniform(rng, 30, max(40, 100 * scale))
    requests = pages * int(rng.integers(8, 14))
    sizes = rows.file_sizes(rng, pages, rows.log_uniform(rng, 5_000, 300_000), 0.6)
    popularity = 1 / (1 + np.arange(pages)) ** rng.uniform(0.6, 1.0)
    order = rng.permutation(pages)[rng.choice(pages, requests, p=popularity / popularity.sum())]
    reads = rows.visit(order, sizes[order], max(65536, int(sizes.mean()) // 2), stat=True)
    log = rows.touch("write", np.full(requests, pages), np.arange(requests) * 110, 110)
    return rows.finish(
        rng, rows.interleave(rng, reads, log), [*rows.numbered("/www/{:05d}.html", pages), "/var/log/access.log"]
    )


def media_streams(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A video server: each client plays another film from start to end; several play at a time."""
    films = rows.log_uniform(rng, 3, max(4, 40 * scale))
    sizes = rows.file_sizes(rng, films, rows.log_uniform(rng, 1e7, 2e9), 0.4)
    buffer = max(65536, int(sizes.mean()) // 60)
    order = rng.permutation(films)
    moves = rows.by_process(
        rng, rows.visit(order, sizes[order], buffer, pid=np.arange(films) % int(rng.integers(1, 9)))
    )
    return rows.finish(rng, moves, rows.numbered("/media/film-{:03d}.mp4", films))


def log_analysis(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A batch job over rotated logs or exports: large files by name, each once, and a small report."""
    logs = rows.log_uniform(rng, 1, max(3, 60 * scale))
    sizes = rows.file_sizes(rng, logs, rows.log_uniform(rng, 1e5, 1e9), 0.5)
    buffer = max(int(rng.choice([8192, 65536, 1 << 20])), int(sizes.mean()) // 60)
    report = rows.visit(
        np.array([logs]), sizes.sum(keepdims=True) // int(rng.integers(30, 5000)) + 50, 1 << 20, op="write"
    )
    moves = rows.chain(rows.visit(np.arange(logs), sizes, buffer), report)
    return rows.finish(rng, moves, [*rows.numbered("/logs/day-{:03d}.csv", logs), "/out/report.csv"], int(sizes.sum()))


def image_dump(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A disk image, archive or database dump that is read from start to end, once: dd, restore checks, uploads."""
    files = int(rng.choice([1, 1, 2, 4]))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 1e6, 1e9))
    buffer = max(int(rng.choice([10240, 65536, 1 << 20])), int(sizes.sum()) // max(200, int(1600 * scale)))
    moves = rows.visit(np.arange(files), sizes, buffer)
    return rows.finish(rng, moves, rows.numbered("/images/disk-{}.img", files), int(sizes.sum()))


def photo_store(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Pictures from a few huge files: random positions, varying lengths, a small share read again."""
    calls = rows.log_uniform(rng, 200, max(300, 3000 * scale))
    volumes = int(rng.integers(1, 12))
    slots = calls * int(rng.integers(8, 50))
    step = rows.log_uniform(rng, 4096, 200_000)
    slot = rng.integers(0, slots, calls)
    sizes = rng.integers(step // 4 + 1, step + 1, calls)
    pid = np.arange(calls) % int(rng.choice([1, 4]))
    reads = rows.touch("read", slot % volumes, slot // volumes * step, sizes, pid=pid)
    return rows.finish(
        rng, rows.session(reads, np.arange(volumes), "r"), rows.numbered("/photos/vol-{:02d}", volumes), slots * step
    )


def restarted_solver(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """An HPC code that restarts from one shared file and dumps into shared files, with a log of its steps."""
    ranks, calls = int(rng.choice([1, 2, 8])), int(rng.integers(4, 24))
    chunk = rows.log_uniform(rng, 1e4, 4e6)
    at, pid = np.arange(ranks * calls) * chunk, np.repeat(np.arange(ranks), calls)
    start = rows.by_process(rng, rows.touch("read", np.zeros_like(pid), at, chunk, pid=pid))
    pieces = [rows.session(start, [0], "r")]
    dumps = rows.log_uniform(rng, 3, max(5, 24 * scale))
    for dump in range(dumps):
        writes = rows.by_process(rng, rows.touch("write", np.full_like(pid, 1 + dump), at, chunk, pid=pid))
        pieces.append(rows.session(writes, [1 + dump], "w"))
    return rows.finish(
        rng, rows.chain(*pieces), ["/scratch/restart.h5", *rows.numbered("/scratch/dump-{:04d}.h5", dumps)]
    )


def unpacking(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Unpacking compressed archives: one is read from start to end while many files are written."""
    files = rows.log_uniform(rng, 30, max(40, 600 * scale))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 2_000, 500_000))
    packed = int(sizes.sum() / rng.uniform(1.8, 6.0))
    buffer = max(10240, packed // 200)
    moves = rows.interleave(
        rng,
        rows.visit(np.array([files]), np.array([packed]), buffer),
        rows.visit(np.arange(files), sizes, max(65536, int(sizes.mean()) // 4), op="write"),
    )
    return rows.finish(rng, moves, [*rows.numbered("/opt/app/{:05d}.so.data", files), "/srv/app.tar.xz"])


def spilling_join(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A hash join that does not fit: tables are read, written out in partitions, and the partitions read back."""
    tables = int(rng.integers(2, 5))
    sizes = rows.file_sizes(rng, tables, rows.log_uniform(rng, 1e6, 1e8), 0.4)
    buffer = max(8192, int(sizes.mean()) // rows.log_uniform(rng, 20, max(30, 200 * scale)))
    parts = int(rng.integers(4, 33))
    spilled = np.full(parts, int(sizes.sum() * rng.uniform(0.8, 1.0)) // parts)
    part = tables + np.arange(parts)
    out = rows.interleave(
        rng, rows.visit(np.arange(tables), sizes, buffer), rows.visit(part, spilled, buffer, op="write")
    )
    return rows.finish(
        rng,
        rows.chain(out, rows.visit(part, spilled, buffer)),
        [*rows.numbered("/db/table-{}.dat", tables), *rows.numbered("/db/spill/{:03d}", parts)],
    )


def copying(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Copying a tree: every file is read once, as a whole, and written, one after another."""
    count = rows.log_uniform(rng, 30, max(40, 500 * scale))
    sizes = rows.file_sizes(rng, count, rows.log_uniform(rng, 1_000, 2_000_000))
    buffer = max(65536, int(sizes.mean()) // 6)
    pieces = []
    for file in range(count):
        size = sizes[file : file + 1]
        pieces += [
            rows.visit(np.array([file]), size, buffer),
            rows.visit(np.array([count + file]), size, buffer, op="write"),
        ]
    return rows.finish(
        rng, rows.chain(*pieces), rows.numbered("/home/a/{:05d}", count) + rows.numbered("/home/b/{:05d}", count)
    )
