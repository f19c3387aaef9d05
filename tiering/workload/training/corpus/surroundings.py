"""The surroundings of generated runs: programs and libraries, names of files, and pace.

What a family reads and writes comes from published figures. Who reads it does not: the shares below are estimates, wide
on purpose. A quarter of the runs show no program at all, a quarter of the names say nothing, one run in twenty has the
surroundings of any other kind of program, and training without a known framework, frameworks without training, and
shells and archivers around both are all among them. So no single sign decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from tiering.trace.events import EVENT_SCHEMA
from tiering.workload.training.corpus.rows import SyntheticRun

#: A library of each kind, and a program of each kind, by names that tiering/trace/name_kinds.toml knows.
_LIBRARIES: Final = {
    "deep_learning": "/usr/lib/python3/dist-packages/torch/__init__.py",
    "inference": "/usr/lib/python3/dist-packages/onnxruntime/__init__.py",
    "accelerator": "/usr/lib/x86_64-linux-gnu/libcudart.so.12",
    "image_decoder": "/usr/lib/python3/dist-packages/PIL/Image.py",
    "sample_loader": "/usr/lib/python3/dist-packages/webdataset/__init__.py",
    "table": "/usr/lib/python3/dist-packages/pandas/__init__.py",
    "array": "/usr/lib/python3/dist-packages/h5py/__init__.py",
    "key_value": "/usr/lib/python3/dist-packages/lmdb/__init__.py",
    "web_server": "/usr/lib/python3/dist-packages/fastapi/__init__.py",
    "archive": "/usr/lib/x86_64-linux-gnu/libarchive.so.13",
    "backup": "/usr/lib/python3/dist-packages/borg/__init__.py",
    "media": "/usr/lib/x86_64-linux-gnu/libavcodec.so.59",
    "mpi": "/usr/lib/x86_64-linux-gnu/libmpi.so.40",
    "scanner": "/usr/lib/x86_64-linux-gnu/libmagic.so.1",
}
_PROGRAMS: Final = {
    "own": "/opt/app/bin/run",
    "interpreter": "/usr/bin/python3",
    "shell": "/usr/bin/bash",
    "inference": "/usr/bin/tritonserver",
    "archive": "/usr/bin/tar",
    "copy": "/usr/bin/rsync",
    "backup": "/usr/bin/restic",
    "database": "/usr/bin/postgres",
    "compiler": "/usr/bin/gcc",
    "web_server": "/usr/bin/nginx",
    "file_server": "/usr/sbin/smbd",
    "scanner": "/usr/bin/grep",
    "media": "/usr/bin/ffmpeg",
    "version_control": "/usr/bin/git",
    "mpi": "/usr/bin/mpirun",
    "table": "/usr/bin/trino",
    "log": "/usr/sbin/rsyslogd",
}
_LOADER: Final = "/etc/ld.so.cache"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How often runs of a kind of program have each sign.

    programs: weights of what is executed. libraries: the chance of each library in an interpreter; in other programs a
    third of it. content: weights of the names of what is read ("own" keeps those of the family). batches: chance that
    reads come in batches. checkpoints: chance that what is written is named like a checkpoint. renames: chance that
    outputs are written under a temporary name first.
    """

    programs: Mapping[str, float]
    libraries: Mapping[str, float]
    content: Mapping[str, float]
    batches: float = 0.1
    checkpoints: float = 0.02
    renames: float = 0.15


_COMMON = {"table": 0.15, "array": 0.1, "image_decoder": 0.05, "deep_learning": 0.05, "web_server": 0.06}
_ANY_FILES = {"own": 4, "classes": 2, "flat": 1, "documents": 1, "opaque": 1.5, "sources": 1, "splits": 1}

