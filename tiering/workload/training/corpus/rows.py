"""Building blocks of synthetic traces: rows of events as NumPy arrays, and the run that they form.

Rows are kept in program order and get their times last, in `finish`. For concurrency, merge the rows of each process
with `interleave`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.arrays import IndexArray
from tiering.trace.events import EVENT_SCHEMA, OPS

Rows = npt.NDArray[np.void]

_ROW = np.dtype(
    [
        ("op", "u4"),
        ("file", "i8"),
        ("offset", "i8"),
        ("size", "i8"),
        ("pid", "i4"),
        ("group", "i4"),
        ("flags", "i1"),
    ]
)
_OP = {name: code for code, name in enumerate(OPS)}
_FLAGS: tuple[str | None, ...] = (None, "r", "w", "rw")
_FIRST_PID = 4000


@dataclass(frozen=True, slots=True)
class SyntheticRun:
    """A whole run of a program, as a tracer saw it.

    events: the trace, in EVENT_SCHEMA. dataset_bytes: bytes of the files that the run is about, as a user might know
    them. unseen_read, unseen_reread: bytes touched through mappings, for the first time and again, which no tracer
    shows.
    """

    events: pl.DataFrame
    dataset_bytes: int | None = None
    unseen_read: int = 0
    unseen_reread: int = 0


def touch(
    op: str,
    file: npt.ArrayLike,
    offset: npt.ArrayLike = 0,
    size: npt.ArrayLike = 0,
    *,
    pid: npt.ArrayLike = 0,
    flags: str = "",
) -> Rows:
    """Return one row for each file, offset (B) and size (B), broadcast against each other.

    op: one of OPS. pid: number of the process, from 0. flags: "", "r", "w" or "rw".
    """
    rows = np.zeros(np.broadcast_shapes(*(np.shape(np.atleast_1d(each)) for each in (file, offset, size, pid))), _ROW)
    rows["op"], rows["file"], rows["offset"], rows["size"], rows["pid"] = _OP[op], file, offset, size, pid
    rows["flags"] = _FLAGS.index(flags or None)
    return rows


def visit(
    files: IndexArray, sizes: IndexArray, buffer: int, *, op: str = "read", pid: npt.ArrayLike = 0, stat: bool = False
) -> Rows:
    """Open each file in turn, read or write it as a whole in calls of at most `buffer` bytes, and close it.

    sizes: bytes of each file. A reader makes one more call, which finds the end of the file.
    """
    reading = op == "read"
    chunks = np.maximum(1, -(-sizes // buffer))
    lead = 2 if stat else 1
    counts = chunks + lead + reading + 1
    which = np.repeat(np.arange(len(files)), counts)
    step = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    chunk = step - lead
    rows = np.zeros(len(which), _ROW)
    rows["file"] = files[which]
    rows["pid"] = np.broadcast_to(pid, files.shape)[which]
    rows["op"] = np.select(
        [step == 0, chunk < 0, step == counts[which] - 1], [_OP["open"], _OP["stat"], _OP["close"]], _OP[op]
    )
    moving = rows["op"] == _OP[op]
    rows["offset"] = np.where(moving, np.minimum(chunk * buffer, sizes[which]), 0)
    rows["size"] = np.where(moving, np.clip(sizes[which] - chunk * buffer, 0, buffer), 0)
    rows["flags"] = np.where(step == 0, 1 if reading else 2, 0)
    return rows


def session(rows: Rows, files: npt.ArrayLike, flags: str, *, pid: npt.ArrayLike = 0) -> Rows:
    """Put rows between the opens and closes of the files that they use."""
    return chain(touch("open", files, pid=pid, flags=flags), rows, touch("close", files, pid=pid))


def chain(*pieces: Rows) -> Rows:
    """Return the pieces one after another."""
    return np.concatenate(pieces) if pieces else np.zeros(0, _ROW)


def interleave(rng: np.random.Generator, *pieces: Rows) -> Rows:
    """Merge pieces that ran at the same time. Each keeps its own order and lasts for the whole time."""
    keys = [np.sort(rng.random(len(piece))) for piece in pieces]
    return chain(*pieces)[np.argsort(np.concatenate(keys), kind="stable")]


def by_process(rng: np.random.Generator, rows: Rows) -> Rows:
    """Let the processes in rows run side by side instead of in turns."""
    return interleave(rng, *(rows[rows["pid"] == pid] for pid in np.unique(rows["pid"])))


def in_group(rows: Rows, group: int) -> Rows:
    """Move rows, and their processes, into another process group."""
    moved = rows.copy()
    moved["group"] = group
    moved["pid"] += 100 * group
    return moved


def finish(
    rng: np.random.Generator,
    rows: Rows,
    paths: Sequence[str],
    dataset_bytes: int | None = None,
    unseen: tuple[int, int] = (0, 0),
) -> SyntheticRun:
    """Give rows their times and names. paths: the path of each file number.

    unseen: bytes touched through mappings for the first time, and again.
    """
    times = np.cumsum(rng.exponential(10.0 ** rng.uniform(-5, -2), len(rows)))
    events = pl.DataFrame(
        {
            "time": times,
            "op": pl.Series(OPS, dtype=EVENT_SCHEMA["op"]).gather(rows["op"].copy()),
            # Fibonacci hashing: identities as a reader makes them, in no order
            "file": (rows["file"].astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15),
            "offset": rows["offset"],
            "size": rows["size"],
            "pid": rows["pid"] + np.int32(_FIRST_PID),
            "group": rows["group"] + np.int32(_FIRST_PID),
            "duration": rng.exponential(2e-5, len(rows)),
            "path": pl.Series(paths, dtype=pl.String).gather(rows["file"].copy()),
            "flags": pl.Series(_FLAGS, dtype=pl.String).gather(rows["flags"].astype(np.int64)),
        },
        schema=EVENT_SCHEMA,
    )
    return SyntheticRun(events, dataset_bytes, *unseen)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> int:
    """Draw a whole number between two bounds, uniformly on a logarithmic scale."""
    return round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))


def file_sizes(rng: np.random.Generator, count: int, mean: float, sigma: float | None = None) -> IndexArray:
    """Draw file sizes (B) around a mean, log-normal as for image and office files. Sigma 0 makes all equal."""
    spread = float(rng.choice([0.0, 0.2, 0.5, 0.8])) if sigma is None else sigma
    return np.maximum(1, mean * rng.lognormal(-(spread**2) / 2, spread, count)).astype(np.int64)


def numbered(pattern: str, count: int) -> list[str]:
    """Name files by number: "/data/{:06d}.jpg"."""
    return [pattern.format(number) for number in range(count)]
