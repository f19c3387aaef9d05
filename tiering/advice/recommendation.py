"""The values of a recommendation: the options, the requirements of the run, and the choice."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from tiering.advice.bill import Bill
from tiering.literals import Bottleneck, Format, ReadOrder
from tiering.notebook import Shown, Summary, data_frame
from tiering.units import format_seconds, format_usd

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Option:
    """One way to keep a dataset. Times are seconds, sizes bytes, money USD.

    Attributes:
        tier: Name of the tier.
        tier_title: The tier's name in a sentence.
        format: How the dataset is kept.
        codec: Of the format; "none" for plain bytes.
        order: How an epoch is served: "global" shuffles single samples, "block" reads blocks of neighbouring ones.
        stored: Bytes that one copy occupies.
        copies: Copies of the dataset: one for each node on a local tier that holds it, one otherwise.
        nodes: Nodes that share each epoch.
        shared: Whether all nodes read one system. Otherwise each node has a copy on its own disks, or its share.
        remote: Whether it is read from another zone, from another region or over the internet.
        by_rule: Whether a lifecycle rule of the bucket moves it there, and nothing has to be read.
        provisioned: Whether more speed is bought than comes with the room that the data need.
        cache: The caches in front, in words: "none", "page cache" for the kernel's alone, or sizes.
        cache_ram: Bytes of memory of tiering's own cache on each node.
        cache_local: Bytes of tiering's own cache on each node's cache_tier.
        cache_tier: Name of the local cache's tier.
        first_epoch_s: The first epoch, with cold caches.
        steady_epoch_s: Each later epoch.
        samples_per_s: In a steady epoch.
        bottleneck: The stage that sets the pace.
        busy: Share of a steady epoch in which the tier works.
        hit_ratio: Share of samples that a cache answers in a steady epoch.
        read_p99_s: Seconds in which the slowest tier that it reads from answers 99 of 100 single reads.
        monthly_usd: A month of storage of all copies, caches and originals, and of the reads of the month's runs.
        monthly_usd_per_node: The same, divided by the nodes.
        bill: The parts of it, without the originals, and what is paid once.
        stall_fraction: Share of a steady epoch that the training job waits; None where its rate is unknown.
        checkpoint_fraction: Share of the time that the job waits for checkpoints. A part of stall_fraction.
        originals_tier: Name of the tier that keeps the original files beside it; None where it serves these themselves,
            or where they are deleted.
        originals_usd: A month of keeping them, unread. A part of monthly_usd.
        loading_s: Time to load the nodes' own disks from where the data is, each time that a job starts on new nodes;
            0 for shared tiers.
        loading_usd: Cost of the reads for that.
        move_s: Time to get there from the baseline: read every byte once for each copy, convert it, and write it, on
            all nodes. 0 where nothing moves.
        move_usd: Cost of that, paid once: reading from the baseline, writing, and days that are paid for at least.
        pays_back_epochs: Epochs after which that time is won back; None where it never is.
        speedup: Time of a whole run on the baseline / time of the same run here.
        on_frontier: Whether no other option is both cheaper and faster.
        reason: Why one would choose it, in sentences.
        warnings: What speaks against it, one sentence each.
    """

    tier: str
    tier_title: str
    format: Format
    codec: str
    stored: int
    cache: str
    cache_ram: int
    cache_local: int
    cache_tier: str | None
    first_epoch_s: float
    steady_epoch_s: float
    samples_per_s: float
    bottleneck: Bottleneck
    busy: float
    hit_ratio: float
    read_p99_s: float
    monthly_usd: float
    order: ReadOrder = "global"
    copies: int = 1
    nodes: int = 1
    shared: bool = False
    remote: bool = False
    by_rule: bool = False
    provisioned: bool = False
    monthly_usd_per_node: float = 0.0
    bill: Bill = field(default_factory=Bill)
    stall_fraction: float | None = None
    checkpoint_fraction: float = 0.0
    originals_tier: str | None = None
    originals_usd: float = 0.0
    loading_s: float = 0.0
    loading_usd: float = 0.0
    move_s: float = 0.0
    move_usd: float = 0.0
    pays_back_epochs: float | None = None
    speedup: float = 1.0
    on_frontier: bool = False
    reason: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """How it is kept, in a word: "cached" behind tiering's own cache, "shared", "copy" or "share" on the nodes."""
        if self.cache_ram or self.cache_local:
            return "cached"
        return "shared" if self.shared else "copy" if self.copies == self.nodes else "share"

    def stays(self, baseline: Option) -> bool:
        """Return whether nothing has to be moved or packed to get here from the baseline."""
        return (self.tier, self.format, self.remote) == (baseline.tier, baseline.format, baseline.remote)

    def run_s(self, epochs: int) -> float:
        """Return the seconds of a run of this many epochs, the first one cold."""
        return self.first_epoch_s + (epochs - 1) * self.steady_epoch_s

    def compared_with(self, baseline: Option, epochs: int, reading_s: float, reading_usd: float) -> Option:
        """Return this option with its gain over the baseline, and the time and cost to get there.

        Args:
            baseline: The dataset as it is now.
            epochs: Epochs of a run.
            reading_s: Seconds to read the whole dataset from the baseline, once for each copy.
            reading_usd: Cost of that reading, and of writing it there.
        """
        stays = self.stays(baseline)
        move_s = 0.0 if stays else max(reading_s, self.move_s)
        gained = baseline.steady_epoch_s - self.steady_epoch_s
        # The difference of the first epochs is not that of the later ones, and counts as well.
        lost = move_s + (self.first_epoch_s - self.steady_epoch_s) - (baseline.first_epoch_s - baseline.steady_epoch_s)
        pays = max(0.0, lost) / gained if gained > 0 else None
        return replace(
            self,
            speedup=baseline.run_s(epochs) / self.run_s(epochs),
            move_s=move_s,
            move_usd=0.0 if stays else self.move_usd + reading_usd,
            loading_s=0.0 if stays or self.shared else move_s,
            loading_usd=0.0 if stays or self.shared else reading_usd,
            pays_back_epochs=0.0 if stays and gained <= 0 else pays,
        )

    def on_front(self, on_frontier: bool) -> Option:
        """Return this option, marked as on the Pareto front or not."""
        return replace(self, on_frontier=on_frontier)

    def because(self, reason: str) -> Option:
        """Return this option with its reason in plain words."""
        return replace(self, reason=reason)


