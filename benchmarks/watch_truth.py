"""Compare what watching finds of a job with what the job read, by its own exact record.

    python -m benchmarks.watch_truth [--images DIR] [--as root user] [--only WORDS] [--work DIR] [--verbose]

Twelve training loops (benchmarks/watched_jobs.py) run for five epochs each, and note the file, offset and size of
each read; the jobs of tiering.Loader let it record itself. Each is watched as root, and again job and watcher are an
unprivileged user's. Prints two tables, and exits with status 1 if a bar is missed:

- as root: passes exact, re-read share and coverage within 5 points, bytes within 2 %; of mapped files, which are read
  by whole pages, all within what the watcher itself says that it may have missed.
- as a user: passes and re-read share follow from the bytes and the dataset's; coverage is missing, not wrong.
- the verdict is right or inconclusive in all, and right in nine as root and in seven as a user.

Needs root (to drop caches and become another user). pyarrow is installed into an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl

from benchmarks.watched_jobs import KINDS, Kind
from benchmarks.with_pyarrow import with_pyarrow
from tiering.system.page_cache import drop
from tiering.trace.profile import profile_trace
from tiering.trace.trace_profile import TraceProfile
from tiering.workload.verdict import Verdict, classify

PAGE = os.sysconf("SC_PAGE_SIZE")
#: How many of the verdicts have to be right, of twelve.
RIGHT = {"root": 9, "user": 7}
#: The workload of all jobs.
WORKLOAD = "re-read-heavy"
#: Epochs over mapped data last longer: accessed bits are read every few seconds.
_LONGER = 6
#: s until there was a look for sure.
_LOOK = 1.5
_POINTS, _BYTES, _EXACT = 0.05, 0.02, 0.01


@dataclass(frozen=True, slots=True)
class Truth:
    """What a job read while it was watched: B in all and once, and B of its dataset.

    paged: B in all, if each read takes whole pages, as reads of mapped files do.
    """

    read: int
    unique: int
    dataset: int
    paged: int

    @property
    def epochs(self) -> float:
        """Passes over what was read."""
        return self.read / self.unique

    @property
    def reread(self) -> float:
        """The share of the bytes that was read again."""
        return 1 - self.unique / self.read

    @property
    def coverage(self) -> float:
        """The share of the dataset that was read."""
        return self.unique / self.dataset


@dataclass(frozen=True, slots=True)
class Outcome:
    """A job: what it did, and what was found."""

    name: str
    kind: Kind
    truth: Truth
    found: TraceProfile
    verdict: Verdict
    watcher: dict[str, object]

    def missed(self, user: str) -> list[str]:
        """Return the bars that this job misses."""
        truth, found = self.truth, self.found
        wrong = []
        if self.kind.mapped:
            slack = found.bytes_mapped_unsure
            if not truth.read * (1 - _BYTES) - slack <= found.bytes_read <= truth.paged * (1 + _BYTES):
                wrong.append("bytes")
            share = (slack + truth.paged - truth.read) / truth.read
            exact, points = _EXACT + share, _POINTS + share
        else:
            if abs(found.bytes_read / truth.read - 1) > _BYTES:
                wrong.append("bytes")
            exact, points = _EXACT if user == "root" else _BYTES, _POINTS
        if found.epochs is None:
            wrong += ["passes are missing"] * (not self.kind.mapped)
        elif abs(found.epochs / truth.epochs - 1) > exact:
            wrong.append("passes")
        if abs(found.reread_share - truth.reread) > points:
            wrong.append("re-read")
        if found.coverage is None:
            wrong += ["coverage is missing"] * (user == "root" and not self.kind.mapped)
        elif abs(found.coverage - truth.coverage) > points:
            wrong.append("coverage")
        if self.verdict.workload not in {WORKLOAD, "inconclusive"}:
            wrong.append("verdict")
        return wrong

    def row(self, user: str) -> str:
        """Return the row of a table: truth → found."""
        truth, found = self.truth, self.found
        sure = f" (+ at most {found.bytes_mapped_unsure / 1e6:.1f})" if found.bytes_mapped_unsure else ""
        cells = [
            self.name,
            f"{truth.read / 1e6:.1f} → {found.bytes_read / 1e6:.1f}{sure}",
            f"{100 * (found.bytes_read / truth.read - 1):+.1f} %",
            f"{truth.epochs:.3f} → {_figure(found.epochs, '.3f')}",
            f"{truth.reread:.1%} → {found.reread_share:.1%}",
            f"{truth.coverage:.1%} → {_figure(found.coverage, '.1%')}",
            f"{self.verdict.workload} {self.verdict.probability:.0%}",
            f"{100 * float(str(self.watcher['share'])):.1f} %",
            ", ".join(self.missed(user)) or "-",
        ]
        return f"| {' | '.join(cells)} |"


HEAD = (
    "| job | MB read, truth → found | error | passes | read again | coverage | verdict | watcher | missed |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def _figure(value: float | None, form: str) -> str:
    return "missing" if value is None else format(value, form)


def made_data(work: Path, python: Path, images: Path | None, samples: int) -> Path:
    """Make the forms of a dataset, and return their directory."""
    data = work / "data"
    words = [python, "-m", "benchmarks.watched_jobs", "make", data, "--samples", samples]
    words += ["--images", images] if images is not None else []
    subprocess.run(list(map(str, words)), check=True, stdout=subprocess.DEVNULL)
    return data


def watched(
    name: str, user: str, data: Path, work: Path, python: Path, *, epochs: int = 5, seconds: float = 2
) -> Outcome:
    """Run a job, watch it, and return what it read and what was found."""
    kind, trace = KINDS[name], work / "trace.parquet"
    seconds *= _LONGER if kind.mapped else 1
    record = work / "record"
    record.mkdir()
    for directory in (work, record):
        directory.chmod(0o777)
    dataset = dataset_of(kind, data)
    drop([path for path in files_of(dataset) if path.is_file()])
    job = [python, "-m", "benchmarks.watched_jobs", name, data, record, "--epochs", epochs, "--seconds", seconds]
    job += ["--other-user"] * (user == "user")
    with (work / "log").open("w") as log, _begun(job, log) as training:
        _said(training.stdout, "ready")
        if kind.mapped and user == "user":
            # The rehearsal of the job has brought them into memory.
            drop([path for path in files_of(dataset) if path.is_file()])
        words = [sys.executable, "-m", "benchmarks.other_user", training.pid, trace, "--wait", "--dataset", dataset]
        words += ["--as-root"] * (user == "root") + ["--warm-maps"] * kind.mapped
        with _begun(words) as watching:
            _said(watching.stdout, "ready")
            if kind.middle:
                _tell(training)
                _said(training.stdout, "half an epoch")
            _tell(watching)
            begin = json.loads(_line(watching.stdout))["begin"]
            if not kind.middle:
                _tell(training)
            _said(training.stdout, "trained")
            # What a process did since the last look at it is not seen once it has ended.
            time.sleep(_LOOK)
            _tell(training)
            found = json.loads(_line(watching.stdout))
    if kind.middle:
        # It takes a moment to attach: the job is watched from the first read that the trace has.
        events = pl.read_parquet(trace).filter(pl.col("path").str.starts_with(str(dataset)), pl.col("op") == "read")
        begin = float(str(events["time"].min())) if len(events) else begin
    truth = truth_of(record, begin, files_of(dataset))
    profile = profile_trace(trace, dataset_root=dataset, dataset_bytes=truth.dataset)
    return Outcome(name, kind, truth, profile, classify(profile), found)


def _begun(words: Sequence[object], log: IO[str] | None = None) -> subprocess.Popen[str]:
    text = list(map(str, words))
    return subprocess.Popen(text, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)


def _tell(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.write("\n")
        process.stdin.flush()


def _line(stream: IO[str] | None) -> str:
    line = "" if stream is None else stream.readline()
    if not line:
        raise RuntimeError("a process of the benchmark ended early")
    return line


def _said(stream: IO[str] | None, word: str) -> None:
    while _line(stream) != f"{word}\n":
        pass


_PLACES = {
    "files": "files",
    "tars": "tars",
    "lmdb": "plain.lmdb/data.mdb",
    "memmap": "pixels.npy",
    "zarr": "pixels.zarr",
    "arrow": "images.arrow",
    "parquet": "images.parquet",
}


def dataset_of(kind: Kind, data: Path) -> Path:
    """Return the directory or file that a job reads."""
    return data / (_PLACES.get(kind.data) or kind.data.removeprefix("loader of "))


def files_of(dataset: Path) -> list[Path]:
    """Return the files of a dataset."""
    return [dataset] if dataset.is_file() else [path for path in dataset.rglob("*") if path.is_file()]


def truth_of(record: Path, begin: float, files: Sequence[Path]) -> Truth:
    """Read the record of a job, from the beginning of the watching."""
    if (record / "trace").exists():
        rows = pl.concat(pl.read_parquet(path) for path in (record / "trace").glob("*.parquet"))
        rows = rows.filter(pl.col("op") == "read", pl.col("time") >= begin)
        files_read = np.unique(rows["path"].to_numpy(), return_inverse=True)[1]
        offset, size = rows["offset"].to_numpy(), rows["size"].to_numpy()
    else:
        found = np.load(record / "record.npy")
        found = found[found[:, 3] >= begin]
        files_read, offset, size = found[:, :3].astype(np.int64).T
    start, end = offset, offset + size
    paged = int((-(-end // PAGE) * PAGE - start // PAGE * PAGE).sum())
    dataset = sum(path.stat().st_size for path in files)
    return Truth(int(size.sum()), _union(files_read, start, end), dataset, paged)


def _union(file: np.ndarray, start: np.ndarray, end: np.ndarray) -> int:
    """Return the B that are in any of the ranges."""
    order = np.lexsort((start, file))
    total, last, reached = 0, -1, 0
    for at in order.tolist():
        if file[at] != last:
            last, reached = file[at], 0
        total += max(0, int(end[at]) - max(int(start[at]), reached))
        reached = max(reached, int(end[at]))
    return total


def table(user: str, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield the lines of a table, and a summary."""
    yield HEAD
    for each in outcomes:
        yield each.row(user)
    right = sum(each.verdict.workload == WORKLOAD for each in outcomes)
    missed = sum(bool(each.missed(user)) for each in outcomes)
    yield f"\n{right} of {len(outcomes)} verdicts right; {missed} of {len(outcomes)} jobs miss a bar.\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a directory of images; by default photographs are made")
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument(
        "--seconds", type=float, default=2, help="of an epoch, at least; of mapped data six times as long"
    )
    parser.add_argument("--as", nargs="+", dest="users", choices=["root", "user"], default=["root", "user"])
    parser.add_argument("--only", nargs="+", default=[""], help="jobs whose names contain one of these")
    parser.add_argument("--work", type=Path, help="keep data and environment here, and use those that are there")
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory(prefix="watch-truth-") as name:
        place = asked.work or Path(name)
        place.chmod(0o755)
        python = with_pyarrow(place / "venv")
        data = place / "data"
        if not data.exists():
            made_data(place, python, asked.images, asked.samples)
        names = [each for each in KINDS if any(word in each for word in asked.only)]
        for user in asked.users:
            outcomes = []
            for each in names:
                with tempfile.TemporaryDirectory(prefix="watch-truth-") as work:
                    try:
                        outcomes.append(watched(each, user, data, Path(work), python, seconds=asked.seconds))
                    except RuntimeError as error:
                        log = (Path(work) / "log").read_text()
                        print(f"{each}, as {user}: {error}\n{log}", file=sys.stderr, flush=True)
                        failed = True
                        continue
                print(outcomes[-1].row(user), file=sys.stderr, flush=True)
                if asked.verbose:
                    print(outcomes[-1].watcher, outcomes[-1].verdict.notes, file=sys.stderr, flush=True)
            print(f"As {'root' if user == 'root' else 'an unprivileged user'}:\n")
            print(*table(user, outcomes), sep="\n", flush=True)
            right = sum(outcome.verdict.workload == WORKLOAD for outcome in outcomes)
            failed |= any(outcome.missed(user) for outcome in outcomes) or right < RIGHT[user] * len(names) / len(KINDS)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
