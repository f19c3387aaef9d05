"""The values of a recommendation: the choice, what it is compared with, the plan, and the requirements of the run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from tiering.advice.assumptions import Assumption
from tiering.advice.option import Option
from tiering.advice.plan import Place
from tiering.dataset.reencoded_sample import ReencodedFigures
from tiering.literals import TrainingFormat
from tiering.notebook import Shown, Summary, data_frame
from tiering.units import format_number, format_seconds, format_usd

if TYPE_CHECKING:
    import polars as pl


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
class Form:
    """What the dataset may become, and the best way to keep that.

    Attributes:
        name: "originals", or the format of a store made for training.
        option: The best way to keep it, by the criterion of the choice.
        allowed: Whether the choice may fall on it.
        bytes: Bytes of all samples as they are stored, before pages and copies.
        bytes_low: The lower end of the interval that contains them in 95 of 100 samples; the same number where nothing
            was sampled.
        bytes_high: Its upper end.
        of_originals: bytes / bytes of the originals.
        decoded_per_s: Images that one core decodes and crops in a second, or crops where they are pixels; None where
            the training decodes.
        decoding_measured: Whether that was measured on this machine. Otherwise it is predicted.
        figures: What was measured on a sample of the images; None for originals, and where the sizes are typical ones.
    """

    name: TrainingFormat | Literal["originals"]
    option: Option
    allowed: bool
    bytes: int
    bytes_low: int
    bytes_high: int
    of_originals: float
    decoded_per_s: float | None
    decoding_measured: bool
    figures: ReencodedFigures | None = None


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
        plan: What is kept where: the originals and the store made from them, or one of the two.
        forms: The originals and each store made for training, each kept in its best way; empty where nothing is
            trained, or no such store would be smaller than the originals.
        dropped: Options that broke a limit or are impossible, one sentence each.
        asks: The requirements of the run.
        notes: What to know about the advice, one sentence each.
        assumptions: What it takes for granted, and its details.
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
    plan: tuple[Place, ...]
    forms: tuple[Form, ...]
    dropped: tuple[str, ...]
    asks: Requirements
    notes: tuple[str, ...]
    assumptions: tuple[Assumption, ...] = ()

    def summary(self) -> Summary:
        """Return the choice, its speed and cost, and the reason for it."""
        chosen = self.choice
        rows = [
            ("answer", self.answer),
            ("keep it", f"{chosen.format} on {chosen.tier}, cache: {chosen.cache}"),
            ("later epochs", f"{format_seconds(chosen.steady_epoch_s)}, limited by {chosen.bottleneck}"),
            ("speed-up", f"{format_number(chosen.speedup)} x"),
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
