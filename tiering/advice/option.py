"""One way to keep a dataset, with its prediction and its bill."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import get_args

from tiering.advice.bill import Bill
from tiering.literals import AnyFormat, Bottleneck, Format, OriginalFormat, ReadOrder, TrainingFormat


@dataclass(frozen=True, slots=True)
class Option:
    """One way to keep a dataset. Times are seconds, sizes bytes, money USD.

    Attributes:
        tier: Name of the tier.
        tier_title: The tier's name in a sentence.
        format: How the dataset is kept. "jpeg-400", "jpeg-256" and "pixels-256" are stores made for training.
        container: What holds it: a folder, LMDB or Zarr.
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
    format: AnyFormat
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
    container: OriginalFormat = "folder"
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

    @property
    def has_originals(self) -> bool:
        """Whether it holds the original files, to the last byte."""
        return self.format in get_args(OriginalFormat)

    @property
    def for_training(self) -> bool:
        """Whether it is a store made for training, which the originals stay beside."""
        return self.format in get_args(TrainingFormat)

    @property
    def store_format(self) -> Format:
        """The format as the performance model has it: what holds encoded images, or pixels."""
        return "pixels" if self.format in {"pixels", "pixels-256"} else self.container

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
