"""Predicted against measured over several nodes that share one origin.

    nice -n -15 python -m benchmarks.prediction --nodes [--small] [--work DIR] [-o FILE]

1, 2, 4 and 8 processes act as nodes. Each has an access key, a cache directory and a rank of its own, and serves its
share of every epoch as encoded bytes with tiering.Loader; its connections are open before the first epoch. They share
one object store on loopback that keeps just the limits that the model is given (benchmarks/shared_origin.py): bytes/s
or requests/s of all nodes together and of each, and the latency of a request. Where the job is the bound, each node
waits after each batch as long as its training step takes. Two cores are not eight nodes, so the rates are so low that
they are mostly idle: the share that was busy is printed.

Caches are in each node's own directory, or in memory, and hold half or all of a node's share; cold is the epoch that
fills them, warm the next one. A warm cache that holds everything is only measured behind a job: without one, processors
set the pace. The epoch lasts from the common start to the end of the last node.

The model sees the profile of the dataset and the limits of the server; it sees no measured epoch. The whole run takes
about 7 minutes. --small takes less than one and only shows that it works: its 120 images are so few that most of those
read together are neighbours, and share requests.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import tiering
from benchmarks.drawn_photos import drawn_photos
from benchmarks.shared_origin import BUCKET, Counts, Limits, Server, shared_origin
from tests.s3 import s3_environment
from tiering.advice.catalog import Tier, find_tier, load_catalog
from tiering.advice.dataset_sizes import sizes_of
from tiering.advice.device_time import BATCH_SAMPLES
from tiering.advice.loading import Loading
from tiering.advice.prediction import CachePlan, predict
from tiering.arrays import IndexArray
from tiering.dataset.profile import DatasetProfile, profile_dataset
from tiering.io_sizes import CACHE_UNIT_BYTES
from tiering.serve.epochs import Epochs
from tiering.store.protocol import samples_in
from tiering.system.machine import usable_cores

NODES = (1, 2, 4, 8)
LATENCY = 0.02
#: Images of about 76 kB, one in a cache unit, and of about 35 kB, three in one.
DATASETS = {"photos": ("600-1000", 480), "small": ("430-530", 480)}
#: Bytes of a cache directory that hold no samples: the slot table and the notes.
TABLES = 64 << 10
LEAST_DISK = 1 << 20


@dataclass(frozen=True)
class Bound:
    """What sets the pace: limits of the origin, or samples/s of the job on all nodes, which has smaller batches."""

    name: str
    dataset: str
    limits: Limits
    rate: float | None = None
    batch: int = BATCH_SAMPLES


BOUNDS = (
    Bound("bandwidth", "photos", Limits(total_bandwidth=12e6, bandwidth=6e6, latency=LATENCY)),
    Bound("requests", "small", Limits(total_iops=120, iops=60, total_bandwidth=50e6, latency=LATENCY)),
    Bound("job", "small", Limits(total_bandwidth=12e6, bandwidth=12e6, latency=LATENCY), rate=80.0, batch=8),
)


@dataclass(frozen=True)
class Caching:
    """A cache on each node: shares of the node's samples that its disk and its memory hold."""

    name: str
    disk: float = 0.0
    ram: float = 0.0


CACHES = (
    Caching("none"),
    Caching("half on disk", disk=0.5),
    Caching("all on disk", disk=1.1),
    Caching("half in memory", ram=0.5),
)


@dataclass(frozen=True)
class Row:
    """A configuration: s measured and predicted, the share of the cores that was busy, and counts of all nodes."""

    bound: str
    nodes: int
    cache: str
    epoch: str
    real: float
    guess: float
    limited_by: str
    busy: float
    requests: int
    bytes: int
    hedged: int
    given_up: int
    depth: int

    @property
    def error(self) -> float:
        return abs(self.guess - self.real) / self.real


