"""What a recommendation consists of: options, and the one that was chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tiering.advice.catalog import Tier
from tiering.advice.cpu_costs import Costs
from tiering.advice.epoch_stages import Bottleneck
from tiering.advice.prediction import CachePlan, Codec, Data, Format, Loading, predict, stored_bytes
from tiering.units import format_bytes


@dataclass(frozen=True, slots=True)
class Setting:
    """What all options of a recommendation share: epochs of a run, how training takes samples, processor times."""

    epochs: int
    loading: Loading
    costs: Costs


@dataclass(frozen=True, slots=True)
class Option:
    """One way to keep a dataset. Times are s, bytes B, money USD.

    tier, tier_title: where; format, codec: how; stored: B; cache: what stands in front, in words: "none", "page cache"
    for the kernel's alone, or sizes; cache_ram, cache_local: B of tiering's own cache on each node, on cache_tier where
    local. stall_fraction: share of a steady epoch that the training job waits; None where its rate is not known.
    move_s, move_usd: to get there from the baseline, every byte read once, made into the format, and written once,
    by all nodes; 0 where nothing moves. pays_back_epochs: after so many epochs the time to get there is won back; None
    where it never is. speedup: time of a whole run on the baseline over time of that run here. on_frontier: no other
    option is both cheaper and faster. warnings: what speaks against it, one sentence each.
    """

    tier: str
    tier_title: str
    format: Format
    codec: Codec
    stored: int
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
    stall_fraction: float | None = None
    move_s: float = 0.0
    move_usd: float = 0.0
    pays_back_epochs: float | None = None
    speedup: float = 1.0
    on_frontier: bool = False
    reason: str = ""
    warnings: tuple[str, ...] = ()

    def run_s(self, epochs: int) -> float:
        """Return s of a run of so many epochs, the first one cold."""
        return self.first_epoch_s + (epochs - 1) * self.steady_epoch_s

    def compared_with(self, baseline: Option, epochs: int, reading_s: float, reading_usd: float) -> Option:
        """Return this option with what it gains over the baseline, and what it takes to get there from it.

        reading_s, reading_usd: to read the whole dataset once where it lies.
        """
        stays = (self.tier, self.format) == (baseline.tier, baseline.format)
        move_s = 0.0 if stays else max(reading_s, self.move_s)
        gained = baseline.steady_epoch_s - self.steady_epoch_s
        # The first epochs differ by another amount than the later ones; what is won there counts as well.
        lost = move_s + (self.first_epoch_s - self.steady_epoch_s) - (baseline.first_epoch_s - baseline.steady_epoch_s)
        pays = max(0.0, lost) / gained if gained > 0 else None
        return replace(
            self,
            speedup=baseline.run_s(epochs) / self.run_s(epochs),
            move_s=move_s,
            move_usd=0.0 if stays else reading_usd,
            pays_back_epochs=0.0 if stays and gained <= 0 else pays,
        )

    def on_front(self, on_frontier: bool) -> Option:
        """Return this option, marked as on the Pareto front or not."""
        return replace(self, on_frontier=on_frontier)

    def because(self, reason: str) -> Option:
        """Return this option with its reason in plain words."""
        return replace(self, reason=reason)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do with a dataset.

    choice: the option that the criterion names; alternatives: others worth knowing, cheapest in total first, the rest
    of the Pareto front of monthly cost and time among them; baseline: the plain folder where it lies now; workload:
    what the advice is for; confidence: the classifier's probability of it, None where no trace was given; epochs: of
    the run that is timed; criterion: how the choice was made, in words; doing_nothing: what staying costs; conversion:
    what the change costs and when it pays; dropped: what broke a limit or could not be, one sentence each; asks: what
    the run asks of storage, of every tier and of several nodes; notes: what was assumed, one sentence each.
    """

    choice: Option
    alternatives: tuple[Option, ...]
    baseline: Option
    workload: str
    confidence: float | None
    epochs: int
    criterion: str
    doing_nothing: str
    conversion: str
    dropped: tuple[str, ...]
    asks: Asks
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnTier:
    """The plain dataset on one tier. usd: of a month's storage; fits: on one host or share; epoch_s: s, cold."""

    tier: str
    usd: float
    fits: bool
    epoch_s: float


@dataclass(frozen=True, slots=True)
class OnNodes:
    """So many nodes, each with a cache of cache_bytes. hit_ratio: of a steady epoch when samples stay with their node.

    origin_bytes: B of an epoch that come from where the dataset lies, and so its origin_bytes_per_s; None where no
    epoch time is aimed at. cache_usd: a month of all caches.
    """

    nodes: int
    cache_bytes: int
    hit_ratio: float
    origin_bytes: int
    origin_bytes_per_s: float | None
    epoch_s: float
    cache_usd: float


@dataclass(frozen=True, slots=True)
class Asks:
    """What a run asks of storage. bytes_per_s: B/s that an epoch in target_s takes; None where no target was given.

    read_write_ratio: bytes read for each written, None where nothing is known to be written.
    """

    epoch_bytes: int
    run_bytes: int
    run_reads: int
    target_s: float | None
    bytes_per_s: float | None
    read_write_ratio: float | None
    tiers: tuple[OnTier, ...]
    nodes: tuple[OnNodes, ...]


def describe(
    data: Data,
    tier: Tier,
    store_format: Format,
    codec: Codec,
    plan: CachePlan,
    setting: Setting,
    *,
    writes: bool = False,
) -> Option:
    """Return the option and what the model predicts of it; its move_s is that of making and writing it alone.

    writes: the local device takes writes first instead of keeping reads, so that it costs but speeds up no epoch.
    """
    epochs, how, costs = setting.epochs, setting.loading, setting.costs
    found = predict(data, tier, store_format, codec, plan, epochs=epochs, loading=how, costs=costs)
    if writes:
        found = predict(data, tier, store_format, codec, epochs=epochs, loading=how, costs=costs)
        front = plan.local / 1e9 * plan.local_tier.price if plan.local_tier is not None else 0.0
        found = replace(found, monthly_usd=found.monthly_usd + front)
    local = plan.local if plan.local_tier is not None else 0
    words = []
    if plan.fill_once and plan.ram:
        words.append(f"{format_bytes(plan.ram)} of RAM")
    if plan.local_tier is not None and local:
        words.append(f"{format_bytes(local)} on {plan.local_tier.name}" + (" (write-back)" if writes else ""))
    each = " a node" if words and how.nodes > 1 else ""
    stored = stored_bytes(data, store_format, codec, pages=tier.access != "object", costs=costs)
    making = data.samples * costs.decode.seconds / how.threads if store_format == "pixels" else 0.0
    return Option(
        tier=tier.name,
        tier_title=tier.title,
        format=store_format,
        codec=codec,
        stored=stored,
        cache=" + ".join(words) + each or ("page cache" if found.hit_ratio >= 0.005 else "none"),
        cache_ram=plan.ram if plan.fill_once else 0,
        cache_local=local,
        cache_tier=plan.local_tier.name if plan.local_tier is not None and local else None,
        first_epoch_s=found.first_epoch_s,
        steady_epoch_s=found.steady_epoch_s,
        samples_per_s=found.samples_per_s,
        bottleneck=found.bottleneck,
        hit_ratio=found.hit_ratio,
        monthly_usd=found.monthly_usd,
        stall_fraction=found.stall_fraction,
        move_s=(making + stored / tier.write_bandwidth) / how.nodes,
    )
