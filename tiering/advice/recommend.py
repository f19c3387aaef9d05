"""What to do about a dataset: enumerate tiers, formats and caches, predict each, keep the limits, rank, and say why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tiering.advice.catalog import Tier, find_tier, load_catalog
from tiering.advice.constraints import NO_LIMITS, Limits, resized, within
from tiering.advice.cpu_costs import Costs, class_costs
from tiering.advice.dataset_sizes import Data, data_of
from tiering.advice.feasible_options import for_one_pass, for_training, for_writes, left_out
from tiering.advice.prediction import CachePlan, Loading, predict, stored_bytes
from tiering.advice.ranking import HOUR_USD, choose, others, pareto, total_usd
from tiering.advice.reasons import (
    checkpoint_advice,
    conversion,
    long_run,
    reason_for_one_pass,
    reason_for_training,
    reason_for_writes,
    sureness,
)
from tiering.advice.recommendation import Option, Recommendation, Setting, describe
from tiering.advice.requirements import asks_of, in_words
from tiering.errors import UsageError
from tiering.system.machine import usable_cores
from tiering.units import format_bytes, format_count

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile
    from tiering.workload.model import Verdict

__all__ = ["HOUR_USD", "Job", "pareto", "recommend", "total_usd"]


@dataclass(frozen=True, slots=True)
class Job:
    """The training that a recommendation is for. Raises UsageError for impossible numbers.

    epochs: passes of one run, at least 1, one run a month. decode: its loader turns images into pixels on the
    processor; otherwise it takes them encoded. resize: (height, width) that it brings them to, with which pixels can
    be stored. threads: of each node's loader, by default this machine's cores. nodes: that share each epoch.
    samples_per_s: what it takes on all nodes when it never waits. checkpoint_bytes, checkpoint_every: B of a
    checkpoint, and epochs from one to the next. written_per_day: B, for workloads that write.
    """

    epochs: int = 100
    decode: bool = True
    resize: tuple[int, int] | None = None
    threads: int = field(default_factory=usable_cores)
    nodes: int = 1
    samples_per_s: float | None = None
    checkpoint_bytes: int | None = None
    checkpoint_every: int = 1
    written_per_day: float | None = None

    def __post_init__(self) -> None:
        least = (("epochs", self.epochs), ("threads", self.threads), ("nodes", self.nodes))
        for name, value in (*least, ("checkpoint every", self.checkpoint_every)):
            if value < 1:
                raise UsageError(name, expected="at least 1", found=str(value))
        if self.samples_per_s is not None and not 0 < self.samples_per_s < float("inf"):
            raise UsageError("samples per second", expected="above 0", found=f"{self.samples_per_s:g}")

    @property
    def written(self) -> int:
        """B of all checkpoints of a run."""
        return (self.checkpoint_bytes or 0) * (self.epochs // self.checkpoint_every)


def recommend(
    profile: DatasetProfile,
    *,
    verdict: Verdict | None = None,
    tiers: Sequence[Tier] | None = None,
    ram: int | None = None,
    job: Job | None = None,
    limits: Limits = NO_LIMITS,
    current: str | None = None,
    hour_usd: float = HOUR_USD,
    costs: Costs | None = None,
) -> Recommendation:
    """Recommend where and how to keep a dataset.

    verdict: the workload that a trace showed; without one, or where it is read-once and may be the first of several
    epochs, training is assumed. tiers: the catalog, by default the
    shipped one. ram: B of memory that each training host has for caching and has paid for; none by default.
    job: the training; limits: what may not be broken. current: name of the tier where the dataset lies now, by default
    the first local one that holds it. hour_usd: USD that an hour of waiting for data costs, at least 0. costs: of this
    processor for these images (tiering.measure.calibration), by default class figures.
    Raises UsageError for a tier that the catalog lacks, for anything below those limits, for an empty dataset, where
    no tier can hold the dataset, and where nothing keeps the limits.
    """
    job = job or Job()
    catalog = resized(tuple(load_catalog() if tiers is None else tiers), limits)
    memory = _checked(profile, ram, hour_usd, job, limits)
    data = data_of(profile, job.resize)
    workload = "re-read-heavy" if verdict is None else verdict.workload
    if verdict is not None and workload == "read-once" and not verdict.is_single_pass:
        workload = "inconclusive"
    trains = workload not in {"write-heavy", "read-once"}
    home = _current(catalog, data, current)
    setting = _setting(data, job, trains, costs)
    options = [*_candidates(workload, catalog, data, memory, setting, job)]
    if not options:
        raise UsageError(
            profile.root,
            expected="a tier that holds it",
            found=f"{format_bytes(profile.bytes)}, more than any",
            action="Give one with enough capacity: --catalog FILE",
        )
    at_home = CachePlan(ram=memory if trains and home.access != "object" else 0)
    baseline = describe(data, home, "folder", "none", at_home, setting)
    reading_s, reading_usd = _reading(data, home, setting)
    passes = setting.epochs
    compared = [option.compared_with(baseline, passes, reading_s, reading_usd) for option in options]
    kept, said = within(compared, limits)
    front = pareto(kept, passes)
    kept = [option.on_front(option in front) for option in kept]
    choice, criterion = choose(kept, workload, home.name, passes, hour_usd)
    choice = _explained(choice, workload, catalog, job)
    stay = baseline.because(f"As it is now: plain files on {home.title}.")
    target = limits.max_epoch_s
    kind, where = ("folder", home) if choice.format == "pixels" else (choice.format, find_tier(catalog, choice.tier))
    asks = asks_of(data, catalog, where or home, kind, memory, setting, target_s=target, written=job.written)
    advice = [*checkpoint_advice(choice, catalog, job.checkpoint_bytes, job.checkpoint_every)] if trains else []
    return Recommendation(
        choice=choice,
        alternatives=tuple(
            _explained(option, workload, catalog, job) for option in others(kept, choice, passes, hour_usd)
        ),
        baseline=stay,
        workload=workload,
        confidence=None if verdict is None else verdict.probability,
        epochs=passes,
        criterion=criterion,
        doing_nothing=_doing_nothing(stay, passes, hour_usd),
        conversion=conversion(choice, passes),
        dropped=(*left_out(catalog, data), *said) if trains else tuple(said),
        asks=asks,
        notes=(
            *sureness(verdict),
            *advice,
            *(in_words(asks, passes) if trains else ()),
            *long_run(choice, passes, job.nodes),
            *_notes(home, memory, setting, data, job, named=current is not None, trains=trains),
        ),
    )


def _candidates(
    workload: str, catalog: Sequence[Tier], data: Data, ram: int, setting: Setting, job: Job
) -> Iterator[Option]:
    if workload == "write-heavy":
        return for_writes(catalog, data, setting, job.written_per_day)
    return (
        for_one_pass(catalog, data, setting) if workload == "read-once" else for_training(catalog, data, ram, setting)
    )


def _setting(data: Data, job: Job, trains: bool, costs: Costs | None) -> Setting:
    loading = Loading(
        decode=job.decode and trains,
        threads=job.threads,
        samples_per_s=job.samples_per_s if trains else None,
        nodes=job.nodes if trains else 1,
    )
    return Setting(job.epochs if trains else 1, loading, costs or class_costs(data))


def _reading(data: Data, home: Tier, setting: Setting) -> tuple[float, float]:
    """Return s and USD of reading the whole dataset once where it lies, by all nodes and undecoded."""
    plain = replace(setting.loading, decode=False, samples_per_s=None)
    found = predict(data, home, "folder", epochs=1, loading=plain, costs=setting.costs)
    dollars = data.samples / 1000 * home.request_price + data.bytes / 1e9 * home.retrieval_price
    return found.first_epoch_s, dollars


def _checked(profile: DatasetProfile, ram: int | None, hour_usd: float, job: Job, limits: Limits) -> int:
    if profile.files < 1 or profile.bytes < 1:
        found = f"{format_count(profile.files)} images of {format_bytes(profile.bytes)} in all"
        raise UsageError(profile.root, expected="a dataset with images", found=found)
    for name, value in (("ram", ram or 0), ("hour price", hour_usd)):
        if not 0 <= value < float("inf"):
            raise UsageError(name, expected="at least 0", found=str(value))
    if limits.gpu_utilisation is not None and job.samples_per_s is None:
        raise UsageError(
            "--gpu-utilisation",
            expected="the rate of the job beside it",
            found="none",
            action="Give --samples-per-second.",
        )
    return ram or 0


def _explained(option: Option, workload: str, catalog: Sequence[Tier], job: Job) -> Option:
    if workload == "write-heavy":
        return option.because(reason_for_writes(option, catalog, job.written_per_day))
    return option.because(reason_for_one_pass(option) if workload == "read-once" else reason_for_training(option))


def _current(catalog: Sequence[Tier], data: Data, name: str | None) -> Tier:
    names = ", ".join(tier.name for tier in catalog)
    if name is not None:
        found = find_tier(tuple(catalog), name)
        if found is None:
            raise UsageError("tier", expected=f"one of {names}", found=repr(name))
        return found
    lasting = [tier for tier in catalog if tier.access != "memory"]
    fitting = [tier for tier in lasting if tier.holds(stored_bytes(data, "folder"))] or lasting
    if not fitting:
        raise UsageError("catalog", expected="a tier that outlives the machine", found=names or "no tier")
    return min(fitting, key=lambda tier: (tier.access == "object", tier.network))


def _doing_nothing(stay: Option, epochs: int, hour_usd: float) -> str:
    waiting = stay.run_s(epochs) / 3600
    return (
        f"Doing nothing costs {stay.monthly_usd:,.2f} USD a month for plain files on {stay.tier_title}, and "
        f"{waiting:,.{0 if waiting >= 100 else 2}f} hours of a run of {epochs:,} epoch{'s' if epochs > 1 else ''}: "
        f"{waiting * hour_usd:,.2f} USD at {hour_usd:.2f} USD an hour."
    )


def _notes(home: Tier, ram: int, setting: Setting, data: Data, job: Job, *, named: bool, trains: bool) -> Iterator[str]:
    if not named:
        yield f"The dataset is taken to lie on {home.title} now: --tier NAME says otherwise."
    if trains:
        yield (
            f"{format_bytes(ram)} of the host's memory cache data and are taken as paid for: --ram SIZE changes it."
            if ram
            else "No memory is counted as a cache: --ram SIZE adds some."
        )
        yield "Zarr without codec is predicted like LMDB, and listed only where LMDB cannot be."
        if data.raw:
            yield "Most images are uncompressed: Zarr with zstd is taken to save 40 %; tiering convert measures it."
        if job.decode:
            threads = f"{job.threads} thread{'s' if job.threads > 1 else ''}"
            yield f"Images are decoded by {threads}: --threads COUNT, or --encoded where the training does it itself."
        if job.decode and not data.row_bytes:
            yield "Images have many shapes: with --resize HxW, pixels of one shape are considered too."
    measured = "measured here" if setting.costs.measured else "class figures (--calibrate measures them)"
    yield f"Times are predictions, prices the catalog's, processor times {measured}: check them with tiering bench."
