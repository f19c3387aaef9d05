"""Accelerator utilisation, predicted against measured, of an emulated training job in 12 configurations.

    nice -n -15 python -m benchmarks.utilisation [--images DIR] [--copies 10] [--rounds 3] [--rate 150MB] [--work DIR]
    python -m benchmarks.utilisation --copies 1 --rounds 1   # a small run: half a minute, and rougher

A dataset (of photographs near 100 kB; made from the fixtures' photographs where none is given) is kept as folder, LMDB
and Zarr, and served in encoded bytes by `tiering.bench` to a job that takes time for each batch. Each image is there
--copies times, so that an epoch is much longer than the loader reads ahead. Cold epochs read from the disk held to
--rate by a control group (needs root), because a disk that others use too has another speed every minute; warm ones
read from memory, at the speed of the processor. Jobs are chosen by the prediction alone: two for cold epochs, which
should keep the accelerator busy for 40 % and for 70 % of the time, and two for warm ones, for 50 % and 100 %.

Predictions rest on the rate that the disk is held to, and on the processor as it is measured with some of the images
before each round. They see no measured epoch. The median of all rounds counts, with the range beside it.

With 10,000 images and 3 rounds it takes about 8 minutes, most of them to pack and to read at 150 MB/s. It needs 5 GB
in --work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tiering
from benchmarks.drawn_photos import drawn_photos
from tiering.advice.cpu_costs import Costs
from tiering.measure.predicted_utilisation import costs_of, device_as_tier, predicted_utilisation, stored_as
from tiering.system.mounts import mounts_of
from tiering.units import parse_rate

KINDS = ("folder", "lmdb", "zarr")
#: Predicted utilisation for which jobs are chosen. A job of 1.0 takes 0.6 of what the model says can be served.
AIMS = {"cold": (0.4, 0.7), "warm": (0.5, 1.0)}
_SLACK = 0.6
BATCH = 256
#: Epochs of a warm measurement: they are short, and the median counts.
WARM_EPOCHS = 12
#: A difference that the project allows itself, in points.
BOUND = 5.0


@dataclass(frozen=True)
class Row:
    """A configuration: samples/s of the job, and utilisation predicted and measured in each round."""

    kind: str
    state: str
    rate: float
    predicted: list[float]
    measured: list[float]

    @property
    def points(self) -> float:
        """Points by which the median prediction is above the median measurement."""
        return 100 * (statistics.median(self.predicted) - statistics.median(self.measured))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", default="150MB", help="bytes/s to which the disk is held for cold epochs")
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.work) as name:
        stores = made(Path(name), asked.images or drawn_photos(Path(name) / "drawn", 1000, "600-1000"), asked.copies)
        show(measure(stores, asked.rounds, parse_rate(asked.rate)))


def made(work: Path, images: Path, copies: int) -> dict[str, Path]:
    """Copy the images, and pack them; return the store of each kind."""
    stores = {kind: work / kind for kind in KINDS}
    for number in range(copies):
        shutil.copytree(images, stores["folder"] / f"{number:03d}")
    for kind in KINDS[1:]:
        tiering.convert(stores["folder"], stores[kind], kind, codec="none")
    os.sync()
    with tiering.open_store(stores["folder"]) as store:
        say(f"{len(store):,} images of {store.manifest.image_bytes / len(store):,.0f} B")
    return stores


def measure(stores: dict[str, Path], rounds: int, rate: int) -> list[Row]:
    rows: dict[tuple[str, str, float], Row] = {}
    jobs: dict[tuple[str, str, float], float] = {}
    for number in range(rounds):
        with tiering.open_store(stores["folder"]) as store:
            costs = costs_of(store, seed=number)
        for state, aims in AIMS.items():
            for kind, path in stores.items():
                for aim in aims:
                    key = kind, state, aim
                    # Later rounds keep the job of the first one.
                    job = jobs.setdefault(key, pace(path, rate, costs, state) * (_SLACK if aim == 1 else 1 / aim))
                    row = rows.setdefault(key, Row(kind, state, job, [], []))
                    guess, real = measured(path, job, rate, costs, state)
                    row.predicted.append(guess)
                    row.measured.append(real)
                    say(f"round {number + 1}: {kind} {state} {job:,.0f}/s predicted {guess:.1%} measured {real:.1%}")
    return [*rows.values()]


def pace(path: Path, rate: int, costs: Costs, state: str) -> float:
    """Return the samples/s that the model says can be served."""
    with tiering.open_store(path) as store:
        # A job that no storage satisfies waits for nothing but storage.
        endless = 1e9
        cold, warm = predicted_utilisation(stored_as(store), device_as_tier(rate), endless, costs)
    return endless * (cold if state == "cold" else warm)


def measured(path: Path, job: float, rate: int, costs: Costs, state: str) -> tuple[float, float]:
    """Return the predicted and the measured utilisation of a cold epoch, or of warm ones."""
    how = {
        "job": tiering.emulated_job(samples_per_s=job, batch_size=BATCH),
        "tier": device_as_tier(rate),
        "costs": costs,
    }
    if state == "warm":
        (found,) = tiering.bench([path], epochs=WARM_EPOCHS, **how)
        return found.utilisation.predicted_later, found.utilisation.later
    with held(path, rate):
        (found,) = tiering.bench([path], epochs=2, **how)
    assert found.cold, f"{path} stayed in the page cache"
    return found.utilisation.predicted_first, found.utilisation.first


@contextmanager
def held(path: Path, rate: int) -> Iterator[None]:
    """Hold what this process reads from the disk below a path to a rate, in bytes/s."""
    group, file, limit = group_of(disk_of(path), rate)
    outer = group.parent / "cgroup.procs"
    group.mkdir()
    try:
        (group / file).write_text(limit)
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        outer.write_text(str(os.getpid()))
        group.rmdir()


def disk_of(path: Path) -> str:
    """Return the numbers of the disk that holds a path, as major:minor."""
    device = os.stat(path).st_dev
    found = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    return ((found.parent if (found / "partition").exists() else found) / "dev").read_text().strip()


def group_of(disk: str, rate: int) -> tuple[Path, str, str]:
    """Return a new control group, and the file and the line that limit reads from a disk in it."""
    name = f"tiering-utilisation-{uuid.uuid4().hex[:8]}"
    for mount in mounts_of(Path("/proc/self/mountinfo").read_text()):
        if mount.kind == "cgroup" and "blkio" in mount.options:
            return Path(mount.point) / name, "blkio.throttle.read_bps_device", f"{disk} {rate}"
        control = Path(mount.point) / "cgroup.subtree_control"
        if mount.kind == "cgroup2" and control.exists() and "io" in control.read_text().split():
            return Path(mount.point) / name, "io.max", f"{disk} rbps={rate}"
    sys.exit("utilisation: no control group limits reads here (it needs root, and the blkio or the io controller)")


def show(rows: list[Row]) -> None:
    print("| kept as | epoch | job, samples/s | predicted | measured | difference, points |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        span = f"{statistics.median(row.measured):.1%} ({min(row.measured):.1%}-{max(row.measured):.1%})"
        start = f"| {row.kind} | {row.state} | {row.rate:,.0f} | {statistics.median(row.predicted):.1%}"
        print(f"{start} | {span} | {row.points:+.1f} |")
    apart = [abs(row.points) for row in rows]
    within = sum(each <= BOUND for each in apart)
    print(
        f"\n{len(rows)} configurations: median {statistics.median(apart):.1f} points, worst {max(apart):.1f}; ", end=""
    )
    print(f"{within} of {len(rows)} within {BOUND:.0f}")


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
