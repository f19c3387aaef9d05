"""The training job that a recommendation is for: what it reads, on how many nodes, and what its waiting costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from tiering.advice.bill import MONTH_DAYS, Terms
from tiering.advice.hour_price import HOUR_USD
from tiering.advice.ranking import MONTHS
from tiering.errors import UsageError
from tiering.literals import OriginalFiles, ReadsFrom
from tiering.system.machine import usable_cores
from tiering.units import format_number


@dataclass(frozen=True, slots=True)
class Job:
    """The training that a recommendation is for.

    Attributes:
        epochs: Passes over the dataset in one run, at least 1.
        decode: Whether the loader decodes images to pixels on the processor. Otherwise the job takes encoded bytes.
        resize: (height, width) to which training brings images. With it, pixels can be stored.
        threads: Threads of each loader process; by default as many as it has cores.
        processes: Loader processes of each node: its ranks, or their workers. Each has an interpreter lock of its own.
        cpus: Cores of each node that trains; by default this machine's, or as many as there are threads.
        network: Bytes per second at which each node receives what comes from shared storage. None for no limit.
        prefixes: Prefixes of a bucket among which the objects are spread, for limits of requests to each. None for one,
            and no limit for a packed store that is read in blocks.
        nodes: Nodes that share each epoch.
        ram: Bytes of memory of each node for caching. Its price does not count.
        hour_usd: Cost of an hour in which one node waits for data, USD. By default time comes first where samples_per_s
            is known: the choice is the cheapest option that keeps the job from waiting. Otherwise an hour costs 2 USD.
        samples_per_s: Samples per second the training job can consume, on all nodes together. None for no limit.
        checkpoint_bytes: Bytes of a checkpoint.
        checkpoint_every: Epochs from one checkpoint to the next.
        checkpoint_every_s: Seconds from one checkpoint to the next, in place of epochs.
        originals: What happens to the original files once they are packed or copied. "cheapest" keeps them where that
            costs least, "stay" where they are, and their bill counts; "drop" counts nothing.
        written_per_day: Bytes a day, for workloads that write.
        runs_per_month: Runs in the month that is billed; a fraction for fewer than one.
        reads_from: Where the nodes are, as seen from storage behind a network: that decides on the price of egress.
        kept_days: Days that the dataset is kept; None for good. Some storage is billed for a number of days at least.
        reencode: Whether the training may read a store of re-encoded images or of pixels of 256 x 256. By default such
            stores are shown, and never chosen. The originals always stay beside them.
        notes: Sentences that say where some of these figures come from; the recommendation repeats them.

    Raises:
        UsageError: For impossible numbers.

    Example:
        >>> Job(epochs=90, checkpoint_bytes=40_000_000, checkpoint_every=10).checkpoints(run_s=3600.0)
        9
    """

    epochs: int = 100
    decode: bool = True
    resize: tuple[int, int] | None = None
    threads: int | None = None
    nodes: int = 1
    ram: int = 0
    hour_usd: float | None = None
    samples_per_s: float | None = None
    checkpoint_bytes: int | None = None
    checkpoint_every: int = 1
    checkpoint_every_s: float | None = None
    originals: OriginalFiles = "cheapest"
    written_per_day: float | None = None
    runs_per_month: float = 1.0
    reads_from: ReadsFrom = "same-zone"
    kept_days: float | None = None
    notes: tuple[str, ...] = ()
    processes: int = 1
    cpus: int | None = None
    network: float | None = None
    prefixes: int | None = None
    reencode: bool = False

    def __post_init__(self) -> None:
        for least, names in (
            (1, ("epochs", "threads", "nodes", "checkpoint_every", "processes", "cpus", "prefixes")),
            (0, ("ram", "hour_usd", "checkpoint_bytes", "written_per_day", "runs_per_month", "kept_days")),
        ):
            for name in names:
                value = getattr(self, name)
                if value is not None and not least <= value < float("inf"):
                    raise UsageError(name, rule=f"must be at least {least}", found=str(value))
        for name in ("samples_per_s", "checkpoint_every_s", "network"):
            if (rate := getattr(self, name)) is not None and not 0 < rate < float("inf"):
                raise UsageError(name, rule="must be above 0", found=format_number(rate, 6))

        if self.reencode and self.originals == "drop":
            raise UsageError(
                "reencode", expected="originals that stay", found="`originals` drops them",
                action="A re-encoded store is made from them, and only they can make it again.",
            )  # fmt: skip
        for name, words in (("reads_from", get_args(ReadsFrom)), ("originals", get_args(OriginalFiles))):
            if (word := getattr(self, name)) not in words:
                raise UsageError(name, rule=f"must be one of {', '.join(words)}", found=str(word))

    @property
    def threads_each(self) -> int:
        """Threads of each loader process."""
        return self.threads or max(1, (self.cpus or usable_cores()) // self.processes)

    @property
    def waiting_usd(self) -> float:
        """Cost of an hour in which one node waits, as it is counted, USD."""
        return HOUR_USD if self.hour_usd is None else self.hour_usd

    def checkpoints(self, run_s: float) -> float:
        """Return how many checkpoints a run of this many seconds writes."""
        if not self.checkpoint_bytes:
            return 0
        return (
            self.epochs // self.checkpoint_every if self.checkpoint_every_s is None else run_s / self.checkpoint_every_s
        )

    @property
    def months(self) -> float:
        """Months over which what is paid once is spread."""
        return MONTHS if self.kept_days is None else max(1.0, self.kept_days / MONTH_DAYS)

    @property
    def terms(self) -> Terms:
        """How the month is used that is billed."""
        return Terms(self.runs_per_month, self.reads_from, self.kept_days)
