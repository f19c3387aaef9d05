"""The performance model: how long an epoch takes, and what it costs, for a tier, a format, a codec and a cache.

The loader reads ahead, so the stages of an epoch work at the same time and the slowest one sets the pace:

    device          storage time of all samples that no cache answers (device_time.py)
    open latency    opens x open_cost / opens in flight, and announcing each file to the kernel
    CPU copy        reading, by the threads that do it
    decoding        the same, where most of it is decoding
    all cores       the whole processor time, spread over all cores
    training job    samples / samples_per_s

docs/recommending.md has every formula with its units, and the measurements behind them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tiering.advice.catalog import Tier
from tiering.advice.cpu_costs import Costs, typical_costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.epoch_stages import EpochModel, Loading, Stages, best_blend, slowest
from tiering.advice.stored_size import stored_bytes
from tiering.literals import Bottleneck, Format
from tiering.units import MONTH_SECONDS


@dataclass(frozen=True, slots=True)
class Setting:
    """What all predictions of one recommendation share.

    Attributes:
        epochs: Epochs of the one run a month whose requests and retrievals are billed; at least 1.
        loading: How training takes samples.
        costs: Processor time of a sample.
    """

    epochs: int
    loading: Loading
    costs: Costs


@dataclass(frozen=True, slots=True)
class CachePlan:
    """The caches in front of the storage. The samples that are read first stay.

    Attributes:
        ram: Bytes of each host's memory.
        fill_once: Whether the memory is a cache of tiering's, which never evicts. Otherwise it is the page cache.
        local: Bytes on local_tier, which hold other samples than the memory does.
        local_tier: The tier of the local cache.

    Raises:
        ValueError: For a negative size, or local bytes without a tier.
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
    """The time and cost that the model expects. Times are seconds."""

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
    stages: Stages = field(metadata={"doc": "seconds of a steady epoch that each stage alone would take"})


def hit_ratio(cache_bytes: float, dataset_bytes: float, *, fill_once: bool = True) -> float:
    """Return the share of reads that a cache answers in a steady epoch of a fresh random order.

    Args:
        cache_bytes: Size of the cache, at least 0.
        dataset_bytes: Size of the dataset, above 0.
        fill_once: Whether the first samples stay and nothing is evicted. That answers c = cache / dataset, and no
            policy answers more (Mohan et al., VLDB 2021, section 4). LRU answers c + (1 - c) ln(1 - c).

    Returns:
        A ratio in [0, 1].

    Raises:
        ValueError: For a negative cache or an empty dataset.

    Example:
        >>> hit_ratio(50, 100), round(hit_ratio(50, 100, fill_once=False), 2)
        (0.5, 0.15)
    """
    if cache_bytes < 0 or dataset_bytes <= 0:
        message = f"expected a cache of at least 0 and a dataset above 0 bytes, found {cache_bytes}, {dataset_bytes}"
        raise ValueError(message)
    share = min(1.0, cache_bytes / dataset_bytes)
    if fill_once or share == 1.0:
        return share
    # The first term of the series is c^2 / 2. Near 0 the closed form loses it, and may fall below 0.
    return max(0.0, share + (1 - share) * math.log1p(-share))


def predict(
    data: DatasetSizes,
    tier: Tier,
    store_format: Format,
    codec: str = "none",
    cache: CachePlan | None = None,
    *,
    epochs: int = 100,
    copies: int = 1,
    loading: Loading | None = None,
    costs: Costs | None = None,
) -> Prediction:
    """Predict the epochs and the bill of a dataset on a tier, in a format, behind a cache.

    More bandwidth never makes an epoch slower, more bytes never make it faster, and a larger cache never makes a steady
    epoch slower, because a cache that is slower than its origin counts as bypassed. Filling it may lengthen the first.

    Args:
        data: The dataset.
        tier: Where it is stored.
        store_format: How it is kept.
        codec: Of "zarr" and "pixels".
        cache: Caches in front of the tier; none by default.
        epochs: Epochs of the one run a month whose requests and retrievals are billed.
        copies: Copies of the dataset that are kept and paid for.
        loading: How training takes samples; encoded bytes by default.
        costs: Processor time of a sample; typical costs by default.

    Raises:
        ValueError: Below 1 epoch, and for pixels of a dataset whose images have no common shape.
    """
    if epochs < 1:
        message = f"epochs: expected at least 1, found {epochs}"
        raise ValueError(message)
    if store_format == "pixels" and not data.row_bytes:
        message = "pixels: expected images of one shape, or a resize to one"
        raise ValueError(message)
    plan, how, price = cache or CachePlan(), loading or Loading(), costs or typical_costs(data)
    model = EpochModel(data, tier, store_format, codec, how, price)
    stored = stored_bytes(data, store_format, codec, pages=tier.access != "object", costs=price)
    # tiering's cache holds samples as they are served; the page cache holds pages of the store as it is on disk.
    served = data.samples * data.row_bytes if store_format == "pixels" else data.bytes
    kept = plan.ram * (how.nodes if plan.fill_once else 1)
    ram_share = hit_ratio(kept, served if plan.fill_once else stored, fill_once=plan.fill_once)
    local_share = min(1.0 - ram_share, plan.local * how.nodes / served)
    miss_share = max(0.0, 1.0 - ram_share - local_share)
    page_cache = 0 if plan.fill_once else plan.ram

    cold = model.stages(miss=1.0, cached=0.0, page_cache=page_cache, first=True)
    first = model.cold_seconds(cold, page_cache)
    in_memory = ram_share if plan.fill_once else 0.0
    steady_stages = model.stages(miss=1 - ram_share, cached=in_memory, page_cache=page_cache)
    if plan.local_tier is not None:
        used = model.stages(miss=miss_share, cached=in_memory + local_share, page_cache=page_cache, local=local_share)
        used["device"] += local_share * data.samples * plan.local_tier.read_seconds(served / data.samples) / how.nodes
        steady_stages = best_blend(steady_stages, used)
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
    # A run that takes longer than a month counts with one month's part.
    dollars = copies * stored / 1e9 * tier.price + access * min(1.0, MONTH_SECONDS / (first + (epochs - 1) * steady))
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