KINDS: Final[Mapping[str, Surroundings]] = {
    "training": Surroundings(
        {"interpreter": 8, "own": 1.5, "shell": 0.2},
        {
            "deep_learning": 0.87, "accelerator": 0.55, "image_decoder": 0.55, "sample_loader": 0.25, "table": 0.3,
            "array": 0.3, "key_value": 0.15, "web_server": 0.1, "inference": 0.04, "mpi": 0.06, "media": 0.05,
        },
        {"own": 6, "classes": 1, "opaque": 2, "splits": 1.5, "flat": 1},
        batches=0.5, checkpoints=0.75, renames=0.3,
    ),
    "inference": Surroundings(
        {"interpreter": 6, "own": 2, "inference": 2},
        {
            "deep_learning": 0.6, "inference": 0.5, "accelerator": 0.5, "image_decoder": 0.6, "web_server": 0.45,
            "table": 0.25, "array": 0.15,
        },
        {"own": 3, "classes": 1.5, "opaque": 2, "splits": 1, "flat": 2},
        batches=0.4,
    ),
    "preparing": Surroundings(
        {"interpreter": 6, "own": 2, "media": 1.5, "shell": 0.5},
        {"deep_learning": 0.3, "image_decoder": 0.5, "table": 0.4, "array": 0.25, "media": 0.1, "accelerator": 0.1},
        {"own": 3, "classes": 2, "opaque": 1, "splits": 1.5, "flat": 2},
        batches=0.2, renames=0.3,
    ),
    "archiving": Surroundings(
        {"archive": 5, "copy": 4, "backup": 3, "interpreter": 1.5, "own": 1.5, "shell": 0.3},
        {"archive": 0.4, "backup": 0.4, **_COMMON}, _ANY_FILES, renames=0.3,
    ),
    "scanning": Surroundings(
        {"scanner": 6, "interpreter": 1.5, "own": 2, "version_control": 1, "shell": 0.5},
        {"scanner": 0.3, **_COMMON}, _ANY_FILES, batches=0.05,
    ),
    "database": Surroundings(
        {"database": 6, "own": 3, "interpreter": 0.7, "web_server": 0.2},
        {"key_value": 0.5, "web_server": 0.3, "table": 0.2, "deep_learning": 0.03}, {"own": 5, "opaque": 2},
        batches=0.05,
    ),
    "serving": Surroundings(
        {"web_server": 4, "file_server": 3, "own": 2.5, "interpreter": 1.5},
        {"web_server": 0.7, "key_value": 0.3, "image_decoder": 0.15, "deep_learning": 0.04, "media": 0.1},
        {"own": 5, "opaque": 2, "documents": 1}, batches=0.05,
    ),
    "tables": Surroundings(
        {"interpreter": 4, "table": 3, "own": 2, "database": 1.5},
        {"table": 0.75, "array": 0.15, "key_value": 0.15, "deep_learning": 0.06, "web_server": 0.06},
        {"own": 6, "opaque": 2}, batches=0.1, renames=0.3,
    ),
    "simulation": Surroundings(
        {"own": 6, "mpi": 2, "interpreter": 1},
        {"mpi": 0.7, "array": 0.5, "accelerator": 0.15, "deep_learning": 0.03}, {"own": 6, "opaque": 2},
        batches=0.2, checkpoints=0.35, renames=0.2,
    ),
    "building": Surroundings(
        {"compiler": 7, "own": 1, "interpreter": 1, "shell": 0.5}, _COMMON, {"own": 6, "sources": 2, "opaque": 0.5},
    ),
    "media": Surroundings(
        {"media": 4, "web_server": 2, "own": 3, "interpreter": 1}, {"media": 0.6, "image_decoder": 0.2, **_COMMON},
        {"own": 5, "opaque": 2}, batches=0.4,
    ),
    "logging": Surroundings(
        {"log": 3, "own": 4, "interpreter": 2, "web_server": 1}, _COMMON, {"own": 6, "opaque": 1}, renames=0.1,
    ),
    "office": Surroundings(
        {"file_server": 5, "own": 3, "interpreter": 0.5}, _COMMON, {"own": 5, "documents": 2, "opaque": 1}, renames=0.3,
    ),
    "pretraining": Surroundings(
        {"interpreter": 8, "own": 1},
        {"deep_learning": 0.9, "accelerator": 0.7, "sample_loader": 0.3, "table": 0.2, "mpi": 0.1, "array": 0.2},
        {"own": 6, "opaque": 2}, batches=0.5, checkpoints=0.8, renames=0.4,
    ),
    "archiving with a framework": Surroundings(
        {"interpreter": 1},
        {"deep_learning": 1.0, "accelerator": 0.3, "image_decoder": 0.4, "archive": 0.15, "table": 0.2},
        {"classes": 3, "splits": 3, "flat": 1},
    ),
    "inference server": Surroundings(
        {"interpreter": 8, "inference": 2},
        {"deep_learning": 0.75, "inference": 0.5, "accelerator": 0.6, "image_decoder": 0.7, "web_server": 0.9},
        {"own": 2, "flat": 2, "opaque": 2, "classes": 1}, batches=0.3,
    ),
    "training without a framework": Surroundings(
        {"own": 7, "interpreter": 3}, {"array": 0.2, "image_decoder": 0.3, "table": 0.1, "mpi": 0.05},
        {"own": 3, "classes": 2, "splits": 2, "flat": 1, "opaque": 1}, batches=0.4, checkpoints=0.4,
    ),
    "searching a dataset": Surroundings({"scanner": 8, "own": 1}, {}, {"classes": 3, "splits": 3, "flat": 1}),
    "preparing with a framework": Surroundings(
        {"interpreter": 1},
        {"deep_learning": 1.0, "accelerator": 0.2, "image_decoder": 0.8, "table": 0.4, "array": 0.2},
        {"classes": 3, "splits": 3, "flat": 1}, batches=0.2, renames=0.3,
    ),
}  # fmt: skip
_BARE: Final = 0.25
_ELSEWHERE: Final = 0.05
_FEW: Final = 20


