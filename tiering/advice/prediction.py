"""The performance model: how long an epoch takes, and what it costs, for a tier, a format, a codec and a cache.

The loader reads ahead, so the stages of an epoch work at the same time and the slowest one sets the pace:

    device          storage time of all samples that no cache answers (device_time.py)
    open latency    opens x open_cost / opens in flight, and announcing each file to the kernel
    CPU copy        reading, by the threads that do it
    decoding        the same, where most of it is decoding
    all cores       the whole processor time, spread over all cores
    training job    samples / samples_per_s

docs/predicting.md has every formula with its units, and the measurements behind them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from tiering.advice.bill import Bill, Terms, bill_of_copies, room_usd, stored_objects
from tiering.advice.cached_requests import CachedRequests, cached_requests
from tiering.advice.catalog import Tier
from tiering.advice.cpu_costs import Costs, typical_costs
from tiering.advice.dataset_sizes import DatasetSizes
from tiering.advice.epoch_stages import EpochModel, Stages, best_blend, slowest
from tiering.advice.loading import Loading
from tiering.advice.sizing import sized
from tiering.advice.stored_size import served_bytes, stored_on
from tiering.literals import Bottleneck, Format, ReadOrder
from tiering.units import MONTH_SECONDS


@dataclass(frozen=True, slots=True)
class Setting:
    """What all predictions of one recommendation share.

    Attributes:
        epochs: Epochs of a run; at least 1.
        loading: How training takes samples.
        costs: Processor time of a sample.
        terms: Runs in the month that is billed, where the readers are, and how long the data is kept.
    """

    epochs: int
    loading: Loading
    costs: Costs
    terms: Terms = field(default_factory=Terms)


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
        metadata={"doc": "bill.total: a month of storage, caches included, and of the reads of its runs"}
    )
    stall_fraction: float | None = field(
        metadata={"doc": "share of a steady epoch that the training job waits; None without its rate"}
    )
    first_epoch_requests: float = field(metadata={"doc": "requests of all nodes to the tier in the cold epoch"})
    first_epoch_bytes: float = field(metadata={"doc": "bytes of these requests"})
    epoch_requests: float = field(metadata={"doc": "requests of all nodes to the tier in a steady epoch"})
    epoch_bytes: float = field(metadata={"doc": "bytes of these requests"})
    stages: Stages = field(metadata={"doc": "seconds of a steady epoch that each stage alone would take"})
    bill: Bill = field(metadata={"doc": "of all copies, all nodes and all caches, in USD"})
    cold_stages: Stages = field(metadata={"doc": "seconds of a cold epoch that each stage alone would take"})


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
    terms: Terms | None = None,
    order: ReadOrder = "global",
) -> Prediction:
    """Predict the epochs and the bill of a dataset on a tier, in a format, behind a cache.

    More bandwidth never makes an epoch slower, more bytes never make it faster, and a larger cache never makes a steady
    epoch slower, because a cache that is slower than its origin counts as bypassed. Filling it may lengthen the first.

    Args:
        data: The dataset.
        tier: Where it is stored, as it is bought: as large as the dataset needs at least (advice/sizing.py).
        store_format: How it is kept.
        codec: Of "zarr" and "pixels".
        cache: Caches in front of the tier; none by default.
        epochs: Epochs of a run.
        copies: Copies of the dataset that are kept and paid for. One copy on a local tier of several nodes is divided
            among them, and each pays for its part.
        loading: How training takes samples; encoded bytes by default.
        costs: Processor time of a sample; typical costs by default.
        terms: Runs in the month that is billed, where the readers are, and how long the data is kept; by default one
            run a month in the same zone, and kept for good.
        order: The order in which samples are read. In a "block" order (`shuffle="block"`) neighbours in a packed store
            are read with one request; plain files are not.

    Raises:
        ValueError: Below 1 epoch, and for pixels of a dataset whose images have no common shape.
    """
    if epochs < 1:
        message = f"epochs: expected at least 1, found {epochs}"
        raise ValueError(message)
    if store_format == "pixels" and not data.row_bytes:
        message = "pixels: expected images of one shape, or a resize to one"
        raise ValueError(message)
    plan, how, costs = cache or CachePlan(), loading or Loading(), costs or typical_costs(data)
    stored = stored_on(tier, data, store_format, codec, costs)
    tier = sized(tier, stored if tier.network or copies > 1 else -(-stored // how.nodes))
    if plan.local_tier is not None:
        plan = replace(plan, local_tier=sized(plan.local_tier, plan.local))
    model = EpochModel(data, tier, store_format, codec, how, costs, order)
    # tiering's cache holds samples as they are served; the page cache holds pages of the store as it is on disk.
    served = served_bytes(data, store_format)
    ram_share = _in_memory(plan, how.nodes, served, stored)
    local_share = min(1.0 - ram_share, plan.local * how.nodes / served)
    miss_share = max(0.0, 1.0 - ram_share - local_share)
    page_cache = 0 if plan.fill_once else plan.ram

    in_memory = ram_share if plan.fill_once else 0.0
    kept_share = in_memory + local_share
    behind = CachedRequests()
    if kept_share and tier.network and order == "global":
        behind = cached_requests(data, store_format, codec, how.nodes)
    cold_requests = behind.cold(kept_share)
    cold = model.stages(miss=1.0, cached=0.0, page_cache=page_cache, first=True, requests=cold_requests)
    first = model.cold_seconds(cold, page_cache)
    steady_stages = model.stages(
        miss=1 - ram_share, cached=in_memory, page_cache=page_cache, requests=behind.full if in_memory else 1.0
    )
    if plan.local_tier is not None:
        used = model.stages(
            miss=miss_share, cached=kept_share, page_cache=page_cache, local=local_share, requests=behind.full
        )
        used["device"] += local_share * data.samples * plan.local_tier.read_seconds(served / data.samples) / how.nodes
        steady_stages = best_blend(steady_stages, used)
        first = max(first, min(served / how.nodes, plan.local) / plan.local_tier.write_bandwidth)
    if how.samples_per_s is not None:
        steady_stages["training job"] = data.samples / how.samples_per_s
        first = max(first, steady_stages["training job"])
    steady = max(steady_stages.values())
    if steady != steady_stages.get("training job"):
        steady += costs.start_s
    first = max(first, steady)

    terms = terms or Terms()
    # Runs that take longer than the month count with its part.
    runs = min(terms.runs_per_month, MONTH_SECONDS / (first + (epochs - 1) * steady))
    asked = model.requests
    requests = asked.count * (cold_requests + (epochs - 1) * miss_share * behind.full)
    bill = bill_of_copies(
        stored_objects(data, tier, store_format, codec, costs),
        tier,
        copies,
        how.nodes,
        reads=runs * requests,
        bytes_read=runs * asked.bytes * (1 + (epochs - 1) * miss_share),
        terms=terms,
    )
    if plan.local_tier is not None:
        room = room_usd(min(served / how.nodes, plan.local), plan.local_tier)
        bill += Bill(cache=how.nodes * room * terms.month)
    job = steady_stages.get("training job")
    return Prediction(
        first_epoch_s=first,
        steady_epoch_s=steady,
        samples_per_s=data.samples / steady,
        bytes_per_s=data.bytes / steady,
        bottleneck=slowest(steady_stages),
        hit_ratio=1.0 - miss_share,
        monthly_usd=bill.total,
        stall_fraction=None if job is None else 1 - job / steady,
        first_epoch_requests=cold_requests * asked.count,
        first_epoch_bytes=asked.bytes,
        epoch_requests=miss_share * behind.full * asked.count,
        epoch_bytes=miss_share * asked.bytes,
        stages=steady_stages,
        bill=bill,
        cold_stages=cold,
    )


def _in_memory(plan: CachePlan, nodes: int, served: float, stored: float) -> float:
    """Return the share of the samples that memory answers in a steady epoch."""
    if plan.fill_once:
        return hit_ratio(plan.ram * nodes, served)
    if nodes == 1:
        return hit_ratio(plan.ram, stored, fill_once=False)
    # A node keeps what it read in one epoch; in the next one, any node may want it.
    return hit_ratio(min(plan.ram, stored / nodes), stored)
