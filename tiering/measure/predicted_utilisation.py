"""The utilisation that the performance model expects of an emulated job, from what is known about a store.

MLPerf Storage leaves out the first step, in which the pipeline starts. So the prediction compares paces, not times of
epochs: the job's seconds for an epoch / the seconds of the slowest stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tiering.advice.catalog import Tier, load_catalog, tier_named
from tiering.advice.cpu_costs import Costs, typical_costs
from tiering.advice.dataset_sizes import DatasetSizes, spread_of
from tiering.advice.loading import Loading
from tiering.advice.prediction import CachePlan, predict
from tiering.literals import Format
from tiering.measure.calibration import MOST_SERVED_BYTES, calibrate
from tiering.storage.scratch import temporary_directory
from tiering.store.protocol import Store
from tiering.system.machine import half_of_memory, usable_cores

#: A measured device is assumed to have the latency and the IOPS of this tier of the catalog.
_LIKE: Final = "nvme"
#: Samples to copy out of a packed store for measuring the processor, at most.
_MOST_SAMPLES: Final = 4096
#: Quantiles of the sizes of samples.
_QUANTILES: Final = np.linspace(0, 1, 21)


@dataclass(frozen=True, slots=True)
class StoredAs:
    """A store as the performance model sees it.

    Attributes:
        sizes: Its samples.
        format: Its format.
        codec: The codec of its chunks.
    """

    sizes: DatasetSizes
    format: Format
    codec: str


def stored_as(store: Store) -> StoredAs:
    """Return how the performance model sees a store that has samples."""
    manifest, sizes = store.manifest, np.asarray(store.index.size[:], dtype=np.float64)
    pixels = manifest.settings.pixels if manifest.settings else None
    quantiles = zip(_QUANTILES.tolist(), np.quantile(sizes, _QUANTILES).tolist(), strict=True)
    return StoredAs(
        DatasetSizes(
            manifest.samples,
            manifest.image_bytes,
            sizes=spread_of([*quantiles], manifest.image_bytes / manifest.samples),
            row_bytes=pixels.shape.nbytes if pixels else 0,
        ),
        "pixels" if pixels else manifest.kind,
        manifest.settings.codec if manifest.settings else "none",
    )


def costs_of(store: Store, seed: int = 0) -> Costs:
    """Measure the processor time of serving a store, with some of its samples. Return typical times for pixels.

    Args:
        store: A store of encoded images, or of pixels.
        seed: Seed of the choice of samples.
    """
    form = stored_as(store)
    if form.format == "pixels":
        return typical_costs(form.sizes)
    if store.manifest.kind == "folder" and (files := store.files()):
        return calibrate(files, seed=seed)
    most = min(_MOST_SAMPLES, max(1, round(MOST_SERVED_BYTES / form.sizes.mean)))
    with temporary_directory() as work:
        paths = []
        for number in np.random.default_rng(seed).permutation(len(store))[:most].tolist():
            sample = store[number]
            paths.append(work / f"{number:09d}{Path(sample.key).suffix}")
            paths[-1].write_bytes(bytes(sample.image))
        return calibrate(paths, seed=seed)


def device_as_tier(bytes_per_s: float | None) -> Tier:
    """Return a measured device as a tier: its bandwidth, and what the catalog says of NVMe for the rest.

    Args:
        bytes_per_s: Bandwidth of random direct reads of 128 KiB, 32 at a time. None for the catalog's.
    """
    like = tier_named(load_catalog(), _LIKE, "tier")
    if bytes_per_s is None:
        return like
    return like.model_copy(update={"random_bandwidth": bytes_per_s, "read_bandwidth": bytes_per_s})


def predicted_utilisation(stored: StoredAs, tier: Tier, samples_per_s: float, costs: Costs) -> tuple[float, float]:
    """Return the utilisation of a cold and of a warm epoch, each in (0, 1].

    Args:
        stored: What is served: encoded images or pixels, without decoding.
        tier: Where it is stored.
        samples_per_s: Samples per second that the job takes when it never waits.
        costs: Processor time of a sample.
    """
    cores = usable_cores()
    found = predict(
        stored.sizes,
        tier,
        stored.format,
        stored.codec,
        CachePlan(ram=half_of_memory()),
        loading=Loading(threads=cores, cores=cores, samples_per_s=samples_per_s),
        costs=costs,
    )
    computing = stored.sizes.samples / samples_per_s
    return computing / max(computing, *found.cold_stages.values()), computing / max(found.stages.values())
