"""What a recommendation consists of: options, and the one that was chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tiering.tiers.catalog import Tier
from tiering.tiers.predict import Bottleneck, CachePlan, Codec, Data, Format, predict
from tiering.units import format_bytes


@dataclass(frozen=True, slots=True)
class Option:
    """One way to keep a dataset. Times are s, bytes B, money USD.

    tier, tier_title: where; format, codec: how; cache: what stands in front, in words: "none", "page cache" for
    the kernel's alone, or sizes; cache_ram, cache_local: B of tiering's own cache, on cache_tier where local.
    move_s: to get there from the baseline, every byte read once and written once; 0 where nothing moves.
    speedup: time of a whole run on the baseline over time of that run here. on_frontier: no other option is both
    cheaper and faster.
    """

    tier: str
    tier_title: str
    format: Format
    codec: Codec
    cache: str
    cache_ram: int
    cache_local: int
    cache_tier: str | None
    first_epoch_s: float
    steady_epoch_s: float
    samples_per_s: float
    bottleneck: Bottleneck
    hit_ratio: float
    monthly_usd: float
    move_s: float = 0.0
    speedup: float = 1.0
    on_frontier: bool = False
    reason: str = ""

    def run_s(self, epochs: int) -> float:
        """Return s of a run of so many epochs, the first one cold."""
        return self.first_epoch_s + (epochs - 1) * self.steady_epoch_s

    def compared_with(self, baseline: Option, epochs: int) -> Option:
        """Return this option with its speed-up over the baseline, and with the time to get there from it."""
        stays = (self.tier, self.format) == (baseline.tier, baseline.format)
        move_s = 0.0 if stays else baseline.first_epoch_s + self.move_s
        return replace(self, speedup=baseline.run_s(epochs) / self.run_s(epochs), move_s=move_s)

    def on_front(self, on_frontier: bool) -> Option:
        """Return this option, marked as on the Pareto front or not."""
        return replace(self, on_frontier=on_frontier)

    def because(self, reason: str) -> Option:
        """Return this option with its reason in plain words."""
        return replace(self, reason=reason)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do with a dataset.

    choice: the option that the criterion names; alternatives: others worth knowing, cheapest in total first;
    baseline: the plain folder where it lies now; workload: what the advice is for; epochs: of the run that is timed;
    criterion: how the choice was made, in words; notes: what was assumed, one sentence each.
    """

    choice: Option
    alternatives: tuple[Option, ...]
    baseline: Option
    workload: str
    epochs: int
    criterion: str
    notes: tuple[str, ...]


def describe(
    data: Data, tier: Tier, store_format: Format, codec: Codec, plan: CachePlan, epochs: int, *, writes: bool = False
) -> Option:
    """Return the option and what the model predicts of it; its move_s is that of the writing alone.

    writes: the local device takes writes first instead of keeping reads, so that it costs but speeds up no epoch.
    """
    found = predict(data, tier, store_format, codec, plan, epochs=epochs)
    if writes:
        plain = predict(data, tier, store_format, codec, epochs=epochs)
        found = replace(plain, monthly_usd=found.monthly_usd)
    local = plan.local if plan.local_tier is not None else 0
    words = []
    if plan.fill_once and plan.ram:
        words.append(f"{format_bytes(plan.ram)} of RAM")
    if plan.local_tier is not None and local:
        words.append(f"{format_bytes(local)} on {plan.local_tier.name}" + (" (write-back)" if writes else ""))
    return Option(
        tier=tier.name,
        tier_title=tier.title,
        format=store_format,
        codec=codec,
        cache=" + ".join(words) or ("page cache" if found.hit_ratio >= 0.005 else "none"),
        cache_ram=plan.ram if plan.fill_once else 0,
        cache_local=local,
        cache_tier=plan.local_tier.name if plan.local_tier is not None and local else None,
        first_epoch_s=found.first_epoch_s,
        steady_epoch_s=found.steady_epoch_s,
        samples_per_s=found.samples_per_s,
        bottleneck=found.bottleneck,
        hit_ratio=found.hit_ratio,
        monthly_usd=found.monthly_usd,
        move_s=data.bytes / tier.write_bandwidth,
    )