@dataclass(frozen=True, slots=True)
class TierRequirement:
    """The plain dataset on one tier.

    Attributes:
        tier: Name of the tier.
        usd: A month of storage, of a copy on each node where the tier is local and holds it.
        fits: Whether it fits: on the shared system, or on the nodes' disks together.
        epoch_s: Seconds of a cold epoch.
    """

    tier: str
    usd: float
    fits: bool
    epoch_s: float


@dataclass(frozen=True, slots=True)
class NodesRequirement:
    """A number of nodes, each with a cache in which its samples stay.

    Attributes:
        nodes: How many.
        cache_bytes: Cache on each node.
        hit_ratio: Share of samples that the caches answer in a steady epoch.
        origin_bytes: Bytes of an epoch that come from the tier that holds the dataset.
        origin_bytes_per_s: The same as a rate; None without a target for the epoch.
        epoch_s: Seconds of a steady epoch.
        cache_usd: A month of all caches.
    """

    nodes: int
    cache_bytes: int
    hit_ratio: float
    origin_bytes: int
    origin_bytes_per_s: float | None
    epoch_s: float
    cache_usd: float


@dataclass(frozen=True, slots=True)
class Requirements:
    """The demands of a training run on its storage.

    Attributes:
        epoch_bytes: Bytes read in an epoch.
        run_bytes: Bytes read in the run.
        run_reads: Samples read in the run.
        target_s: Seconds that an epoch may take; None without a target.
        bytes_per_s: Rate that reaches the target.
        read_write_ratio: Bytes read for each byte written; None where no writes are known.
        tiers: The plain dataset on each tier.
        nodes: Several nodes with caches.
    """

    epoch_bytes: int
    run_bytes: int
    run_reads: int
    target_s: float | None
    bytes_per_s: float | None
    read_write_ratio: float | None
    tiers: tuple[TierRequirement, ...]
    nodes: tuple[NodesRequirement, ...]


@dataclass(frozen=True, slots=True)
class Recommendation(Shown):
    """The advice for a dataset.

    Attributes:
        answer: The advice in a sentence: what to put where, what that costs, and what it gains.
        choice: The option that the criterion names.
        alternatives: Other options worth knowing, the lowest total cost first. They include the rest of the Pareto
            front of monthly cost and time.
        baseline: The plain folder where it is now.
        workload: The workload that the advice is for.
        confidence: The classifier's probability of that workload; None without a trace.
        epochs: Epochs of the run that is timed.
        nodes: Nodes that share each epoch.
        criterion: How the choice was made, in words.
        doing_nothing: The cost of staying, in words.
        conversion: The cost of the change and when it pays, in words.
        dropped: Options that broke a limit or are impossible, one sentence each.
        asks: The requirements of the run.
        notes: Assumptions, one sentence each.
    """

    answer: str
    choice: Option
    alternatives: tuple[Option, ...]
    baseline: Option
    workload: str
    confidence: float | None
    epochs: int
    nodes: int
    criterion: str
    doing_nothing: str
    conversion: str
    dropped: tuple[str, ...]
    asks: Requirements
    notes: tuple[str, ...]

    def summary(self) -> Summary:
        """Return the choice, its speed and cost, and the reason for it."""
        chosen = self.choice
        rows = [
            ("answer", self.answer),
            ("keep it", f"{chosen.format} on {chosen.tier}, cache: {chosen.cache}"),
            ("later epochs", f"{format_seconds(chosen.steady_epoch_s)}, limited by {chosen.bottleneck}"),
            ("speed-up", f"{chosen.speedup:.3g} x"),
            ("USD/month", format_usd(chosen.monthly_usd) + (f" ({chosen.copies} copies)" if chosen.copies > 1 else "")),
            ("because", chosen.reason),
        ]
        return f"Recommendation for a workload that is {self.workload}", rows

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each option: its role (choice, alternative or baseline), and its fields except the bill."""
        options = [("choice", self.choice), *(("alternative", each) for each in self.alternatives)]
        options.append(("baseline", self.baseline))
        names = [each.name for each in fields(Option) if each.name != "bill"]
        columns = {name: [getattr(each, name) for _, each in options] for name in names}
        return data_frame({"role": [role for role, _ in options], **columns})