def run(work: Path | None, output: Path | None, *, small: bool) -> None:
    """Measure all configurations, or a few with `small`, and print each beside its prediction."""
    counts = NODES[:2] if small else NODES
    caches = CACHES[:2] if small else CACHES
    with tempfile.TemporaryDirectory(dir=work) as name:
        root = Path(name)
        profiles = {each: made(root, each, small=small) for each in DATASETS}
        with shared_origin(root / "bucket") as server, s3_environment(server.endpoint), processes(counts[-1]) as nodes:
            rows = [
                row
                for bound in BOUNDS
                for count in counts
                for cache in caches
                for row in measured(server, nodes[:count], root / "caches", profiles[bound.dataset], bound, cache)
            ]
    if output:
        output.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    summarise(rows)


def made(root: Path, name: str, *, small: bool) -> DatasetProfile:
    """Make a dataset, pack it into the bucket, and return its profile."""
    sides, count = DATASETS[name]
    count = count // 4 if small else count
    drawn_photos(root / name, count, sides)
    tiering.convert(root / name, root / "bucket" / f"{name}.zarr", to="zarr", codec="none")
    profile = profile_dataset(root / name)
    print(f"{name}: {profile.files} images of {profile.size_mean:,.0f} B", flush=True)
    return profile


@contextmanager
def processes(count: int) -> Iterator[list[Connection]]:
    """Start the processes that act as nodes."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    running = [
        context.Process(target=act_as_node, args=(number, theirs), daemon=True)
        for number, (_, theirs) in enumerate(pipes)
    ]
    for process in running:
        process.start()
    try:
        yield [ours for ours, _ in pipes]
    finally:
        for process in running:
            process.terminate()
            process.join()


def act_as_node(number: int, control: Connection) -> None:
    """Open, serve and close stores as the coordinator says, until it ends."""
    os.environ["AWS_ACCESS_KEY_ID"] = f"node{number}"
    while True:
        try:
            wanted = control.recv()
        except EOFError:
            return
        store = opened(**wanted["store"])
        ranks, shuffle = tiering.Ranks(number, wanted["nodes"]), "sticky" if wanted["store"]["directory"] else True
        loader = tiering.Loader(store, wanted["batch"], threads=2, ranks=ranks, shuffle=shuffle)
        store.read(first_of(store, ranks, shuffle))
        control.send("ready")
        while (start := control.recv()) is not None:
            time.sleep(max(0.0, start - time.monotonic()))
            spent, before = time.process_time(), loader.stats()
            for batch in loader:
                sum(len(image) for image in batch.images)
                time.sleep(len(batch) * wanted["step"])
            ended, after = time.monotonic(), loader.stats()
            hedged = after.hedged - before.hedged if before and after else 0
            control.send((ended - start, time.process_time() - spent, hedged, after.depth if after else 0))
        store.close()
        control.send("closed")


def first_of(store: tiering.Store, ranks: tiering.Ranks, shuffle: Any) -> IndexArray:
    """Return the first sample of a node's share. Reading it opens the connections before the first epoch."""
    unit = samples_in(CACHE_UNIT_BYTES, store.manifest)
    return next(Epochs(len(store), batch_size=1, ranks=ranks, shuffle=shuffle, unit=unit).drawn())[0]


def opened(url: str, directory: str | None, disk: int, ram: int) -> tiering.Store:
    if directory is None:
        return tiering.open_store(url)
    return tiering.cached(url, disk, directory, ram=ram)


