"""Runs without a majority of repeats, writes or single-pass reads."""

from __future__ import annotations

import numpy as np

from tiering.workload.training.corpus import rows


def office_server(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A corporate file server with the figures of Leung et al. (USENIX ATC 2008).

    Bytes read to bytes written are 2:1. Most bytes move in sessions that both read and write. Of the files that are
    opened again, 66 % are opened just once more and 95 % fewer than five times. A few clients make half of the
    requests.
    """
    files = rows.log_uniform(rng, 60, max(80, 500 * scale))
    sizes = rows.file_sizes(rng, files, rows.log_uniform(rng, 5_000, 500_000))
    opens = rng.choice([1, 2, 3, 4, 6], files, p=[0.5, 0.33, 0.08, 0.065, 0.025])
    visits = rng.permutation(np.repeat(np.arange(files), opens))
    client = np.minimum(rng.zipf(1.4, len(visits)), 40)
    pieces = []
    seen = np.zeros(files, bool)
    for file, who in zip(visits, client, strict=True):
        one, size = np.array([file]), sizes[file : file + 1]
        # first visits read and change; later ones mostly change: 2 bytes read for 1 written in all
        changes = rng.random() < (0.55 if seen[file] else 0.35)
        if not (seen[file] and changes):
            pieces.append(rows.visit(one, size, 32768, pid=int(who), stat=True))
        if changes:
            pieces.append(rows.visit(one, size, 32768, op="write", pid=int(who)))
        seen[file] = True
    return rows.finish(rng, rows.chain(*pieces), rows.numbered("/dept/plans/{:05d}.xls", files))


def database_server(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """OLTP that reads and writes alike: random pages, some of them favourites, and a log (TPC-C-like)."""
    calls = rows.log_uniform(rng, 300, max(400, 4000 * scale))
    page = int(rng.choice([4096, 8192, 16384]))
    tables = int(rng.integers(1, 9))
    writing = rng.random(calls) < rng.uniform(0.34, 0.46)
    pages = calls * int(rng.integers(3, 12))
    favourite = rng.random(calls) < rng.uniform(0.1, 0.6)
    at = np.where(favourite, rng.integers(0, max(4, calls // 20), calls), rng.integers(0, pages, calls))
    reads = rows.touch("read", at % tables, at // tables * page, page, pid=np.arange(calls) % 8)
    writes = rows.touch("write", at % tables, at // tables * page, page, pid=np.arange(calls) % 8)
    moves: rows.Rows = np.where(writing, writes, reads)
    return rows.finish(rng, rows.session(moves, np.arange(tables), "rw"), rows.numbered("/pg/base/{}", tables))


def build(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A compiler run: sources are read once, headers by every process again, objects are written and linked."""
    sources = rows.log_uniform(rng, 20, max(30, 250 * scale))
    headers = max(3, sources // int(rng.integers(2, 5)))
    source_sizes, header_sizes = rows.file_sizes(rng, sources, 30_000, 0.5), rows.file_sizes(rng, headers, 4_000, 0.5)
    objects = (source_sizes * rng.uniform(0.9, 1.2)).astype(np.int64)
    pieces = []
    for source in range(sources):
        used = sources + rng.permutation(headers)[:3]
        pieces += [
            rows.visit(np.array([source]), source_sizes[source : source + 1], 65536, pid=source % 4),
            rows.visit(used, header_sizes[used - sources], 65536, pid=source % 4),
            rows.visit(
                np.array([sources + headers + source]), objects[source : source + 1], 65536, op="write", pid=source % 4
            ),
        ]
    linked = sources + headers + np.arange(sources)
    program = np.array([2 * sources + headers])
    pieces += [
        rows.visit(linked, objects, 65536),
        rows.visit(program, objects.sum(keepdims=True) // 3, 65536, op="write"),
    ]
    names = rows.numbered("/src/{:04d}.c", sources) + rows.numbered("/src/include/{:03d}.h", headers)
    return rows.finish(rng, rows.chain(*pieces), [*names, *rows.numbered("/obj/{:04d}.o", sources), "/obj/program"])


def mail(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A mail server with one file a message: delivered, read once, some read twice, a few deleted."""
    messages = rows.log_uniform(rng, 60, max(80, 700 * scale))
    sizes = rows.file_sizes(rng, messages, rows.log_uniform(rng, 3_000, 60_000), 0.8)
    pieces = []
    for message in range(messages):
        one, size = np.array([message]), sizes[message : message + 1]
        pieces.append(rows.visit(one, size, 8192, op="write", pid=0))
        readers = 1 + int(rng.random() < 0.35)
        pieces += [rows.visit(one, size, 8192, pid=1)] * readers
        if rng.random() < 0.15:
            pieces.append(rows.touch("unlink", one))
    return rows.finish(rng, rows.chain(*pieces), rows.numbered("/mail/cur/{:08d}.eml", messages))


def conversion(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """Resizing or re-encoding: every picture is read once, whole, and written again, smaller."""
    count = rows.log_uniform(rng, 40, max(60, 500 * scale))
    sizes = rows.file_sizes(rng, count, rows.log_uniform(rng, 5_000, 3_000_000))
    share = float(rng.uniform(0.45, 0.9))
    buffer = max(65536, int(sizes.mean()) // 8)
    order = np.arange(count) if rng.random() < 0.7 else rng.permutation(count)
    pieces = []
    for file in order:
        written = np.maximum(1, (sizes[file : file + 1] * share).astype(np.int64))
        pid = int(file % 4)
        pieces.append(rows.visit(np.array([file]), sizes[file : file + 1], buffer, pid=pid))
        pieces.append(rows.visit(np.array([count + file]), written, buffer, op="write", pid=pid))
    names = rows.numbered("/photos/{:05d}.jpg", count) + rows.numbered("/small/{:05d}.webp", count)
    return rows.finish(rng, rows.chain(*pieces), names, int(sizes.sum()))


def external_sort(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """A query that spills: reads its table, writes sorted parts, and reads those back."""
    parts = rows.log_uniform(rng, 3, max(4, 20 * scale))
    size = rows.log_uniform(rng, 1e6, 1e8)
    chunk = size // 12
    pieces = []
    for part in range(parts):
        at = (part * 12 + np.arange(12)) * chunk
        reads = rows.touch("read", [0], at, chunk)
        pieces += [
            reads,
            rows.visit(np.array([1 + part]), np.array([int(size * rng.uniform(0.7, 1.0))]), chunk, op="write"),
        ]
    back = [rows.visit(np.array([1 + part]), np.array([int(size * 0.7)]), chunk) for part in range(parts)]
    moves = rows.session(rows.chain(*pieces, rows.interleave(rng, *back)), [0], "r")
    return rows.finish(rng, moves, ["/db/table.dat", *rows.numbered("/db/spill/sort-{:03d}", parts)])


def rereading_editor(rng: np.random.Generator, scale: float) -> rows.SyntheticRun:
    """An analyst's notebook: tables read two or three times, results of the like size written."""
    tables = rows.log_uniform(rng, 3, max(5, 60 * scale))
    sizes = rows.file_sizes(rng, tables, rows.log_uniform(rng, 1e5, 5e7))
    buffer = max(65536, int(sizes.mean()) // 12)
    pieces = []
    for table in rng.permutation(tables):
        one, size = np.array([table]), sizes[table : table + 1]
        times = int(rng.choice([1, 2, 2, 3]))
        pieces += [rows.visit(one, size, buffer)] * times
        written = (size * rng.uniform(0.7, 1.2)).astype(np.int64)
        pieces.append(rows.visit(np.array([tables + table]), written, buffer, op="write"))
    return rows.finish(
        rng,
        rows.chain(*pieces),
        rows.numbered("/work/in-{:03d}.csv", tables) + rows.numbered("/work/out-{:03d}.csv", tables),
    )
