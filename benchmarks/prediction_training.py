"""Predicted against measured for stores made for training: 16 configurations.

    nice -n -15 python -m benchmarks.prediction --training [--images DIR] [--rounds 3] [--work DIR] [-o FILE]
    python -m benchmarks.prediction --training --from FILE

Photographs are re-encoded to a longest side of 400 and of 256 pixels, and decoded to 256 x 256. Each store is served by
tiering.Loader as ready batches, RandomResizedCrop(224, flip=0.5), on 1 and on 2 threads: a cold epoch (all caches of
the kernel dropped; needs root) and warm ones behind it, as in benchmarks/prediction.py.

The model is given the device as fio finds it in the same run, the profile of the *originals* with 300 of them
re-encoded, and what tiering.measure.calibration measures on 300 of them. It sees neither the stores nor a measured
epoch: their bytes are predicted, too.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import tiering
from benchmarks.drawn_photos import drawn_photos
from benchmarks.prediction_measures import best_of, cold_and_warm, costs_of, device, tier_of
from tiering.advice.catalog import Tier
from tiering.advice.cpu_costs import Costs
from tiering.advice.dataset_sizes import sizes_of
from tiering.advice.job import Job
from tiering.advice.loading import Loading
from tiering.advice.prediction import CachePlan, Setting, predict
from tiering.advice.training_stores import training_stores
from tiering.dataset.profile import DatasetProfile, profile_dataset
from tiering.images.reencoded import Reencoded
from tiering.images.training_formats import TRAINING_FORMATS
from tiering.measure.calibration import calibrate
from tiering.measure.device import random_read_bandwidth
from tiering.system.machine import half_of_memory

#: A format, and what holds it.
WAYS = (("jpeg-400", "lmdb"), ("jpeg-256", "lmdb"), ("jpeg-256", "zarr"), ("pixels-256", "pixels"))
THREADS = (1, 2)
BATCH = 256
CROP = tiering.RandomResizedCrop(224, flip=0.5)


def measure(images: Path, work: Path, rounds: int, output: Path | None) -> dict[str, Any]:
    """Measure every configuration."""
    profile = profile_dataset(images, reencoded=True)
    stores = made(images, work)
    found: dict[str, Any] = {"profile": profile.model_dump(mode="json"), "epochs": [], "costs": [], "device": []}
    found["sizes"] = {way: tiering.open_store(at).manifest.image_bytes for way, at in stores.items()}
    files = tiering.open_store(images).files()
    for number in range(rounds):
        found["device"].append(device(work / f"opened {number}", stores["pixels-256 pixels"]))
        found["costs"].append(dataclasses.asdict(calibrate(files, scratch=work, seed=number, reencoded=True)))
        for way, path in stores.items():
            for threads in THREADS:
                beside = random_read_bandwidth(tiering.open_store(stores["pixels-256 pixels"]).files(), 0.3)
                found["epochs"].append([way, threads, *epochs(path, threads, number), beside])
        print(f"round {number + 1} of {rounds}", flush=True)
        if output:
            output.write_text(json.dumps(found, indent=1))
    return found


def made(images: Path, work: Path) -> dict[str, Path]:
    """Make every store, and return its place by format and container."""
    stores = {}
    for name, container in WAYS:
        store, how = work / f"{name} {container}", TRAINING_FORMATS[name]
        if isinstance(how, Reencoded):
            tiering.convert(images, store, container, encode=how, codec="none" if container == "zarr" else "auto")
        else:
            tiering.convert(images, store, "zarr", pixels=tiering.Pixels(how.height, how.width), codec="none")
        stores[f"{name} {container}"] = store
    return stores


def epochs(path: Path, threads: int, number: int) -> tuple[float, float]:
    return cold_and_warm(path, lambda store: tiering.Loader(store, BATCH, seed=number, threads=threads, images=CROP))


def show(found: dict[str, Any]) -> None:
    """Print predictions beside measurements."""
    rates = best_of(found["device"])
    profile = DatasetProfile.model_validate(found["profile"])
    costs = costs_of(found["costs"])
    print("| kept as | threads | epoch | measured, s | predicted, s | error |\n| --- | --- | --- | --- | --- | --- |")
    errors = []
    for way, threads in dict.fromkeys((way, threads) for way, threads, *_ in found["epochs"]):
        took = [row[2:] for row in found["epochs"] if row[:2] == [way, threads]]
        quickest = min(took)
        first, _ = predicted(profile, tier_of(rates, quickest[2]), way, threads, costs)
        _, steady = predicted(profile, tier_of(rates), way, threads, costs)
        warm = min(each[1] for each in took)
        for state, real, guess in (("cold", quickest[0], first), ("warm", warm, steady)):
            errors.append(abs(guess / real - 1))
            print(f"| {way} | {threads} | {state} | {real:.3f} | {guess:.3f} | {errors[-1]:.1%} |")
    print(f"\n{len(errors)} configurations: median error {statistics.median(errors):.1%}, worst {max(errors):.1%}\n")
    print("| kept as | stored, MB | predicted, MB | error |\n| --- | --- | --- | --- |")
    for way, real in found["sizes"].items():
        guess = store_of(profile, way.split()[0], costs).data.bytes
        print(f"| {way} | {real / 1e6:.1f} | {guess / 1e6:.1f} | {abs(guess / real - 1):.1%} |")
    originals = 1 / costs.decode.seconds
    rates_of = ", ".join(f"{name} {1 / each.decode.seconds / originals:.1f} x" for name, each in costs.training.items())
    print(f"\nReady on one thread: originals {originals:,.0f}/s, {rates_of}.")


def store_of(profile: DatasetProfile, name: str, costs: Costs, threads: int = 1) -> Any:
    data = sizes_of(profile)
    setting = Setting(100, Loading(decode=True, threads=threads, cores=2), costs)
    stores, missing = training_stores(profile, data, Job(), setting)
    for store in stores:
        if store.name == name:
            return store
    sys.exit(f"{name}: expected images for which advice offers it; {' '.join(missing)}")


def predicted(profile: DatasetProfile, tier: Tier, way: str, threads: int, costs: Costs) -> tuple[float, float]:
    name, container = way.split()
    store = store_of(profile, name, costs, threads)
    guess = predict(
        store.data, tier, container, "none", CachePlan(ram=half_of_memory()),  # type: ignore[arg-type]
        loading=store.setting.loading, costs=store.setting.costs,
    )  # fmt: skip
    return guess.first_epoch_s, guess.steady_epoch_s


def run(images: Path | None, work: Path | None, rounds: int, output: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=work) as name:
        some = images or drawn_photos(Path(name) / "photos", 600, "600-1000")
        return measure(some, Path(name), rounds, output)
