"""The performance model: how long an epoch takes, and what it costs, for a tier, a format, a codec and a cache.

Reading ahead makes a pipeline of an epoch. Its stages work at the same time, and the slowest sets the pace:

    device          s of the storage for all samples that no cache answers (tiering.tiers.footprint)
    open latency    opens x open_cost / opens in flight, and telling the kernel of each file
    CPU copy        reading, by the threads that do it
    decoding        the same where most of it is decoding; both also as all work on all cores
    training job    samples / samples_per_s

docs/recommending.md has every formula with its units, and what was measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from tiering.tiers.catalog import Tier
from tiering.tiers.costs import Coding, Costs, Work, class_costs
from tiering.tiers.data import Data
from tiering.tiers.footprint import CHUNK, PAGE, Format, device_seconds, group_of, stored_bytes

__all__ = [
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
Bottleneck = Literal["device", "open latency", "CPU copy", "decoding", "training job"]

#: Threads of the loader that announce, and so open, files at the same time.
ANNOUNCERS: Final = 2
#: Loader workers that wait for a network at the same time; a usual setting, not a measurement.
NETWORK_WORKERS: Final = 8
#: s and B/s of a sample out of the cache's slab: 4 us, and a copy.
CACHE_SECONDS: Final = 4e-6
CACHE_COPY: Final = 12e9
#: s and B/s of what comes over a socket: copied like a file, by nobody mapped.
SOCKET_SECONDS: Final = 12e-6
SOCKET_COPY: Final = 1.3e9
#: Plain B/s of decoding zstd by one core: an assumption for encoded files that compress.
ZSTD_DECODE: Final = 1e9
#: B of decoded chunks that a store of compressed chunks keeps (tiering.store.chunked).
HELD: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Loading:
    """How a training job takes its samples.

    decode: as pixels, decoded by the loader; otherwise as encoded bytes. threads: of the loader; cores: that they, the
    announcing and the kernel share, by default as many as threads. samples_per_s: what the job takes, on all nodes
    together, when it never waits; None where it takes what it gets. nodes: that share each epoch, every one with caches
    of its own, in which its samples stay (Loader's sticky=True). Raises ValueError for anything not above 0.
    """

    decode: bool = False
    threads: int = 2
    cores: int | None = None
    samples_per_s: float | None = None
    nodes: int = 1

    def __post_init__(self) -> None:
        rate = 1.0 if self.samples_per_s is None else self.samples_per_s
        counts = (self.threads, self.nodes, 1 if self.cores is None else self.cores)
        if min(counts) < 1 or not 0 < rate < math.inf:
            message = f"loading: expected threads, cores, nodes and a rate above 0, found {self}"
            raise ValueError(message)


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
        metadata={"doc": "one month of storage, cache included, and the requests and retrievals of one run"}
    )
    stall_fraction: float | None = field(
        metadata={"doc": "share of a steady epoch that the training job waits; None without its rate"}
    )
    stages: dict[Bottleneck, float] = field(metadata={"doc": "s of a steady epoch that each stage alone would take"})


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
    way = _Way(data, tier, store_format, codec, how, price)
    stored = stored_bytes(data, store_format, codec, pages=tier.access != "object", costs=price)
    # tiering's cache holds samples as they are served; the page cache holds pages of the store as it is on disk.
    served = data.samples * data.row_bytes if store_format == "pixels" else data.bytes
    kept = plan.ram * (how.nodes if plan.fill_once else 1)
    ram_share = hit_ratio(kept, served if plan.fill_once else stored, fill_once=plan.fill_once)
    local_share = min(1.0 - ram_share, plan.local * how.nodes / served)
    miss_share = max(0.0, 1.0 - ram_share - local_share)
    page_cache = 0 if plan.fill_once else plan.ram

    cold = way.stages(miss=1.0, cached=0.0, page_cache=page_cache, first=True)
    first = way.piped(cold)
    steady_stages = way.stages(
        miss=miss_share, cached=1 - miss_share if plan.fill_once or plan.local else 0.0, page_cache=page_cache
    )
    if plan.local_tier is not None:
        read = local_share * data.samples * plan.local_tier.read_seconds(served / data.samples) / how.nodes
        steady_stages["device"] += min(read, way.device(page_cache) * local_share)
        first = max(first, min(served / how.nodes, plan.local) / plan.local_tier.write_bandwidth)
    if how.samples_per_s is not None:
        steady_stages["training job"] = data.samples / how.samples_per_s
        first = max(first, steady_stages["training job"])
    steady = max(steady_stages.values())
    if steady != steady_stages.get("training job"):
        steady += price.start_s
    first = max(first, steady)

    reads = data.samples * (1 + (epochs - 1) * miss_share)
    dollars = stored / 1e9 * tier.price + reads / 1000 * tier.request_price
    dollars += reads * (stored / data.samples) / 1e9 * tier.retrieval_price
    if plan.local_tier is not None:
        dollars += min(served, plan.local * how.nodes) / 1e9 * plan.local_tier.price
    job = steady_stages.get("training job")
    return Prediction(
        first_epoch_s=first,
        steady_epoch_s=steady,
        samples_per_s=data.samples / steady,
        bytes_per_s=data.bytes / steady,
        bottleneck=_slowest(steady_stages),
        hit_ratio=1.0 - miss_share,
        monthly_usd=dollars,
        stall_fraction=None if job is None else 1 - job / steady,
        stages={**steady_stages},
    )


def _slowest(stages: dict[Bottleneck, float]) -> Bottleneck:
    return max(stages, key=lambda name: stages[name])


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to serve one dataset."""

    data: Data
    tier: Tier
    store_format: Format
    codec: str
    loading: Loading
    costs: Costs

    def stages(self, *, miss: float, cached: float, page_cache: float, first: bool = False) -> dict[Bottleneck, float]:
        """Return s of each stage of an epoch of which the share `miss` is read from where the dataset lies."""
        samples = self.data.samples / self.loading.nodes
        opens = told = 0.0
        if self.store_format == "folder":
            overlap = NETWORK_WORKERS if self.tier.network else ANNOUNCERS
            told = miss * self.costs.tell_file_s if self.tier.access == "file" else 0.0
            opens = (miss * self.tier.open_cost + told) / overlap
        threads = min(self.loading.threads, self.loading.cores or self.loading.threads)
        read, decode = self._read(cached, first=first), self._decode()
        fill = miss * self.costs.fill * self._item if self.tier.access == "file" else 0.0
        paced = read.on(threads) + decode.on(threads)
        if self._viewed:
            # The consumer itself takes the views; threads help it with nothing.
            paced = max(read.seconds, decode.on(threads))
        everywhere = (read.seconds + decode.seconds + fill + told) / max(threads, self.loading.cores or 2)
        cpu: Bottleneck = "decoding" if decode.seconds > read.seconds else "CPU copy"
        return {
            "device": miss * self.device(page_cache),
            "open latency": samples * opens,
            cpu: samples * max(paced, everywhere),
        }

    def piped(self, stages: dict[Bottleneck, float]) -> float:
        """Return s of a cold epoch: the slowest stage, and the others once, for the first group of samples."""
        groups = max(1.0, self.data.samples / self.loading.nodes / group_of(self._item))
        slowest = max(stages.values())
        return self.costs.start_s + slowest + (sum(stages.values()) - slowest) / groups

    def device(self, page_cache: float) -> float:
        """Return s that the device needs for all of a node's samples."""
        whole = device_seconds(self.data, self.tier, self.store_format, self.codec, self.costs, page_cache)
        return whole / self.loading.nodes

    @property
    def _item(self) -> float:
        """B of a mean sample as it is stored."""
        if self.store_format != "pixels":
            return self.data.mean
        coding = self._coding
        return self.data.row_bytes * (coding.ratio if coding else 1.0)

    @property
    def _coding(self) -> Coding | None:
        return self.costs.codings.get(self.codec) if self.store_format == "pixels" else None

    @property
    def _viewed(self) -> bool:
        """Whether the training takes views of maps, which no thread has to make."""
        packed = self.store_format in ("lmdb", "zarr") and self.codec == "none"
        return packed and not self.loading.decode and self.tier.access != "object"

    def _decode(self) -> Work:
        return self.costs.decode if self.loading.decode and self.store_format != "pixels" else Work(0.0)

    def _read(self, cached: float, *, first: bool) -> Work:
        """Return the work of reading one sample. cached: share that tiering's cache answers, if that is cheaper."""
        own = self._own(first=first)
        slab = CACHE_SECONDS + (self.data.row_bytes if self.store_format == "pixels" else self.data.mean) / CACHE_COPY
        return replace(own, seconds=own.seconds - cached * max(0.0, own.seconds - slab))

    def _own(self, *, first: bool) -> Work:
        if self.store_format == "folder":
            return self.costs.file
        if self.tier.access == "object":
            return Work(SOCKET_SECONDS + self._item / SOCKET_COPY)
        if self.store_format == "pixels":
            coding = self._coding
            return self.costs.row if coding is None else self._coded(coding, first=first)
        if self.codec != "none":
            return Work(self.costs.view.seconds + max(self.data.mean, CHUNK) / ZSTD_DECODE)
        return self.costs.view

    def _coded(self, coding: Coding, *, first: bool) -> Work:
        if coding.chunk == 1:
            return coding.work
        # Chunks of many rows: some stay decoded; of the others each sample decodes a whole one.
        held = min(1.0, HELD / (self.data.samples * self.data.row_bytes))
        chunks = (1 - held) + (held / coding.chunk if first else 0.0)
        return replace(coding.work, seconds=coding.work.seconds + chunks * coding.chunk_s)
