"""Recommend where and how to keep a dataset: list the options, predict each, keep the limits, rank, and say why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tiering.advice.catalog import Tier, find_tier, load_catalog, tier_named
from tiering.advice.constraints import NO_LIMITS, Limits, resized, within
from tiering.advice.cpu_costs import Costs, typical_costs
from tiering.advice.dataset_sizes import DatasetSizes, sizes_of
from tiering.advice.epoch_stages import Loading
from tiering.advice.feasible_options import for_one_pass, for_training, for_writes, infeasible, option_of
from tiering.advice.prediction import CachePlan, Setting, predict
from tiering.advice.ranking import HOUR_USD, choose, others, pareto
from tiering.advice.reasons import (
    certainty,
    checkpoint_advice,
    conversion,
    long_run,
    reason_for_one_pass,
    reason_for_training,
    reason_for_writes,
)
from tiering.advice.recommendation import Option, Recommendation
from tiering.advice.requirements import in_words, requirements_of
from tiering.advice.stored_size import ZSTD_RATIO, stored_bytes
from tiering.errors import UsageError
from tiering.system.machine import usable_cores
from tiering.units import format_bytes, format_count, format_percent, format_usd

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile
    from tiering.workload.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Job:
    """The training that a recommendation is for.

    Attributes:
        epochs: Passes over the dataset in one run, at least 1. One run a month is assumed.
        decode: Whether the loader decodes images to pixels on the processor. Otherwise the job takes encoded bytes.
        resize: (height, width) to which training brings images. With it, pixels can be stored.
        threads: Threads of each node's loader; by default this machine's cores.
        nodes: Nodes that share each epoch.
        ram: Bytes of memory of each node for caching. Its price does not count.
        hour_usd: Cost of an hour in which one node waits for data, USD. By default time comes first where samples_per_s
            is known: the choice is the cheapest option that keeps the job from waiting. Otherwise an hour costs 2 USD.
        samples_per_s: Samples per second the training job can consume, on all nodes together. None for no limit.
        checkpoint_bytes: Bytes of a checkpoint.
        checkpoint_every: Epochs from one checkpoint to the next.
        written_per_day: Bytes a day, for workloads that write.

    Raises:
        UsageError: For impossible numbers.

    Example:
        >>> Job(epochs=90, checkpoint_bytes=40_000_000, checkpoint_every=10).written
        360000000
    """

    epochs: int = 100
    decode: bool = True
    resize: tuple[int, int] | None = None
    threads: int = field(default_factory=usable_cores)
    nodes: int = 1
    ram: int = 0
    hour_usd: float | None = None
    samples_per_s: float | None = None
    checkpoint_bytes: int | None = None
    checkpoint_every: int = 1
    written_per_day: float | None = None

    def __post_init__(self) -> None:
        for least, names in (
            (1, ("epochs", "threads", "nodes", "checkpoint_every")),
            (0, ("ram", "hour_usd", "checkpoint_bytes", "written_per_day")),
        ):
            for name in names:
                if not least <= (value := getattr(self, name) or 0) < float("inf"):
                    raise UsageError(name, expected=f"at least {least}", found=str(value))
        if self.samples_per_s is not None and not 0 < self.samples_per_s < float("inf"):
            raise UsageError("samples_per_s", expected="above 0", found=f"{self.samples_per_s:g}")

    @property
    def waiting_usd(self) -> float:
        """Cost of an hour in which one node waits, as it is counted, USD."""
        return HOUR_USD if self.hour_usd is None else self.hour_usd

    @property
    def written(self) -> int:
        """Bytes of all checkpoints of a run."""
        return (self.checkpoint_bytes or 0) * (self.epochs // self.checkpoint_every)


def recommend(
    profile: DatasetProfile,
    *,
    verdict: Verdict | None = None,
    tiers: Sequence[Tier] | None = None,
    job: Job | None = None,
    limits: Limits = NO_LIMITS,
    current: str | None = None,
    costs: Costs | None = None,
) -> Recommendation:
    """Recommend where and how to keep a dataset.

    Args:
        profile: The dataset's profile.
        verdict: The workload that a trace showed. Training is assumed without one, and where it is read-once but may be
            the first of several epochs.
        tiers: The catalog; by default the shipped one.
        job: The training, its nodes, and the price of its time.
        limits: Limits that the choice must keep.
        current: Name of the tier where the dataset is now; by default the first local one that holds it.
        costs: Processor time of a sample (tiering.measure.calibration); by default typical costs.

    Returns:
        The choice, its alternatives, and the reasons.

    Raises:
        UsageError: For an unknown tier, an empty dataset, a dataset that no tier can hold, and limits that no option
            keeps.

    Example:
        >>> profile = tiering.profile_dataset("photos/")  # doctest: +SKIP
        >>> print(tiering.recommend(profile, current="nfs").choice.format)  # doctest: +SKIP
        lmdb
    """
    job = job or Job()
    catalog = resized(tuple(load_catalog() if tiers is None else tiers), limits)
    _check(profile, job, limits)
    data = sizes_of(profile, job.resize)
    workload = "re-read-heavy" if verdict is None else verdict.workload
    if verdict is not None and workload == "read-once" and not verdict.is_single_pass:
        workload = "inconclusive"
    trains = workload not in {"write-heavy", "read-once"}
    home = _current(catalog, data, current)
    setting = _setting(data, job, trains, costs)
    options = [*_candidates(workload, catalog, data, setting, job)]
    if not options:
        raise UsageError(
            profile.root,
            expected="a tier that holds it",
            found=f"{format_bytes(profile.bytes)}, more than any",
            action="Give `tiers` with enough capacity.",
        )
    at_home = CachePlan(ram=job.ram if trains and home.access != "object" else 0)
    baseline = option_of(data, home, "folder", "none", at_home, setting)
    passes = setting.epochs
    reading = {copies: _reading(data, home, setting, copies) for copies in {option.copies for option in options}}
    compared = [option.compared_with(baseline, passes, *reading[option.copies]) for option in options]
    kept, broken = within(compared, limits)
    front = pareto(kept, passes)
    kept = [option.on_front(option in front) for option in kept]
    choice, criterion = choose(kept, workload, home.name, passes, job.hour_usd)
    choice = _explained(choice, workload, catalog, job)
    stay = baseline.because(f"As it is now: plain files on {home.title}.")
    target = limits.max_epoch_s
    kind, where = ("folder", home) if choice.format == "pixels" else (choice.format, find_tier(catalog, choice.tier))
    required = requirements_of(
        data, catalog, where or home, kind, job.ram, setting, target_s=target, written=job.written
    )
    advice = [*checkpoint_advice(choice, catalog, job.checkpoint_bytes, job.checkpoint_every)] if trains else []
    return Recommendation(
        choice=choice,
        alternatives=tuple(
            _explained(option, workload, catalog, job) for option in others(kept, choice, passes, job.waiting_usd)
        ),
        baseline=stay,
        workload=workload,
        confidence=None if verdict is None else verdict.probability,
        epochs=passes,
        nodes=setting.loading.nodes,
        criterion=criterion,
        doing_nothing=_doing_nothing(stay, passes, job),
        conversion=conversion(choice, passes),
        dropped=(*infeasible(catalog, data, setting.loading.nodes), *broken) if trains else tuple(broken),
        asks=required,
        notes=(
            *certainty(verdict),
            *advice,
            *(in_words(required, passes) if trains else ()),
            *long_run(choice, passes, job.nodes),
            *_notes(home, setting, data, job, named=current is not None, trains=trains),
        ),
    )


def _candidates(
    workload: str, catalog: Sequence[Tier], data: DatasetSizes, setting: Setting, job: Job
) -> Iterator[Option]:
    if workload == "write-heavy":
        return for_writes(catalog, data, setting, job.written_per_day)
    if workload == "read-once":
        return for_one_pass(catalog, data, setting)
    return for_training(catalog, data, job.ram, setting)


def _setting(data: DatasetSizes, job: Job, trains: bool, costs: Costs | None) -> Setting:
    loading = Loading(
        decode=job.decode and trains,
        threads=job.threads,
        samples_per_s=job.samples_per_s if trains else None,
        nodes=job.nodes if trains else 1,
    )
    return Setting(job.epochs if trains else 1, loading, costs or typical_costs(data))


def _reading(data: DatasetSizes, home: Tier, setting: Setting, copies: int) -> tuple[float, float]:
    """Return the seconds and USD to read the dataset from where it is, on all nodes, without decoding.

    copies: how often it is read. Nodes that each want a copy read all of it; otherwise each node reads its share.
    """
    plain = replace(setting.loading, decode=False, samples_per_s=None)
    found = predict(data.times(copies), home, "folder", epochs=1, loading=plain, costs=setting.costs)
    dollars = copies * (data.samples / 1000 * home.request_price + data.bytes / 1e9 * home.retrieval_price)
    return found.first_epoch_s, dollars


def _check(profile: DatasetProfile, job: Job, limits: Limits) -> None:
    if profile.files < 1 or profile.bytes < 1:
        found = f"{format_count(profile.files)} images of {format_bytes(profile.bytes)} in all"
        raise UsageError(profile.root, expected="a dataset with images", found=found)
    if limits.gpu_utilisation is not None and job.samples_per_s is None:
        raise UsageError(
            "gpu_utilisation",
            expected="`samples_per_s` of the job as well",
            found="none",
        )


def _explained(option: Option, workload: str, catalog: Sequence[Tier], job: Job) -> Option:
    if workload == "write-heavy":
        return option.because(reason_for_writes(option, catalog, job.written_per_day))
    return option.because(reason_for_one_pass(option) if workload == "read-once" else reason_for_training(option))


def _current(catalog: Sequence[Tier], data: DatasetSizes, name: str | None) -> Tier:
    if name is not None:
        return tier_named(catalog, name, "current")
    lasting = [tier for tier in catalog if tier.is_lasting]
    fitting = [tier for tier in lasting if tier.holds(stored_bytes(data, "folder"))] or lasting
    if not fitting:
        names = ", ".join(tier.name for tier in catalog)
        raise UsageError("catalog", expected="a tier that outlives the machine", found=names or "no tier")
    return min(fitting, key=lambda tier: (tier.access == "object", tier.network))


def _doing_nothing(stay: Option, epochs: int, job: Job) -> str:
    waiting = stay.run_s(epochs) / 3600 * stay.nodes
    hours = "node hours" if stay.nodes > 1 else "hours"
    usd = job.waiting_usd
    # Where time comes first, no price was given for it.
    first = job.hour_usd is None and stay.stall_fraction is not None
    price = "" if first else f": {format_usd(waiting * usd)} USD at {format_usd(usd)} USD an hour"
    return (
        f"Doing nothing costs {format_usd(stay.monthly_usd)} USD a month for plain files on {stay.tier_title}, and "
        f"{waiting:,.{0 if waiting >= 100 else 2}f} {hours} of a run of {epochs:,} epoch{'s' if epochs > 1 else ''}"
        f"{price}."
    )


def _notes(home: Tier, setting: Setting, data: DatasetSizes, job: Job, *, named: bool, trains: bool) -> Iterator[str]:
    if not named:
        yield f"The dataset is assumed to be on {home.title} now; `current` changes that."
    if trains:
        yield (
            f"{format_bytes(job.ram)} of the host's memory cache data at no cost; `ram` changes that."
            if job.ram
            else "No memory is used as a cache; `ram` adds some."
        )
        yield "Zarr without a codec is as fast as LMDB, so it is listed only where LMDB is impossible."
        if data.raw:
            saving = format_percent(1 - ZSTD_RATIO)
            yield f"Most images are uncompressed: zstd is assumed to save {saving}; tiering convert measures it."
        if job.decode:
            threads = f"{job.threads} thread{'s' if job.threads > 1 else ''}"
            yield (
                f"The loader decodes the images in {threads}; `threads` changes that, and `decode` can leave "
                "decoding to the training."
            )
        if job.decode and not data.row_bytes:
            yield "Images have many shapes; `resize` also considers storing pixels of one shape."
    measured = "measured here" if setting.costs.measured else "typical (give `costs` for measured ones)"
    yield (
        f"Times are predictions, prices are the catalog's, and processor times are {measured}; tiering bench "
        "checks them."
    )
