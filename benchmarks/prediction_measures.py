"""What benchmarks of predictions measure: cold and warm epochs, the device by fio, and costs of the processor."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tiering
from tiering.advice.catalog import Tier, find_tier, load_catalog
from tiering.advice.cpu_costs import Coding, Costs, TrainingCosts, Work
from tiering.system.machine import usable_cores


def cold_and_warm(path: Path, loader_of: Callable[[tiering.Store], tiering.Loader]) -> tuple[float, float]:
    """Return s of a cold epoch and of the quickest warm one behind it."""
    gc.collect()
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    np.ones(1 << 30, np.uint8)
    store = tiering.open_store(path)
    loader = loader_of(store)
    took: list[float] = []
    while len(took) < 3 or (sum(took[1:]) < 1 and len(took) < 30):
        began = time.perf_counter()
        for batch in loader:
            len(batch)
        took.append(time.perf_counter() - began)
    store.close()
    return took[0], min(took[1:])


def device(opened: Path, store: Path) -> dict[str, float]:
    """Measure the mount with fio, and opening small files on it after they were listed, as a loader does."""
    shards = ":".join(str(path).replace(":", "\\:") for path in tiering.open_store(store).files())
    rates = {}
    for name, pattern, size, depth in (
        ("read_bandwidth", "read", "1m", 8),
        ("random_bandwidth", "randread", "128k", 32),
        ("iops", "randread", "4k", 32),
        ("latency", "randread", "4k", 1),
    ):
        command = [
            "fio", "--name=read", f"--filename={shards}", "--readonly", f"--rw={pattern}", f"--bs={size}",
            f"--iodepth={depth}", "--direct=1", "--ioengine=libaio", "--time_based", "--runtime=2",
            "--output-format=json",
        ]  # fmt: skip
        job = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["jobs"][0]["read"]
        rates[name] = job["iops"] if name == "iops" else job["bw_bytes"]
        if name == "latency":
            rates[name] = job["clat_ns"]["mean"] / 1e9
    rates["open_cost"] = opening(opened)
    return rates


def opening(directory: Path) -> float:
    directory.mkdir()
    names = [os.fsencode(directory / f"{number:05d}") for number in range(2000)]
    for name in names:
        Path(os.fsdecode(name)).write_bytes(b"x" * 1000)
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    for entry in os.scandir(directory):
        entry.stat()
    began = time.perf_counter()
    for name in names:
        os.close(os.open(name, os.O_RDONLY))
    return (time.perf_counter() - began) / len(names)


def costs_of(rounds: list[dict[str, Any]]) -> Costs:
    """Return the least of what each round's calibration found."""

    def works(*place: str) -> Work:
        return least([Work(**_at(each, place)) for each in rounds])

    def seconds(*place: str) -> float:
        return min(_at(each, place) for each in rounds)

    codings = {
        name: Coding(**{**one, "work": works("codings", name, "work"), "chunk_s": seconds("codings", name, "chunk_s")})
        for name, one in rounds[0]["codings"].items()
    }
    training = {
        name: TrainingCosts(
            works("training", name, "view"), works("training", name, "decode"), seconds("training", name, "make_s")
        )
        for name in rounds[0].get("training", {})  # files of earlier versions have none
    }
    plain = {name: works(name) for name in ("view", "file", "decode", "row")}
    times = {name: seconds(name) for name in ("start_s", "fill", "touch", "fresh", "tell_file_s")}
    return Costs(**plain, codings=codings, **times, measured=True, training=training)


def _at(costs: Any, place: tuple[str, ...]) -> Any:
    for name in place:
        costs = costs[name]
    return costs


def least(some: list[Work]) -> Work:
    """Return the least time on one thread, and on all cores, whichever round each was found in."""
    one, many = min(work.seconds for work in some), min(work.on(usable_cores()) for work in some)
    share = 1 / usable_cores()
    return Work(one, max(0.0, (many / one - share) / (1 - share))) if one else Work(0.0)


def best_of(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the best of each figure: what else runs only slows a device down."""
    better = {"latency": min, "open_cost": min}
    return {key: better.get(key, max)(each[key] for each in rounds) for key in rounds[0]}


def tier_of(rates: dict[str, float], beside: float | None = None) -> Tier:
    """Return the device as a tier; beside: its random bandwidth just before an epoch, since it varies by the minute."""
    shipped = find_tier(load_catalog(), "nvme")
    assert shipped is not None
    measured = {key: rates[key] for key in ("read_bandwidth", "random_bandwidth", "iops", "open_cost")}
    if beside is not None:
        measured["random_bandwidth"] = beside
    return shipped.model_copy(update={**measured, "read_latency_p50": rates["latency"], "queue_depth": 32})
