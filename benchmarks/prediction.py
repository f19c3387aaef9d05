"""Predicted against measured: epoch times of 48 configurations, and what choosing by prediction costs.

    nice -n -15 python -m benchmarks.prediction [--images DIR --tiny DIR] [--rounds 3] [--work DIR] [-o FILE]
    python -m benchmarks.prediction --from FILE
    python -m benchmarks.prediction --nodes [--small]      several nodes: see benchmarks/prediction_nodes.py
    python -m benchmarks.prediction --training             stores made for training: benchmarks/prediction_training.py

Two datasets (of photographs near 100 kB and of images near 1 kB; made from the fixtures' photographs where none are
given) are kept as folder, LMDB, Zarr, and pixels in Zarr without and with codecs. Each is served by tiering.Loader as
pixels of one shape, on 1 and on 2 threads: a cold epoch (all caches of the kernel dropped; needs root) and warm ones in
the same process. Before a cold epoch 1 GiB of memory is touched and freed: on a virtual machine, the first process to
touch memory that the host had taken back waits for the host, which has nothing to do with epochs.

The model is given (a) the device as fio finds it in the same run, (b) the dataset's profile, and (c) what
tiering.measure.calibration measures on a sample of the images, once a round. It sees no measured epoch.

Of all rounds the quickest counts, here as in the calibration: what else runs on a machine only adds to a time. The
range of the rounds stands beside it. A cold epoch has the prediction for the device as it was just before.

-o FILE keeps what was measured; --from FILE predicts again from it. Three rounds take 6 min on 2 cores with nothing
else running; --rounds 1 shows in 2 min that it works.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import tiering
from benchmarks import prediction_nodes, prediction_training
from benchmarks.drawn_photos import drawn_photos
from benchmarks.prediction_measures import best_of, cold_and_warm, costs_of, device, tier_of
from tiering.advice.catalog import Tier
from tiering.advice.constraints import Limits
from tiering.advice.dataset_sizes import sizes_of
from tiering.advice.job import Job
from tiering.advice.loading import Loading
from tiering.advice.prediction import CachePlan, predict
from tiering.advice.recommend import recommend
from tiering.dataset.profile import DatasetProfile, profile_dataset
from tiering.images.pixels import to_pixels
from tiering.images.shape import PixelShape
from tiering.measure.calibration import calibrate
from tiering.measure.device import random_read_bandwidth
from tiering.system.machine import half_of_memory

SIDES = {"photos": 224, "tiny": 32}
WAYS: dict[str, dict[str, Any]] = {
    "folder": {},
    "lmdb": {"to": "lmdb"},
    "zarr": {"to": "zarr", "codec": "none"},
    "pixels": {"to": "zarr", "codec": "none"},
    "pixels zstd": {"to": "zarr", "codec": "zstd"},
    "pixels blosc-lz4": {"to": "zarr", "codec": "blosc-lz4"},
}
THREADS = (1, 2)
BATCH = 256


@dataclasses.dataclass(frozen=True)
class Row:
    """A configuration: s measured, s of each round, s predicted, and s predicted with the run's common device."""

    dataset: str
    way: str
    threads: int
    state: str
    real: float
    rounds: list[float]
    guess: float
    common: float

    @property
    def error(self) -> float:
        """Share of the measured time by which the prediction is off."""
        return abs(self.guess - self.real) / self.real


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--tiny", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path)
    parser.add_argument("-o", dest="output", type=Path)
    parser.add_argument("--from", dest="source", type=Path)
    parser.add_argument("--nodes", action="store_true")
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    if asked.nodes:
        prediction_nodes.run(asked.work, asked.output, small=asked.small)
        return
    if asked.training:
        given = asked.images, asked.work, asked.rounds, asked.output
        found = json.loads(asked.source.read_text()) if asked.source else prediction_training.run(*given)
        prediction_training.show(found)
        return
    if asked.source:
        found = json.loads(asked.source.read_text())
    else:
        with tempfile.TemporaryDirectory(dir=asked.work) as name:
            found = measure(Path(name), {"photos": asked.images, "tiny": asked.tiny}, asked.rounds, asked.output)
    show(found)


