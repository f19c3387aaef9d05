"""The performance model: how long an epoch takes, and what it costs, for a tier, a format, a codec and a cache.

A sample takes the device's time and the processor's time for one consumer of encoded bytes:

    LMDB, Zarr without codec   max(device, 1.3 us + bytes / 14 GB/s)    announced ahead, so both overlap
    Zarr on an object store    max(device, 12 us + bytes / 1.3 GB/s)    the same, but nothing can be mapped
    Zarr with zstd             latency + device + bytes / 1 GB/s        a chunk is read, then decoded
    folder                     max(device, (open + device) / overlap + 12 us + bytes / 1.3 GB/s)

device is Tier.read_seconds / 0.86, the share that announced reads reach. Opens overlap 1.1 times on a local disk,
8 times on a network, where that many workers wait at once.

The constants are fitted to one machine (2 cores of AMD EPYC, ext4 on a virtual disk, 20,000 JPEGs of 110 KB):
folders there ran at 1,979 to 2,186 samples/s cold and 8,500 to 12,000 warm, LMDB at 9,840 announced and 109,047 warm.
Its ratios carry over to other machines better than its absolute figures do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Literal

from tiering.tiers.catalog import Tier

Format = Literal["folder", "lmdb", "zarr"]
Codec = Literal["none", "zstd"]
Bottleneck = Literal["device", "open latency", "CPU copy"]

#: Share of the device's random-read bandwidth that announced reads reach: 1,078 of 1,247 MB/s.
ANNOUNCED: Final = 0.86
#: Samples/s gained by two loader workers on a local disk: 2,186 / 1,979.
LOCAL_OVERLAP: Final = 1.1
#: Loader workers that wait for a network at the same time; a usual setting, not a measurement.
NETWORK_WORKERS: Final = 8
#: s and B/s of a warm open, read and close: 12 us, and what 8,500 to 12,000 samples/s of 110 KB leave for the bytes.
FILE_SECONDS: Final = 12e-6
FILE_COPY: Final = 1.3e9
#: s and B/s of a view of a warm map: 1.3 us, and 109,047 samples/s of 110 KB.
VIEW_SECONDS: Final = 1.3e-6
VIEW_COPY: Final = 14e9
#: s and B/s of a sample out of the cache's slab: 4 us, and a copy.
CACHE_SECONDS: Final = 4e-6
CACHE_COPY: Final = 12e9
#: Bytes left by zstd of uncompressed pictures, and B/s of decoding: assumptions; `tiering convert` measures a sample.
ZSTD_RATIO: Final = 0.6
ZSTD_DECODE: Final = 1e9
#: Bytes of a Zarr chunk, which is decoded whole.
CHUNK: Final = 1 << 18
#: File systems and LMDB's overflow values occupy whole pages.
PAGE: Final = 4096
#: Header of an LMDB value's first overflow page, bytes; smaller values share pages.
_LMDB_HEADER, _LMDB_INLINE = 16, 2030


@dataclass(frozen=True, slots=True)
class Data:
    """A dataset as the model sees it: how many samples, how many bytes in all. Raises ValueError below 1."""

    samples: int
    bytes: int

    def __post_init__(self) -> None:
        if self.samples < 1 or self.bytes < 1:
            message = f"data: expected at least 1 sample and 1 byte, found {self.samples} and {self.bytes}"
            raise ValueError(message)

    @property
    def mean(self) -> float:
        """B of a mean sample."""
        return self.bytes / self.samples


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
    """What the model expects. Times are s, of one consumer of encoded bytes."""

    first_epoch_s: float = field(metadata={"doc": "cold: nothing cached, and caches being filled"})
    steady_epoch_s: float
    samples_per_s: float = field(metadata={"doc": "in a steady epoch"})
    bytes_per_s: float = field(metadata={"doc": "encoded bytes, in a steady epoch"})
    bottleneck: Bottleneck = field(metadata={"doc": "of the steady epoch"})
    hit_ratio: float = field(metadata={"doc": "share of samples that a cache answers in a steady epoch"})
    monthly_usd: float = field(
        metadata={"doc": "one month of storage, cache included, and the requests and retrievals of one run"}
    )


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


def stored_bytes(data: Data, store_format: Format, codec: Codec = "none", *, pages: bool = True) -> int:
    """Return B that a dataset occupies in a format. pages: on a file system, where small files fill whole pages."""
    mean = data.mean
    if store_format == "zarr":
        return math.ceil(data.bytes * (ZSTD_RATIO if codec == "zstd" else 1.0))
    if store_format == "lmdb" and mean + _LMDB_HEADER > _LMDB_INLINE:
        mean += _LMDB_HEADER
    elif store_format == "lmdb":
        return math.ceil(data.samples * (mean + _LMDB_HEADER))
    # Sizes spread over many pages, so the last page of each is on average half full; below one page it is that page.
    return data.samples * math.ceil(max(PAGE, mean + PAGE / 2)) if pages else data.bytes


def predict(
    data: Data,
    tier: Tier,
    store_format: Format,
    codec: Codec = "none",
    cache: CachePlan | None = None,
    *,
    epochs: int = 100,
) -> Prediction:
    """Predict the epochs and the bill of a dataset on a tier, in a format, behind a cache.

    epochs: of the one run a month whose requests and retrievals are billed. Raises ValueError below 1 epoch.
    More bandwidth never makes an epoch slower, more bytes never faster, and a larger cache never makes a steady epoch
    slower: a cache slower than what it stands before is taken to be bypassed. Filling it may lengthen the first.
    """
    if epochs < 1:
        message = f"epochs: expected at least 1, found {epochs}"
        raise ValueError(message)
    plan = cache or CachePlan()
    stored = stored_bytes(data, store_format, codec, pages=tier.access != "object")
    # tiering's cache holds samples as they are served; the page cache holds pages of the store as it is on disk.
    ram_share = hit_ratio(plan.ram, data.bytes if plan.fill_once else stored, fill_once=plan.fill_once)
    local_share = min(1.0 - ram_share, plan.local / data.bytes)
    miss_share = max(0.0, 1.0 - ram_share - local_share)

    origin = _origin(data.mean, tier, store_format, codec)
    local = origin
    if plan.local_tier is not None:
        local = min(origin, _cached_locally(data.mean, plan.local_tier))
    in_ram = min(local, _cached_in_ram(data.mean, store_format, codec, fill_once=plan.fill_once))
    parts = ((ram_share, in_ram), (local_share, local), (miss_share, origin))
    steady = data.samples * sum(share * cost[0] for share, cost in parts)
    first = data.samples * origin[0]
    if plan.local_tier is not None:
        first = max(first, min(data.bytes, plan.local) / plan.local_tier.write_bandwidth)

    reads = data.samples * (1 + (epochs - 1) * miss_share)
    dollars = stored / 1e9 * tier.price + reads / 1000 * tier.request_price
    dollars += reads * data.mean / 1e9 * tier.retrieval_price
    if plan.local_tier is not None:
        dollars += min(data.bytes, plan.local) / 1e9 * plan.local_tier.price
    return Prediction(
        first_epoch_s=first,
        steady_epoch_s=steady,
        samples_per_s=data.samples / steady,
        bytes_per_s=data.bytes / steady,
        bottleneck=max(parts, key=lambda part: part[0] * part[1][0])[1][1],
        hit_ratio=1.0 - miss_share,
        monthly_usd=dollars,
    )


#: s of one sample, and what most of it is.
_Cost = tuple[float, Bottleneck]


def _origin(size: float, tier: Tier, store_format: Format, codec: Codec) -> _Cost:
    """Return the cost of one cold sample of `size` bytes, read where the dataset lies."""
    device, copy = tier.read_seconds(size) / ANNOUNCED, FILE_SECONDS + size / FILE_COPY
    if store_format == "folder":
        overlap = NETWORK_WORKERS if tier.network else LOCAL_OVERLAP
        serial = (tier.open_cost + device) / overlap + copy
        parts: tuple[_Cost, ...] = (
            (tier.open_cost / overlap, "open latency"),
            (device / overlap, "device"),
            (copy, "CPU copy"),
        )
        return (device, "device") if device >= serial else (serial, max(parts)[1])
    if codec == "zstd":
        chunks = max(size, CHUNK)
        fetch = tier.read_latency_p50 + tier.read_seconds(chunks * ZSTD_RATIO)
        decode = VIEW_SECONDS + chunks / ZSTD_DECODE
        return fetch + decode, "device" if fetch >= decode else "CPU copy"
    # What comes over a socket is copied like a file; what is mapped is not.
    view = copy if tier.access == "object" else VIEW_SECONDS + size / VIEW_COPY
    return (device, "device") if device >= view else (view, "CPU copy")


def _cached_locally(size: float, tier: Tier) -> _Cost:
    """Return the cost of one sample from a cache on a local disk, its reads announced like a store's."""
    device, copy = tier.read_seconds(size) / ANNOUNCED, CACHE_SECONDS + size / CACHE_COPY
    return (device, "device") if device >= copy else (copy, "CPU copy")


def _cached_in_ram(size: float, store_format: Format, codec: Codec, *, fill_once: bool) -> _Cost:
    """Return the cost of one sample in memory: in the cache's slab, or as files and maps in the page cache."""
    if fill_once:
        return CACHE_SECONDS + size / CACHE_COPY, "CPU copy"
    if store_format == "folder":
        return FILE_SECONDS + size / FILE_COPY, "CPU copy"
    decode = max(size, CHUNK) / ZSTD_DECODE if codec == "zstd" else size / VIEW_COPY
    return VIEW_SECONDS + decode, "CPU copy"