def measured(
    server: Server, nodes: list[Connection], caches: Path, profile: DatasetProfile, bound: Bound, cache: Caching
) -> Iterator[Row]:
    """Yield the rows of one bound, one number of nodes and one cache: cold, and warm."""
    share = profile.bytes / len(nodes)
    ram = int(cache.ram * share) - LEAST_DISK if cache.ram else 0
    if cache.ram and (ram < LEAST_DISK or bound.rate):
        return
    disk = LEAST_DISK if cache.ram else int(cache.disk * share)
    plan = CachePlan(ram=ram, fill_once=True, local=disk, local_tier=find_tier(load_catalog(), "nvme"))
    loading = Loading(threads=2, cores=2, nodes=len(nodes), samples_per_s=bound.rate)
    guess = predict(sizes_of(profile, None), tier_of(bound.limits), "zarr", cache=plan, loading=loading)
    shutil.rmtree(caches, ignore_errors=True)
    for number, node in enumerate(nodes):
        own = None if cache.name == "none" else str(caches / f"node{number}")
        url = f"s3://{BUCKET}/{bound.dataset}.zarr"
        store = {"url": url, "directory": own, "disk": disk + TABLES, "ram": ram}
        step = len(nodes) / bound.rate if bound.rate else 0.0
        node.send({"store": store, "nodes": len(nodes), "batch": bound.batch, "step": step})
    for node in nodes:
        node.recv()
    epochs = {"cold": guess.first_epoch_s}
    if cache.name != "none" and (cache.disk <= 1 or bound.rate):
        epochs["warm"] = guess.steady_epoch_s
    for state, seconds in epochs.items():
        served = epoch(server, nodes, bound.limits)
        yield shown(
            Row(bound.name, len(nodes), cache.name, state, guess=seconds, limited_by=guess.bottleneck, **served)
        )
    for node in nodes:
        node.send(None)
    for node in nodes:
        node.recv()


def epoch(server: Server, nodes: list[Connection], limits: Limits) -> dict[str, Any]:
    """Let all nodes serve an epoch from a common start, and return what was measured."""
    server.limit(limits)
    start = time.monotonic() + 0.2
    for node in nodes:
        node.send(start)
    took, cpu, hedged, depth = zip(*(node.recv() for node in nodes), strict=True)
    counts: Counts = server.counts()
    busy = (sum(cpu) + counts.cpu) / (max(took) * usable_cores())
    return {
        "real": max(took), "busy": busy, "requests": counts.requests, "bytes": counts.bytes,
        "hedged": sum(hedged), "given_up": counts.given_up, "depth": max(depth),
    }  # fmt: skip


def tier_of(limits: Limits) -> Tier:
    """Return the server as a tier of the catalog, with exactly its figures."""
    shipped = find_tier(load_catalog(), "object")
    assert shipped is not None
    bandwidth = min(limits.bandwidth, limits.total_bandwidth)
    return shipped.model_copy(
        update={
            "read_bandwidth": bandwidth,
            "random_bandwidth": bandwidth,
            "iops": min(limits.iops, limits.total_iops),
            "total_bandwidth": limits.total_bandwidth,
            "total_iops": limits.total_iops,
            "read_latency_p50": limits.latency,
            "read_latency_p99": limits.latency,
            "open_cost": limits.latency,
        }
    )


def shown(row: Row) -> Row:
    print(
        f"{row.bound:9} {row.nodes} x {row.cache:14} {row.epoch}: measured {row.real:6.2f} s, predicted "
        f"{row.guess:6.2f} s ({row.limited_by}), {(row.guess - row.real) / row.real:+.1%}; {row.requests} requests, "
        f"{row.bytes / 1e6:.1f} MB, {row.hedged} hedged, {row.given_up} given up, depth {row.depth}, busy "
        f"{row.busy:.0%}",
        flush=True,
    )
    return row


def summarise(rows: list[Row]) -> None:
    print("\n| bound by | nodes | cache on each | epoch | measured, s | predicted, s | error | processors busy |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        start = f"| {row.bound} | {row.nodes} | {row.cache} | {row.epoch}"
        print(f"{start} | {row.real:.2f} | {row.guess:.2f} | {row.error:.1%} | {row.busy:.0%} |")
    errors = [row.error for row in rows]
    print(f"\n{len(errors)} configurations: median error {statistics.median(errors):.1%}, worst {max(errors):.1%}")
    print(f"Processors were at most {max(row.busy for row in rows):.0%} busy.")