def measure(work: Path, given: dict[str, Path | None], rounds: int, output: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {"epochs": [], "profiles": {}, "costs": {}}
    stores: dict[str, dict[str, Path]] = {}
    for name, directory in given.items():
        images = directory or made(work, name)
        stores[name] = {}
        for way, how in WAYS.items():
            stores[name][way] = images
            if how:
                stores[name][way] = work / f"{name} {way}"
                sized = {"pixels": tiering.Pixels(SIDES[name], SIDES[name])} if way.startswith("pixels") else {}
                tiering.convert(images, stores[name][way], **how, **sized)
        profile = profile_dataset(images)
        found["profiles"][name] = profile.model_dump(mode="json")
        say(f"{name}: {profile.files} images of {profile.size_mean:,.0f} B")
        found["costs"][name] = []
    found["device"] = []
    for number in range(rounds):
        found["device"].append(device(work / f"opened {number}", work / "photos lmdb"))
        say(str(found["device"][-1]))
        for name, ways in stores.items():
            files, shape = tiering.open_store(ways["folder"]).files(), (SIDES[name], SIDES[name])
            found["costs"][name].append(dataclasses.asdict(calibrate(files, shape, scratch=work, seed=number)))
            for way, path in ways.items():
                for threads in THREADS:
                    beside = random_read_bandwidth(tiering.open_store(work / "photos lmdb").files(), 0.3)
                    cold, warm = epochs(path, threads, SIDES[name], number)
                    found["epochs"].append([name, way, threads, cold, warm, beside])
        say(f"round {number + 1} of {rounds}")
        if output:
            output.write_text(json.dumps(found, indent=1))
    return found


def made(work: Path, name: str) -> Path:
    sides, count = {"photos": ("600-1000", 600), "tiny": ("24-40", 20000)}[name]
    return drawn_photos(work / name, count, sides)


def epochs(path: Path, threads: int, side: int, number: int) -> tuple[float, float]:
    """Time epochs of pixels of one shape: encoded images are decoded."""

    def loader(store: tiering.Store) -> tiering.Loader:
        shape, settings = PixelShape(side, side, 3), store.manifest.settings
        how: dict[str, Any] = {}
        if settings is None or settings.pixels is None:
            how["transform"] = lambda sample: to_pixels(sample.image, sample.key, shape, "crop")
        return tiering.Loader(store, BATCH, seed=number, threads=threads, **how)

    return cold_and_warm(path, loader)


def show(found: dict[str, Any]) -> None:
    rates = best_of(found["device"])
    tier = tier_of(rates)
    rows = []
    for name, way, threads in sorted({tuple(row[:3]) for row in found["epochs"]}, key=order):
        took = [row[3:] for row in found["epochs"] if tuple(row[:3]) == (name, way, threads)]
        quickest = min(took)
        guess, _ = predicted(found, tier_of(rates, quickest[2]), name, way, threads)
        first, steady = predicted(found, tier, name, way, threads)
        rows.append(Row(name, way, threads, "cold", quickest[0], [each[0] for each in took], guess, first))
        real = min(each[1] for each in took)
        rows.append(Row(name, way, threads, "warm", real, [each[1] for each in took], steady, steady))
    print(f"Device: {json.dumps({key: float(f'{value:.3g}') for key, value in rates.items()})}\n")
    print("| dataset | kept as | threads | epoch | measured, s | predicted, s | error |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        span = f"{row.real:.3f} ({min(row.rounds):.3f}-{max(row.rounds):.3f})"
        start = f"| {row.dataset} | {row.way} | {row.threads} | {row.state}"
        print(f"{start} | {span} | {row.guess:.3f} | {row.error:.1%} |")
    errors = [row.error for row in rows]
    print(f"\n{len(errors)} configurations: median error {statistics.median(errors):.1%}, worst {max(errors):.1%}")
    regret(found, tier, rows)


def order(key: tuple[str, str, int]) -> tuple[str, int, int]:
    return key[0], list(WAYS).index(key[1]), key[2]


def regret(found: dict[str, Any], tier: Tier, rows: list[Row]) -> None:
    """Choose by prediction, and compare the choice with the best that was measured.

    Warm is a long run, for which `recommend` chooses; cold is one epoch from what is there, for which the least
    prediction does. LMDB and Zarr without codec are one way, since the same code reads them: the quicker counts.
    """
    print("\n| dataset | allowed | threads | epoch | recommended | best measured | regret |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    good = total = 0
    for name, kept, (threads, state) in product(SIDES, (False, True), ((1, "warm"), (2, "warm"), (2, "cold"))):
        some = {
            row.way: row
            for row in rows
            if (row.dataset, row.threads, row.state) == (name, threads, state)
            and not (kept and row.way.startswith("pixels"))
        }
        times = {way: row.real for way, row in some.items()}
        times["lmdb"] = times["zarr"] = min(times["lmdb"], times["zarr"])
        choice = min(some, key=lambda way: some[way].common)
        if state == "warm":
            choice = recommended(found, tier, name, threads, kept=kept)
        best = min(times, key=lambda way: times[way])
        loss = times[choice] / times[best] - 1
        total, good = total + 1, good + (loss <= 0.05)
        print(f"| {name} | {'originals' if kept else 'any'} | {threads} | {state} | {choice} | {best} | {loss:.1%} |")
    print(f"\nWithin 5 % of the best in {good} of {total} scenarios.")


def recommended(found: dict[str, Any], tier: Tier, name: str, threads: int, *, kept: bool) -> str:
    advice = recommend(
        DatasetProfile.model_validate(found["profiles"][name]),
        tiers=[tier],
        job=Job(
            epochs=1000,
            resize=(SIDES[name], SIDES[name]),
            threads=threads,
            ram=half_of_memory(),
            hour_usd=1000.0,
        ),
        limits=Limits(keep_originals=kept),
        costs=costs_of(found["costs"][name]),
    )
    return f"{advice.choice.format} {advice.choice.codec}".removesuffix(" none")


def predicted(found: dict[str, Any], tier: Tier, name: str, way: str, threads: int) -> tuple[float, float]:
    data = sizes_of(DatasetProfile.model_validate(found["profiles"][name]), (SIDES[name], SIDES[name]))
    store_format, _, codec = way.partition(" ")
    memory = CachePlan(ram=half_of_memory())
    guess = predict(
        data, tier, store_format, codec or "none", memory,  # type: ignore[arg-type]
        loading=Loading(decode=True, threads=threads, cores=2), costs=costs_of(found["costs"][name]),
    )  # fmt: skip
    return guess.first_epoch_s, guess.steady_epoch_s


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
