"""Runs that mostly write, as enterprise and HPC storage was long assumed to do all the time."""

from __future__ import annotations

import numpy as np

from tiering.workload.training.corpus import rows


def log_appending(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A service that appends to its log files, rotates them, and reads little but its configuration."""
    calls = rows.log_uniform(rng, 200, max(300, 5000 * scale))
    logs = int(rng.integers(1, 6))
    log = rng.integers(0, logs, calls)
    size = rng.integers(40, rows.log_uniform(rng, 100, 5000), calls)
    offset = np.zeros(calls, np.int64)
    for number in range(logs):
        own = log == number
        offset[own] = np.cumsum(size[own]) - size[own]
    lines = rows.session(rows.touch("write", log, offset, size), np.arange(logs), "w")
    settings = rows.visit(np.array([logs]), np.array([min(3000, int(size.sum()) // 10)]), 4096)
    return rows.finish(
        rng, rows.chain(settings, lines), [*rows.numbered("/var/log/app-{}.log", logs), "/srv/app/app.toml"]
    )


def database_rows(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """SQLite or another small OLTP database: pages go to a journal, are synced, and then into the database."""
    transactions = rows.log_uniform(rng, 30, max(50, 600 * scale))
    page = int(rng.choice([1024, 4096, 8192]))
    pages = rows.log_uniform(rng, 20, 20_000)
    database, journal = 0, 1
    write_ahead = bool(rng.random() < 0.5)
    reading = float(rng.uniform(0.0, 0.6))
    pieces = [rows.touch("open", [database], flags="rw"), rows.touch("read", [database], 0, 100)]
    end = 32
    for _ in range(transactions):
        changed = np.sort(rng.integers(0, pages, int(rng.integers(1, 5)))) * page
        if rng.random() < reading:
            pieces.append(rows.touch("read", [database], int(rng.zipf(1.3) % pages) * page, page))
        if write_ahead:
            frames = end + np.arange(len(changed)) * (page + 24)
            pieces += [rows.touch("write", [journal], frames, page + 24), rows.touch("sync", [journal])]
            end = int(frames[-1]) + page + 24
            if end > 1000 * page:
                pieces += [rows.touch("write", [database], changed, page), rows.touch("sync", [database])]
                end = 32
        else:
            undo = rows.session(
                rows.touch("write", [journal], 512 + np.arange(len(changed)) * page, page), [journal], "rw"
            )
            pieces += [undo, rows.touch("sync", [journal]), rows.touch("write", [database], changed, page)]
            pieces += [rows.touch("sync", [database]), rows.touch("unlink", [journal])]
    return rows.finish(rng, rows.chain(*pieces), ["/srv/app.db", "/srv/app.db-journal"])


def simulation_checkpoints(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """An HPC code: many ranks write their state in bursts, and may re-read the little that they read many times."""
    ranks = int(rng.choice([2, 4, 8, 16]))
    bursts = rows.log_uniform(rng, 3, max(4, 20 * scale))
    size = rows.log_uniform(rng, 1e6, 1e8)
    chunk = max(size // int(rng.integers(4, 17)), 1)
    shared = bool(rng.random() < 0.4)
    settings = np.array([0])
    pieces = [
        rows.visit(settings, np.array([rows.log_uniform(rng, 1000, 50_000)]), 4096, pid=rank) for rank in range(ranks)
    ]
    offsets = np.arange(0, size, chunk)
    for burst in range(bursts):
        rank = np.repeat(np.arange(ranks), len(offsets))
        file = 1 + (np.zeros_like(rank) if shared else rank) + (burst % 3) * ranks
        at = np.tile(offsets, ranks) + (rank * size if shared else 0)
        writes = rows.by_process(rng, rows.touch("write", file, at, chunk, pid=rank))
        pieces.append(rows.session(writes, np.unique(file), "w"))
        if rng.random() < 0.5:  # tables that are consulted at each step
            pieces.append(
                rows.touch("read", settings, np.zeros(ranks * 3, np.int64), 1000, pid=np.arange(ranks * 3) % ranks)
            )
    return rows.finish(
        rng, rows.chain(*pieces), ["/proj/input.nml", *rows.numbered("/scratch/state.{:03d}", 3 * ranks)]
    )


def backup_target(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A target of backups: large files written once from start to end, an index, sometimes a check."""
    files = rows.log_uniform(rng, 8, max(12, 150 * scale))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 1e5, 1e9))
    buffer = max(65536, int(sizes.mean()) // 20)
    pieces = []
    for file in range(files):
        pieces.append(rows.visit(np.array([file]), sizes[file : file + 1], buffer, op="write"))
        if rng.random() < 0.1:
            pieces.append(rows.visit(np.array([file]), sizes[file : file + 1] // 2 + 1, buffer))
        pieces.append(rows.touch("rename", [file]))
    return rows.finish(rng, rows.chain(*pieces), rows.numbered("/backup/2024/{:06d}.pack", files))


def table_output(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """An ETL job: reads compressed tables once and writes more than it read."""
    tables = rows.log_uniform(rng, 3, max(5, 60 * scale))
    sizes = rows.file_sizes(rng, tables, rows.log_uniform(rng, 1e5, 1e8))
    buffer = max(65536, int(sizes.mean()) // 15)
    growth = float(rng.uniform(1.3, 6.0))
    source, target = rows.numbered("/lake/raw/{:04d}.csv.gz", tables), rows.numbered("/lake/out/{:04d}.parquet", tables)
    pieces = []
    for table in range(tables):
        reads = rows.visit(np.array([table]), sizes[table : table + 1], buffer)
        writes = rows.visit(
            np.array([tables + table]), (sizes[table : table + 1] * growth).astype(np.int64), buffer, op="write"
        )
        pieces.append(rows.interleave(rng, reads, writes))
    return rows.finish(rng, rows.chain(*pieces), source + target, int(sizes.sum()))


def merge_tree(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A log-structured merge tree: a log, flushed tables, and compactions that read tables once to merge them."""
    flushes = rows.log_uniform(rng, 6, max(8, 40 * scale))
    table = rows.log_uniform(rng, 1e6, 6e7)
    chunk = table // 16
    pieces = []
    for flush in range(flushes):
        log = rows.touch("write", np.full(40, 0), (flush * 40 + np.arange(40)) * (table // 40), table // 40)
        fresh = rows.visit(np.array([1 + flush]), np.array([table]), chunk, op="write")
        pieces += [log, fresh]
        if flush % 4 == 3:
            old = np.arange(1 + flush - 3, 2 + flush)
            merged = np.array([1 + flushes + flush])
            reads = rows.visit(old, np.full(4, table), chunk)
            pieces += [
                rows.interleave(rng, reads, rows.visit(merged, np.array([4 * table]), chunk, op="write")),
                rows.touch("unlink", old),
            ]
    return rows.finish(rng, rows.chain(*pieces), ["/db/wal.log", *rows.numbered("/db/{:06d}.sst", 2 * flushes)])


def capture(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Cameras or instruments: long files that grow side by side, hardly ever read."""
    streams = int(rng.integers(1, 12))
    calls = rows.log_uniform(rng, 150, max(200, 3000 * scale))
    size = rows.log_uniform(rng, 4096, 1 << 20)
    stream = np.arange(calls) % streams
    writes = rows.touch("write", stream, np.arange(calls) // streams * size, size, pid=stream)
    peek = rows.touch("read", [0], rng.integers(0, calls // streams + 1, calls // 40) * size, size)
    return rows.finish(
        rng,
        rows.interleave(rng, rows.session(writes, np.arange(streams), "w"), peek),
        rows.numbered("/rec/cam{:02d}.ts", streams),
    )


def autosaving(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Desktops on a file server: documents opened once and then saved again and again, whole and under a new name."""
    documents = rows.log_uniform(rng, 10, max(15, 120 * scale))
    sizes = rows.file_sizes(rng, documents, rows.log_uniform(rng, 10_000, 2_000_000))
    pieces = []
    for document in rng.permutation(documents):
        one, size = np.array([document]), sizes[document : document + 1]
        pid = int(document % 7)
        if rng.random() < 0.7:
            pieces.append(rows.visit(one, size, 65536, pid=pid, stat=True))
        for _ in range(int(rng.integers(2, 6))):
            pieces += [rows.visit(one, size, 65536, op="write", pid=pid), rows.touch("rename", one, pid=pid)]
    return rows.finish(rng, rows.chain(*pieces), rows.numbered("/home/share/doc-{:05d}.docx", documents))


def resumed_simulation(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A code that starts from a saved state: reads all of it once, then writes the state several times."""
    ranks = int(rng.choice([1, 4, 8]))
    size = np.full(ranks, rows.log_uniform(rng, 1e5, 1e8))
    chunk = int(size[0]) // int(rng.integers(4, 30))
    one = np.arange(ranks)
    pieces = [rows.by_process(rng, rows.visit(one, size, chunk, pid=one))]
    dumps = rows.log_uniform(rng, 3, max(4, 20 * scale))
    files = [one + ranks * (1 + dump % 3) for dump in range(dumps)]
    pieces += [rows.by_process(rng, rows.visit(each, size, chunk, op="write", pid=one)) for each in files]
    return rows.finish(rng, rows.chain(*pieces), rows.numbered("/scratch/run/field.{:04d}.h5", 4 * ranks))
