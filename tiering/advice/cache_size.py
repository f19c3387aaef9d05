"""How large a cache should be: hit ratio and epoch time against its size, the price of each step, and the knee.

Training reads everything once an epoch in a fresh order, so a cache that fills once and never evicts answers
c = cache / dataset of the reads, and no policy answers more (advice/prediction.py). That is a straight line:
each byte gains as much as the one before, and there is no knee to find by its bend. What ends it is that
the training job is no faster, or that all of the data fit. LRU, beside it, gives nearly nothing until then.

Other workloads have a curve of their own, taken from the trace. Its knee is where the curve lies farthest above
the straight line from its beginning to its end: the greatest difference of the two once both axes are scaled to [0, 1]
(Satopaa, Albrecht, Irwin, Raghavan, "Finding a 'Kneedle' in a Haystack", ICDCS workshops 2011).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from tiering.advice.catalog import Tier
from tiering.advice.prediction import CachePlan, Data, Format, hit_ratio, predict
from tiering.errors import UsageError
from tiering.trace.reuse_distance import CurvePoint
from tiering.units import format_bytes

#: Shares of a dataset that are shown.
SHARES: Final = (0.0, 0.05, *(tenth / 10 for tenth in range(1, 11)))
#: A curve bends where it lies at least so far above its chord; SHARDS' error of a ratio is about 0.01.
BEND: Final = 0.05
#: A share is found to a part in 10^6.
_HALVINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Step:
    """One size of a cache. Sizes are B, times s, money USD a month.

    share: of the data. hit_ratio: of a cache that fills once; lru_hit_ratio: of one that evicts. epoch_s: a steady
    epoch; None for traces without epochs. monthly_usd: of the cache alone. usd_per_point, usd_per_second: what a
    hundredth of all reads, and a second of each epoch, cost a month more than on the step before; None where nothing
    is gained.
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
    """Cache sizes for one workload, smallest first. knee: place of the recommended step, None where none stands out."""

    steps: tuple[Step, ...]
    knee: int | None
    reason: str
    notes: tuple[str, ...]


def sizes_for_training(
    data: Data,
    origin: Tier,
    cache: Tier,
    *,
    store_format: Format = "folder",
    samples_per_s: float | None = None,
) -> CacheSizes:
    """Say what caches of several sizes give a training run whose data lie on origin.

    samples_per_s: what the training job takes at most; None where it takes what it gets. The step at which the job,
    and no longer its data, sets the pace is a step of its own.
    Raises UsageError for a rate that is not above 0.
    """
    if samples_per_s is not None and not 0 < samples_per_s < float("inf"):
        raise UsageError("samples per second", expected="above 0", found=f"{samples_per_s:g}")
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
        reason = f"From {cache.title} samples come no faster than from {origin.title}: no cache is worth its price."
        return CacheSizes(tuple(steps), 0, reason, tuple(notes))
    if enough == 0.0:
        reason = "The training job is slower than its data as they lie: no cache is needed."
        return CacheSizes(tuple(steps), 0, reason, tuple(notes))
    if enough is not None:
        knee = shares.index(enough)
        reason = f"From {format_bytes(steps[knee].cache_bytes)} on the training job sets the pace, not its data."
        return CacheSizes(tuple(steps), knee, reason, tuple(notes))
    if samples_per_s is not None:
        notes.append("The training job is faster than even a cache of everything: its rate is never reached.")
    reason = f"All of it, {format_bytes(data.bytes)}: nothing before that ends the gain."
    return CacheSizes(tuple(steps), len(steps) - 1, reason, tuple(notes))


def sizes_for_trace(curve: Sequence[CurvePoint], cache: Tier) -> CacheSizes:
    """Say what caches of several sizes give the workload of a trace.

    curve: its miss ratios (TraceProfile.miss_ratio_curve), over all reads, the first of each block included. The knee
    is of the better of the two policies. Raises UsageError where the curve is empty.
    """
    if not curve:
        raise UsageError("cache", expected="a trace that reads something", found="no read in it")
    whole = curve[-1].cache_bytes
    steps: list[Step] = [_step(0, 0.0, 0.0, 0.0, None, cache, None)]
    for point in curve:
        share = point.cache_bytes / whole
        steps.append(_step(point.cache_bytes, share, 1 - point.static, 1 - point.lru, None, cache, steps[-1]))
    best = [max(step.hit_ratio, step.lru_hit_ratio) for step in steps]
    notes = ("Hit ratios count all reads, the first of each block too, which no cache can answer.",)
    if best[-1] < 0.01:
        return CacheSizes(tuple(steps), 0, "Hardly anything is read twice: no cache is worth its price.", notes)
    heights = [ratio / best[-1] - step.share for ratio, step in zip(best, steps, strict=True)]
    knee = max(range(len(steps)), key=heights.__getitem__)
    if heights[knee] >= BEND:
        size = format_bytes(steps[knee].cache_bytes)
        return CacheSizes(tuple(steps), knee, f"From {size} on further bytes gain less than those before.", notes)
    reason = f"The curve has no knee: a cache of {format_bytes(whole)} gains most, and a smaller one its share at best."
    return CacheSizes(tuple(steps), None, reason, notes)


def _epoch(data: Data, origin: Tier, cache: Tier, store_format: Format, share: float) -> float:
    """Return s of a steady epoch with this share of the data in the cache."""
    size = round(share * data.bytes)
    plan = CachePlan(local=size, local_tier=cache) if size else CachePlan()
    return predict(data, origin, store_format, cache=plan).steady_epoch_s


def _enough(epoch: Callable[[float], float], least: float) -> float | None:
    """Return the least share at which an epoch takes no longer than the job does; None where none is enough.

    An epoch is never slower with more of a cache, so halving finds it.
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
    dollars = size / 1e9 * cache.price
    points = seconds = None
    if before is not None:
        more = dollars - before.monthly_usd
        gained = 100 * (max(hits, lru) - max(before.hit_ratio, before.lru_hit_ratio))
        points = more / gained if gained > 1e-9 else None
        if epoch_s is not None and before.epoch_s is not None and before.epoch_s - epoch_s > 1e-9 * epoch_s:
            seconds = more / (before.epoch_s - epoch_s)
    return Step(size, share, hits, lru, epoch_s, dollars, points, seconds)