def surrounded(rng: np.random.Generator, run: SyntheticRun, kind: str) -> tuple[pl.DataFrame, SyntheticRun]:
    """Draw the surroundings of a run. Returns the events before its own, and the run with other names and times."""
    chosen = KINDS[kind]
    if rng.random() < _ELSEWHERE:
        other = KINDS[str(rng.choice(sorted(KINDS)))]
        chosen = replace(chosen, programs=other.programs, libraries=other.libraries)
    events = _named(rng, run.events, chosen)
    if rng.random() < chosen.renames:
        events = _renamed(events)
    if rng.random() < chosen.batches:
        events = _in_batches(rng, events)
    lead = _started(rng, events, chosen) if rng.random() >= _BARE else events.clear()
    return lead, replace(run, events=events)


def _drawn(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    shares = np.array(list(weights.values()), np.float64)
    return str(rng.choice(list(weights), p=shares / shares.sum()))


def _started(rng: np.random.Generator, events: pl.DataFrame, chosen: Surroundings) -> pl.DataFrame:
    """Return the start of each process group: a program, its libraries, and the processes that it forks."""
    begin = float(events["time"][0]) - 2.0
    program = _drawn(rng, chosen.programs)
    less = 1.0 if program == "interpreter" else 0.33 if program == "own" else 0.1
    libraries = [_LIBRARIES[kind] for kind, chance in chosen.libraries.items() if rng.random() < chance * less]
    told: list[tuple[str, int, int, str]] = []
    for group, pids in sorted(events.group_by("group").agg(pl.col("pid").unique().sort()).iter_rows()):
        root, *others = pids
        if rng.random() < 0.3:
            told.append(("exec", root, group, _PROGRAMS["shell"]))
        told.append(("exec", root, group, _PROGRAMS[program]))
        told += [("open", root, group, name) for name in (_LOADER, *libraries)]
        told += [("fork", root, group, f"<process {pid}>") for pid in others]
    paths = pl.Series([path for *_, path in told], dtype=pl.String)
    return pl.DataFrame(
        {
            "time": begin + np.arange(len(told)) / len(told),
            "op": pl.Series([op for op, *_ in told], dtype=EVENT_SCHEMA["op"]),
            "file": paths.hash(7),
            "offset": None,
            "size": 0,
            "pid": [pid for _, pid, *_ in told],
            "group": [group for *_, group, _ in told],
            "duration": None,
            "path": paths,
            "flags": pl.Series(["r" if op == "open" else None for op, *_ in told], dtype=pl.String),
        },
        schema=EVENT_SCHEMA,
    )


def _named(rng: np.random.Generator, events: pl.DataFrame, chosen: Surroundings) -> pl.DataFrame:
    """Give files other names. Those that are read keep their order by name."""
    written = events.filter(pl.col("op") == "write")["path"].unique().sort()
    read = events.filter(pl.col("op").is_in(["read", "mmap", "stat"]), ~pl.col("path").is_in(written.implode()))
    names = _inputs(rng, read["path"].unique().sort().to_list(), _drawn(rng, chosen.content))
    names |= _outputs(rng, written.to_list(), chosen)
    if not names:
        return events
    return events.with_columns(path=pl.col("path").replace(names))


def _inputs(rng: np.random.Generator, old: list[str], content: str) -> dict[str, str]:
    count = len(old)
    if count < _FEW and content != "opaque":  # large files, whose names say what they are
        return {}
    suffix = str(rng.choice([".jpg", ".png", ".JPEG", ".tif", ".webp"]))
    each = max(1, count // int(rng.integers(2, 30)))
    held_out = int(count * rng.choice([0.8, 0.9]))
    made = {
        "classes": lambda n: f"/data/images/class{n // each:04d}/img_{n:06d}{suffix}",
        "flat": lambda n: f"/data/images/img_{n:06d}{suffix}",
        # "train" < "val" by name, too
        "splits": lambda n: f"/data/set/{'train' if n < held_out else 'val'}/c{n // each:04d}/{n:06d}{suffix}",
        "documents": lambda n: f"/home/user/documents/d{n // each:03d}/report {n:05d}.pdf",
        "sources": lambda n: f"/src/project/m{n // each:03d}/unit{n:05d}.cpp",
        "opaque": lambda n: f"/vol/store/{n:010x}",
    }.get(content)
    return {} if made is None else {name: made(number) for number, name in enumerate(old)}


def _outputs(rng: np.random.Generator, old: list[str], chosen: Surroundings) -> dict[str, str]:
    """Name what is written: like checkpoints, or like nothing in particular. Names keep their order."""
    if rng.random() < chosen.checkpoints:
        name = str(rng.choice(["/runs/a/checkpoint-{:05d}.pt", "/runs/a/epoch_{:05d}.ckpt", "/runs/a/model_{:05d}.h5"]))
    elif any(word in path for path in old for word in ("/runs/", "/ckpt/")) or rng.random() < 0.2:
        name = "/srv/out/file_{:05d}.bin"
    else:
        return {}
    return {path: name.format(number) for number, path in enumerate(old) if not path.endswith(".log")}


def _renamed(events: pl.DataFrame) -> pl.DataFrame:
    """Let each file that is written have a temporary name until its last event."""
    written = events.filter(pl.col("op") == "write", ~pl.col("path").str.ends_with(".log"))["path"].unique()
    mine = pl.col("path").is_in(written.implode())
    last = events.with_row_index().filter(mine).unique("path", keep="last", maintain_order=True)
    placed = last.with_columns(
        op=pl.lit("rename", EVENT_SCHEMA["op"]), file=pl.col("path").hash(11), offset=None, size=0, flags=pl.lit("w")
    )
    names = pl.when(mine).then(pl.col("path") + ".tmp").otherwise("path")
    whole = pl.concat([events.with_row_index().with_columns(path=names), placed.cast(last.schema)])
    return whole.sort("index", maintain_order=True).select(EVENT_SCHEMA.names())


def _in_batches(rng: np.random.Generator, events: pl.DataFrame) -> pl.DataFrame:
    """Let reads come in batches of equal number at equal intervals, with some jitter."""
    reads = events["op"].is_in(["read", "mmap"]).to_numpy()
    batch = int(np.exp(rng.uniform(np.log(4), np.log(max(5, reads.sum() // 12)))))
    number = (np.cumsum(reads) - reads) // batch
    interval, jitter = 10.0 ** rng.uniform(-1.5, 0.5), float(rng.uniform(0, 0.3))
    starts = np.cumsum(np.maximum(0.2, rng.normal(1.0, jitter, int(number[-1]) + 1))) * interval
    steps = rng.exponential(interval / (8 * batch), len(events))
    within = np.cumsum(steps)
    first = np.flatnonzero(np.append(True, np.diff(number) > 0))
    within -= (within - steps)[first][number - number[0]]
    times = np.maximum.accumulate(starts[number] + np.minimum(within, 0.5 * interval))
    return events.with_columns(time=pl.Series(times))
