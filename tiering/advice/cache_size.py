"""How large a cache should be: hit ratio and epoch time for each size, the price of each step, and the knee.

Training reads everything once an epoch in a fresh order. A cache that fills once and never evicts answers
c = cache / dataset of the reads, and no policy answers more (prediction.hit_ratio). That is a straight line: each byte
gains as much as the one before, so no bend marks the right size. The line ends where the training job itself sets the
pace, or where all data fit. LRU gives nearly nothing before that point.

Example: 100 GB on NFS, and a job that consumes half of what NVMe delivers. With 50 GB of cache the job never waits; the
other 50 GB would only cost money.

Other workloads have a curve of their own, from the trace. Its knee is the point that lies farthest above the straight
line from the first point to the last, once both axes are scaled to [0, 1] (Satopaa, Albrecht, Irwin, Raghavan, "Finding
a 'Kneedle' in a Haystack", ICDCS workshops 2011).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from tiering.advice.bill import room_usd
from tiering.advice.catalog import Tier, load_catalog, tier_named
from tiering.advice.dataset_sizes import DatasetSizes, sizes_of
from tiering.advice.prediction import CachePlan, hit_ratio, predict
from tiering.errors import UsageError
from tiering.literals import Format, OriginalFormat
from tiering.trace.reuse_distance import CurvePoint
from tiering.units import format_bytes, format_number
from tiering.workload.profile import Profile
from tiering.workload.verdict import classify

#: Shares of a dataset for which the cache is shown.
SHARES: Final = (0.0, 0.05, *(tenth / 10 for tenth in range(1, 11)))
#: A curve bends where it lies at least this far above its chord. The error of a ratio by SHARDS is about 0.01.
BEND: Final = 0.05
#: Halvings that find a share to one part in 10^6.
_HALVINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Step:
    """One size of a cache.

    Attributes:
        cache_bytes: The size.
        share: The size / the size of the data.
        hit_ratio: Of a cache that fills once.
        lru_hit_ratio: Of a cache that evicts.
        epoch_s: Seconds of a steady epoch; None for traces without epochs.
        monthly_usd: The price of the cache alone, USD a month.
        usd_per_point: USD a month for each further per cent of the reads, since the step before; None without a gain.
        usd_per_second: USD a month for each second that an epoch becomes shorter, likewise.
    """

    cache_bytes: int
    share: float
    hit_ratio: float
    lru_hit_ratio: float
    epoch_s: float | None
    monthly_usd: float
    usd_per_point: float | None
    usd_per_second: float | None


@dataclass(frozen=True, slots=True)
class CacheSizes:
    """Cache sizes for one workload.

    Attributes:
        steps: The sizes, smallest first.
        knee: Position of the recommended step; None where no step stands out.
        reason: Why that step, in a sentence.
        notes: Assumptions, one sentence each.
    """

    steps: tuple[Step, ...]
    knee: int | None
    reason: str
    notes: tuple[str, ...]


def cache_size(
    profile: Profile,
    *,
    origin: str | None = None,
    cache: str | None = None,
    store_format: OriginalFormat = "folder",
    samples_per_s: float | None = None,
    tiers: Sequence[Tier] | None = None,
) -> CacheSizes:
    """Return the hit ratio, epoch time and price of caches of several sizes, and the size that is enough.

    A dataset is assumed to be trained on. If the profile's trace shows another workload, or if it has only a trace, the
    sizes follow the trace's own curve.

    Args:
        profile: A dataset's profile, a trace's, or both.
        origin: Name of the tier that holds the data; by default the first object store of the catalog.
        cache: Name of the tier of the cache; by default the local one with the most bandwidth of random reads.
        store_format: How the dataset is kept.
        samples_per_s: Samples per second the training job can consume. None for no limit.
        tiers: The catalog; by default the shipped one.

    Raises:
        UsageError: For an unknown tier, an impossible rate, or a profile without dataset and trace.

    Example:
        >>> profile = Profile(dataset=tiering.profile_dataset("photos/"))  # doctest: +SKIP
        >>> tiering.cache_size(profile, origin="nfs", samples_per_s=3000).reason  # doctest: +SKIP
        'From 61.4 GB on, the training job sets the pace, not its data.'
    """
    known = load_catalog() if tiers is None else tiers
    below, above = _origin(known, origin), _cache(known, cache)
    if profile.dataset is not None and _trains(profile):
        data = sizes_of(profile.dataset)
        return sizes_for_training(data, below, above, store_format=store_format, samples_per_s=samples_per_s)
    if profile.traces:
        return sizes_for_trace(profile.traces[0].miss_ratio_curve, above)
    raise UsageError("profile", rule="needs a dataset or a trace")


def _origin(tiers: Sequence[Tier], name: str | None) -> Tier:
    stores = [tier for tier in tiers if tier.access == "object"]
    return stores[0] if name is None and stores else tier_named(tiers, name or "object", "origin")


def _cache(tiers: Sequence[Tier], name: str | None) -> Tier:
    local = [tier for tier in tiers if tier.is_local]
    if name is None and local:
        return max(local, key=lambda tier: tier.random_bandwidth)
    return tier_named(tiers, name or "nvme", "cache")


def sizes_for_training(
    data: DatasetSizes,
    origin: Tier,
    cache: Tier,
    *,
    store_format: Format = "folder",
    samples_per_s: float | None = None,
) -> CacheSizes:
    """Return the gain of caches of several sizes for a training run.

    The size from which the job, and not its data, sets the pace is a step of its own.

    Args:
        data: The dataset.
        origin: The tier that holds the data.
        cache: The tier of the cache.
        store_format: How the dataset is kept.
        samples_per_s: Samples per second the training job can consume. None for no limit.

    Raises:
        UsageError: For a rate that is not above 0.
    """
    if samples_per_s is not None and not 0 < samples_per_s < float("inf"):
        raise UsageError("samples_per_s", rule="must be above 0", found=format_number(samples_per_s, 6))
    least = 0.0 if samples_per_s is None else data.samples / samples_per_s
    epoch = partial(_epoch, data, origin, cache, store_format)
    enough = _enough(epoch, least)
    served = {share: epoch(share) for share in (*SHARES, *(() if enough is None else (enough,)))}
    shares = sorted(served)
    steps: list[Step] = []
    for share in shares:
        size = round(share * data.bytes)
        steps.append(
            _step(
                size,
                share,
                hit_ratio(size, data.bytes),
                hit_ratio(size, data.bytes, fill_once=False),
                max(least, served[share]),
                cache,
                steps[-1] if steps else None,
            )
        )
    notes = ["Each byte of cache gains as much as the one before: the hit ratio is a straight line, not a curve."]
    if cache.capacity is not None and cache.capacity < data.bytes:
        notes.append(f"{cache.title} holds {format_bytes(cache.capacity)} on one host: larger sizes need several.")
    if served[1.0] >= served[0.0] * 0.999:
        reason = f"{cache.title} delivers samples no faster than {origin.title}: no cache is worth its price."
        return CacheSizes(tuple(steps), 0, reason, tuple(notes))
    if enough == 0.0:
        reason = "The training job is slower than its data source: no cache is needed."
        return CacheSizes(tuple(steps), 0, reason, tuple(notes))
    if enough is not None:
        knee = shares.index(enough)
        reason = f"From {format_bytes(steps[knee].cache_bytes)} on, the training job sets the pace, not its data."
        return CacheSizes(tuple(steps), knee, reason, tuple(notes))
    if samples_per_s is not None:
        notes.append("The training job is faster than even a cache of everything: its rate is never reached.")
    reason = f"All of it, {format_bytes(data.bytes)}: each byte up to there gains as much as the one before."
    return CacheSizes(tuple(steps), len(steps) - 1, reason, tuple(notes))


def sizes_for_trace(curve: Sequence[CurvePoint], cache: Tier) -> CacheSizes:
    """Return the gain of caches of several sizes for the workload of a trace. The knee is that of the better policy.

    Args:
        curve: Miss ratios (TraceProfile.miss_ratio_curve) over all reads, the first read of each block included.
        cache: The tier of the cache.

    Raises:
        UsageError: For an empty curve.
    """
    if not curve:
        raise UsageError("cache", found="the trace has no read to cache")
    whole = curve[-1].cache_bytes
    steps: list[Step] = [_step(0, 0.0, 0.0, 0.0, None, cache, None)]
    for point in curve:
        share = point.cache_bytes / whole
        steps.append(_step(point.cache_bytes, share, 1 - point.static, 1 - point.lru, None, cache, steps[-1]))
    best = [max(step.hit_ratio, step.lru_hit_ratio) for step in steps]
    notes = ("Hit ratios count all reads, also the first of each block, which no cache can answer.",)
    if best[-1] < 0.01:
        return CacheSizes(tuple(steps), 0, "Hardly anything is read twice: no cache is worth its price.", notes)
    heights = [ratio / best[-1] - step.share for ratio, step in zip(best, steps, strict=True)]
    knee = max(range(len(steps)), key=heights.__getitem__)
    if heights[knee] >= BEND:
        size = format_bytes(steps[knee].cache_bytes)
        return CacheSizes(tuple(steps), knee, f"From {size} on, further bytes gain less than those before.", notes)
    reason = f"The curve has no knee: a cache of {format_bytes(whole)} gains most, and a smaller one at best its share."
    return CacheSizes(tuple(steps), None, reason, notes)


def _trains(profile: Profile) -> bool:
    """Return whether the workload reads everything again every epoch. Without a trace it is assumed to."""
    if not profile.traces:
        return True
    verdict = classify(profile.traces[0])
    return verdict.workload != "write-heavy" and not verdict.is_single_pass


def _epoch(data: DatasetSizes, origin: Tier, cache: Tier, store_format: Format, share: float) -> float:
    """Return the seconds of a steady epoch with this share of the data in the cache."""
    size = round(share * data.bytes)
    plan = CachePlan(local=size, local_tier=cache) if size else CachePlan()
    return predict(data, origin, store_format, cache=plan).steady_epoch_s


def _enough(epoch: Callable[[float], float], least: float) -> float | None:
    """Return the smallest share at which an epoch takes no longer than the job needs; None where none is enough.

    A larger cache never makes an epoch slower, so bisection finds it.
    """
    if epoch(1.0) > least:
        return None
    low, high = 0.0, 1.0
    if epoch(low) <= least:
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if epoch(middle) <= least else (middle, high)
    return high


def _step(
    size: int,
    share: float,
    hits: float,
    lru: float,
    epoch_s: float | None,
    cache: Tier,
    before: Step | None,
) -> Step:
    dollars = room_usd(size, cache)
    points = seconds = None
    if before is not None:
        more = dollars - before.monthly_usd
        gained = 100 * (max(hits, lru) - max(before.hit_ratio, before.lru_hit_ratio))
        points = more / gained if gained > 1e-9 else None
        if epoch_s is not None and before.epoch_s is not None and before.epoch_s - epoch_s > 1e-9 * epoch_s:
            seconds = more / (before.epoch_s - epoch_s)
    return Step(size, share, hits, lru, epoch_s, dollars, points, seconds)
