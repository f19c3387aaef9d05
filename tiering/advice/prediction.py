"""The performance model: how long an epoch takes, and what it costs, for a tier, a format, a codec and a cache.

Reading ahead makes a pipeline of an epoch. Its stages work at the same time, and the slowest sets the pace:

    device          s of the storage for all samples that no cache answers (tiering.advice.stored_size)
    open latency    opens x open_cost / opens in flight, and telling the kernel of each file
    CPU copy        reading, by the threads that do it
    decoding        the same where most of it is decoding; both also as all work on all cores
    training job    samples / samples_per_s

docs/recommending.md has every formula with its units, and what was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from tiering.advice.catalog import Tier
from tiering.advice.cpu_costs import Costs, class_costs
from tiering.advice.dataset_sizes import Data
from tiering.advice.epoch_stages import Bottleneck, Loading, Stages, Way, blended, slowest
from tiering.advice.stored_size import PAGE, Format, stored_bytes

__all__ = [
    "MONTH",
    "PAGE",
    "CachePlan",
    "Codec",
    "Data",
    "Format",
    "Loading",
    "Prediction",
    "hit_ratio",
    "predict",
    "stored_bytes",
]

Codec = str

#: s of a month: 365.25 days / 12.
MONTH: Final = 365.25 / 12 * 86400


@dataclass(frozen=True, slots=True)
class CachePlan:
    """What stands in front of the origin: the first samples read stay, up to these many bytes.

    ram: B of the host's memory; fill_once: a cache of tiering's, otherwise the kernel's page cache, which evicts;
    local: B on local_tier. RAM holds what local_tier does not, not a copy of it.
    """

    ram: int = 0
    fill_once: bool = False
    local: int = 0
    local_tier: Tier | None = None

    def __post_init__(self) -> None:
        if self.ram < 0 or self.local < 0 or (self.local and self.local_tier is None):
            message = f"cache: expected sizes of at least 0, and a tier for local bytes, found {self}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model expects. Times are s."""

    first_epoch_s: float = field(metadata={"doc": "cold: nothing cached, and caches being filled"})
    steady_epoch_s: float
    samples_per_s: float = field(metadata={"doc": "in a steady epoch"})
    bytes_per_s: float = field(metadata={"doc": "encoded bytes, in a steady epoch"})
    bottleneck: Bottleneck = field(metadata={"doc": "of the steady epoch"})
    hit_ratio: float = field(metadata={"doc": "share of samples that a cache answers in a steady epoch"})
    monthly_usd: float = field(
        metadata={"doc": "one month of storage, cache included, and the requests and retrievals of a run's month"}
    )
    stall_fraction: float | None = field(
        metadata={"doc": "share of a steady epoch that the training job waits; None without its rate"}
    )
    stages: Stages = field(metadata={"doc": "s of a steady epoch that each stage alone would take"})


def hit_ratio(cache_bytes: float, dataset_bytes: float, *, fill_once: bool = True) -> float:
    """Share of sample reads that a cache answers in a steady epoch of a fresh random order.

    cache_bytes, dataset_bytes: B. fill_once: the first samples stay and nothing is evicted, which gives
    c = cache / dataset, and no policy can give more (Mohan et al., VLDB 2021, section 4). Otherwise LRU, which gives
    c + (1 - c) ln(1 - c). Returns a ratio in [0, 1]. Raises ValueError for a negative cache or no dataset.
    """
    if cache_bytes < 0 or dataset_bytes <= 0:
        message = f"expected a cache of at least 0 and a dataset above 0 bytes, found {cache_bytes}, {dataset_bytes}"
        raise ValueError(message)
    share = min(1.0, cache_bytes / dataset_bytes)
    if fill_once or share == 1.0:
        return share
    # The series' first term is c^2 / 2: near 0 the closed form loses it, and may come out below 0.
    return max(0.0, share + (1 - share) * math.log1p(-share))


def predict(
    data: Data,
    tier: Tier,
    store_format: Format,
    codec: Codec = "none",
    cache: CachePlan | None = None,
    *,
    epochs: int = 100,
    loading: Loading | None = None,
    costs: Costs | None = None,
) -> Prediction:
    """Predict the epochs and the bill of a dataset on a tier, in a format, behind a cache.

    epochs: of the one run a month whose requests and retrievals are billed. loading: how training takes samples, as
    encoded bytes unless told. costs: the processor's times, by default class figures.
    Raises ValueError below 1 epoch, and for pixels of a dataset whose images have no one shape.
    More bandwidth never makes an epoch slower, more bytes never faster, and a larger cache never makes a steady epoch
    slower: a cache slower than what it stands before is taken to be bypassed. Filling it may lengthen the first.
    """
    if epochs < 1:
        message = f"epochs: expected at least 1, found {epochs}"
        raise ValueError(message)
    if store_format == "pixels" and not data.row_bytes:
        message = "pixels: expected images of one shape, or a resize to one"
        raise ValueError(message)
    plan, how, price = cache or CachePlan(), loading or Loading(), costs or class_costs(data)
    way = Way(data, tier, store_format, codec, how, price)
    stored = stored_bytes(data, store_format, codec, pages=tier.access != "object", costs=price)
    # tiering's cache holds samples as they are served; the page cache holds pages of the store as it is on disk.
    served = data.samples * data.row_bytes if store_format == "pixels" else data.bytes
    kept = plan.ram * (how.nodes if plan.fill_once else 1)
    ram_share = hit_ratio(kept, served if plan.fill_once else stored, fill_once=plan.fill_once)
    local_share = min(1.0 - ram_share, plan.local * how.nodes / served)
    miss_share = max(0.0, 1.0 - ram_share - local_share)
    page_cache = 0 if plan.fill_once else plan.ram

    cold = way.stages(miss=1.0, cached=0.0, page_cache=page_cache, first=True)
    first = way.piped(cold, page_cache)
    in_slab = ram_share if plan.fill_once else 0.0
    steady_stages = way.stages(miss=1 - ram_share, cached=in_slab, page_cache=page_cache)
    if plan.local_tier is not None:
        used = way.stages(miss=miss_share, cached=in_slab + local_share, page_cache=page_cache, local=local_share)
        used["device"] += local_share * data.samples * plan.local_tier.read_seconds(served / data.samples) / how.nodes
        steady_stages = blended(steady_stages, used)
        first = max(first, min(served / how.nodes, plan.local) / plan.local_tier.write_bandwidth)
    if how.samples_per_s is not None:
        steady_stages["training job"] = data.samples / how.samples_per_s
        first = max(first, steady_stages["training job"])
    steady = max(steady_stages.values())
    if steady != steady_stages.get("training job"):
        steady += price.start_s
    first = max(first, steady)

    reads = data.samples * (1 + (epochs - 1) * miss_share)
    access = reads / 1000 * tier.request_price + reads * (stored / data.samples) / 1e9 * tier.retrieval_price
    # Of a run that takes longer than a month, a month's part.
    dollars = stored / 1e9 * tier.price + access * min(1.0, MONTH / (first + (epochs - 1) * steady))
    if plan.local_tier is not None:
        dollars += min(served, plan.local * how.nodes) / 1e9 * plan.local_tier.price
    job = steady_stages.get("training job")
    return Prediction(
        first_epoch_s=first,
        steady_epoch_s=steady,
        samples_per_s=data.samples / steady,
        bytes_per_s=data.bytes / steady,
        bottleneck=slowest(steady_stages),
        hit_ratio=1.0 - miss_share,
        monthly_usd=dollars,
        stall_fraction=None if job is None else 1 - job / steady,
        stages={**steady_stages},
    )
