"""Watch jobs that are slow in one known way, and healthy ones, and see which cause is named first.

    python -m benchmarks.causes [--seconds 10] [--rounds 1] [--only KIND] [--other-user] [--verbose]

Prints a confusion matrix: a row for each job, a column for each cause named first. Needs root (mounts, control groups)
and two processors; other load on the machine makes it harder. With --other-user jobs and watcher are an unprivileged
user's. Exit status 1 if fewer than nine in ten of the slow jobs
have the right cause, or a healthy one has any.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

import tiering
from benchmarks.drawn_photos import drawn_photos
from benchmarks.slow_mount import slow_mount
from tests.control_groups import memory_group
from tiering.system.page_cache import drop
from tiering.trace.trace_profile import TraceProfile
from tiering.trace.watching.watch import watch
from tiering.workload.cause import Cause
from tiering.workload.causes import causes

#: The right cause of each job; None where it is healthy.
RIGHT: dict[str, str | None] = {
    "slow disk": "storage",
    "slow disk, no workers": "storage",
    "slow disk, threads": "storage",
    "slow opens": "opens",
    "decoding": "decoding",
    "one worker": "workers",
    "slow consumer": "training step",
    "lock": "lock",
    "memory": "memory",
    "cache that thrashes": "cache",
    "transfer": "transfer",
    "healthy, 2 workers": None,
    "healthy, no workers": None,
    "healthy, tiering.Loader": None,
    "healthy, memmap": None,
    "healthy, one process": None,
}
#: s of delays of the mounts that jobs read from: to open a file, and for each read.
DELAYS = {
    "slow disk": (0.0, 0.03),
    "slow disk, no workers": (0.0, 0.03),
    "slow disk, threads": (0.0, 0.03),
    "slow opens": (0.03, 0.0),
    "cache that thrashes": (0.0, 0.01),
}
#: B of page cache that the job with too little memory has.
_HELD = 16_000_000


class Data(NamedTuple):
    """What jobs read."""

    photos: Path
    few: Path
    store: Path
    pixels: Path


def make_data(directory: Path, photos: Path | None = None, pixels: int = 4096) -> Data:
    """Make photographs unless there are some, a store of them, and pixels to map (48 kB each)."""
    photos = photos or drawn_photos(directory / "photos", 300, "384-640")
    store, array = directory / "photos.lmdb", directory / "pixels.npy"
    tiering.convert(photos, store, to="lmdb")
    made = np.lib.format.open_memmap(array, "w+", np.uint8, (pixels, 128, 128, 3))
    made[:] = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), np.uint8)
    made.flush()
    return Data(photos, min(photos.iterdir()), store, array)


@contextmanager
def job(kind: str, data: Data, work: Path, *, other_user: bool = False) -> Iterator[int]:
    """Run a job, and give its pid once it trains."""
    with ExitStack() as stack:
        (own := work / "data").mkdir()
        (cache := work / "cache").mkdir()
        (own / data.store.name).symlink_to(data.store)
        (own / data.pixels.name).symlink_to(data.pixels)
        if kind in DELAYS:
            opening, reading = DELAYS[kind]
            # The cache that thrashes has a small dataset, so that a few seconds hold several epochs.
            photos = data.few if kind == "cache that thrashes" else data.photos
            stack.enter_context(slow_mount(photos, own / "images", opening, reading))
        else:
            (own / "images").symlink_to(data.photos)
        prefix: list[str] = []
        hold: Callable[[int], None] | None = None
        if kind == "memory":
            # Pages in memory belong to the group that read them first.
            drop([data.pixels])
            prefix, hold = stack.enter_context(memory_group())
        words = [*prefix, sys.executable, "-m", "benchmarks.slow_jobs", kind, own, cache]
        if other_user:
            words.append("--other-user")
            for directory in (work, own, cache):
                directory.chmod(0o777)
        process = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True, start_new_session=True)
        stack.callback(_ended, process)
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the job {kind!r} ended with exit status {process.wait()}")
        if hold is not None:
            hold(_HELD)
        yield process.pid


def _ended(process: subprocess.Popen[str]) -> None:
    """End a job with its workers, which would wait for ever for a consumer that is gone."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def watched(kind: str, data: Data, seconds: float, *, other_user: bool = False) -> tuple[list[Cause], TraceProfile]:
    """Run a job, watch it, and return the causes named, with the profile of the trace."""
    with tempfile.TemporaryDirectory(prefix="causes-") as name:
        trace = Path(name) / "trace.parquet"
        with job(kind, data, Path(name), other_user=other_user) as pid:
            if other_user:
                words = [sys.executable, "-m", "benchmarks.other_user", pid, trace, seconds]
                subprocess.run(list(map(str, words)), check=True, stdout=subprocess.DEVNULL)
            else:
                watch(pid, trace, seconds=seconds)
        profile = tiering.profile_trace(trace)
    known = sum(path.stat().st_size for path in data.few.rglob("*.jpg")) if kind == "cache that thrashes" else None
    return causes(profile.waiting, profile, dataset_bytes=known), profile


def matrix(named: Sequence[tuple[str, str | None]]) -> Iterator[str]:
    """Yield the lines of a confusion matrix. named: jobs, and the cause named first."""
    columns = [*dict.fromkeys(each for each in RIGHT.values() if each is not None), "loader", "none"]
    counts = Counter((kind, cause or "none") for kind, cause in named)
    width = max(map(len, RIGHT))
    yield f"{'job':<{width}}  " + "  ".join(columns)
    for kind in dict.fromkeys(kind for kind, _ in named):
        right = RIGHT[kind] or "none"
        cells = (
            f"{f'[{counts[kind, cause]}]' if cause == right else counts[kind, cause] or '.':>{len(cause)}}"
            for cause in columns
        )
        yield f"{kind:<{width}}  " + "  ".join(cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", action="append", choices=list(RIGHT))
    parser.add_argument("--other-user", action="store_true", help="run and watch the jobs as an unprivileged user")
    parser.add_argument("--verbose", action="store_true", help="print all that was seen of each job")
    options = parser.parse_args()
    named: list[tuple[str, str | None]] = []
    with tempfile.TemporaryDirectory(prefix="causes-data-") as name:
        Path(name).chmod(0o755)
        data = make_data(Path(name))
        for _ in range(options.rounds):
            for kind in options.only or RIGHT:
                found, profile = watched(kind, data, options.seconds, other_user=options.other_user)
                named.append((kind, found[0].name if found else None))
                print(
                    f"{kind}: {', '.join(f'{each.name} ({each.evidence})' for each in found) or 'no cause'}", flush=True
                )
                if options.verbose and profile.waiting is not None:
                    print(profile.waiting.model_dump_json(indent=1, exclude_none=True), flush=True)
    print("\nThe cause named first; the right one in brackets\n")
    print("\n".join(matrix(named)))
    slow = [cause == RIGHT[kind] for kind, cause in named if RIGHT[kind] is not None]
    healthy = [cause is None for kind, cause in named if RIGHT[kind] is None]
    print(f"\nright: {sum(slow)} of {len(slow)} slow jobs, {sum(healthy)} of {len(healthy)} healthy ones")
    return 0 if sum(slow) >= 0.9 * len(slow) and all(healthy) else 1


if __name__ == "__main__":
    sys.exit(main())
