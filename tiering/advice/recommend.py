"""Recommend where and how to keep a dataset: list the options, predict each, keep the limits, rank, and say why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tiering.advice.answer import answer
from tiering.advice.bill import egress_notes
from tiering.advice.catalog import Tier, find_tier, load_catalog, tier_named
from tiering.advice.checkpoints import while_writing
from tiering.advice.constraints import NO_LIMITS, Limits, resized, within
from tiering.advice.cpu_costs import Costs, typical_costs
from tiering.advice.current_tier import CurrentTier
from tiering.advice.dataset_sizes import DatasetSizes, sizes_of
from tiering.advice.feasible_options import (
    for_one_pass,
    for_training,
    for_writes,
    infeasible,
    option_of,
    plan_of,
)
from tiering.advice.job import Job
from tiering.advice.loading import Loading
from tiering.advice.offers import offers
from tiering.advice.originals import originals_kept, place_of_originals, safety, with_originals, without_room
from tiering.advice.prediction import CachePlan, Setting, predict
from tiering.advice.purchases import as_small_as_the_data, bought_for, distances
from tiering.advice.ranking import choose, others, pareto, warned_of_crowding
from tiering.advice.reasons import (
    certainty,
    checkpoint_advice,
    conversion,
    long_run,
    reason_for_one_pass,
    reason_for_training,
    reason_for_writes,
    where_it_is,
)
from tiering.advice.recommendation import Option, Recommendation
from tiering.advice.requirements import in_words, requirements_of
from tiering.advice.stored_size import ZSTD_RATIO, stored_bytes
from tiering.errors import UsageError
from tiering.literals import Format
from tiering.units import format_bytes, format_count, format_percent, format_usd

if TYPE_CHECKING:
    from tiering.dataset.profile import DatasetProfile
    from tiering.workload.verdict import Verdict


def recommend(
    profile: DatasetProfile,
    *,
    verdict: Verdict | None = None,
    tiers: Sequence[Tier] | None = None,
    job: Job | None = None,
    limits: Limits = NO_LIMITS,
    current: str | CurrentTier | None = None,
    current_format: Format = "folder",
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
        current: The tier where the dataset is now: its name, or what `current_tier` saw; by default the first local one
            that holds it.
        current_format: How the dataset is kept now.
        costs: Processor time of a sample (tiering.measure.calibration); by default typical costs.

    Returns:
        The choice, its alternatives, and the reasons.

    Raises:
        UsageError: For an unknown tier, an empty dataset, a packed store, a dataset that no tier can hold, and limits
            that no option keeps.

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
    here = current.tier if isinstance(current, CurrentTier) else current
    home = _current(catalog, data, here)
    setting = _setting(data, job, trains, costs)
    options = [*_candidates(workload, catalog, data, home, setting, job)]
    if not options:
        raise UsageError(
            profile.root,
            expected="a tier that holds it",
            found=f"{format_bytes(profile.bytes)}, more than any",
            action="Give `tiers` with enough capacity.",
        )
    at_home = CachePlan(ram=job.ram if trains and home.access != "object" else 0)
    own = as_small_as_the_data(home, data, current_format, "none", setting)
    far = home.network and job.reads_from != "same-zone"
    baseline = option_of(data, own, current_format, "none", at_home, setting, remote=far)
    passes = setting.epochs
    reading = {
        copies: _reading(data, own, current_format, setting, copies) for copies in {1, *(o.copies for o in options)}
    }
    originals = place_of_originals(
        data, home, current_format, catalog, job.originals, reading[1][1],
        months=job.months, kept_days=job.kept_days,
    )  # fmt: skip
    crowded: list[str] = []
    if trains:
        options, crowded = without_room([with_originals(option, originals, baseline) for option in options], originals)
        baseline, *options = (while_writing(option, catalog, job) for option in (baseline, *options))
    if job.runs_per_month:
        options = warned_of_crowding(options)
    baseline = baseline.compared_with(baseline, passes, 0.0, 0.0)
    compared = [
        option.compared_with(baseline, passes, *((0.0, 0.0) if option.by_rule else reading[option.copies]))
        for option in options
    ]
    kept, broken = within(compared, limits)
    front = pareto(kept, passes)
    kept = [option.on_front(option in front) for option in kept]
    choice, criterion = choose(
        kept, workload, home.name, passes, hour_usd=job.hour_usd, months=job.months, runs=job.runs_per_month
    )
    choice = _explained(choice, workload, catalog, job)
    stay = baseline.because(f"As it is now: plain files on {home.title}.")
    target = limits.max_epoch_s
    kind, where = ("folder", home) if choice.format == "pixels" else (choice.format, find_tier(catalog, choice.tier))
    written = round((job.checkpoint_bytes or 0) * job.checkpoints(choice.run_s(passes)))
    required = requirements_of(data, catalog, where or home, kind, job.ram, setting, target_s=target, written=written)
    advice: list[str] = []
    if trains:
        advice += checkpoint_advice(choice, catalog, job)
        bought = bought_for(choice, where or home, data, setting)
        advice += offers(choice, bought, plan_of(choice, catalog, job.ram), data, setting)
    return Recommendation(
        answer=answer(choice, stay, data.bytes, passes if job.runs_per_month else 0),
        choice=choice,
        alternatives=tuple(
            _explained(option, workload, catalog, job)
            for option in others(kept, choice, passes, job.waiting_usd, job.runs_per_month, job.months)
        ),
        baseline=stay,
        workload=workload,
        confidence=None if verdict is None else verdict.probability,
        epochs=passes,
        nodes=setting.loading.nodes,
        criterion=criterion,
        doing_nothing=_doing_nothing(stay, passes, job),
        conversion=conversion(choice, passes if job.runs_per_month else 0),
        dropped=(*infeasible(catalog, data, setting.loading.nodes), *crowded, *broken) if trains else tuple(broken),
        asks=required,
        notes=(
            *certainty(verdict),
            *(job.notes if trains else ()),
            *advice,
            *(in_words(required, passes) if trains else ()),
            *long_run(choice, passes, job.nodes),
            *originals_kept(choice, originals, home),
            *safety(originals.tier if choice.originals_tier is not None else where or home),
            *egress_notes([tier for tier in catalog if any(distances(tier, home, setting))], job.reads_from),
            *where_it_is(home, stay),
            *([current.note] if isinstance(current, CurrentTier) else []),
            *_notes(home, setting, data, job, named=here is not None, trains=trains),
        ),
    )


def _candidates(
    workload: str, catalog: Sequence[Tier], data: DatasetSizes, home: Tier, setting: Setting, job: Job
) -> Iterator[Option]:
    if workload == "write-heavy":
        return for_writes(catalog, data, setting, job.written_per_day)
    if workload == "read-once":
        return for_one_pass(catalog, data, setting)
    return for_training(catalog, data, home, job.ram, setting)


def _setting(data: DatasetSizes, job: Job, trains: bool, costs: Costs | None) -> Setting:
    loading = Loading(
        decode=job.decode and trains,
        threads=job.threads_each,
        cores=job.cpus,
        processes=job.processes,
        network=job.network,
        prefixes=job.prefixes,
        samples_per_s=job.samples_per_s if trains else None,
        nodes=job.nodes if trains else 1,
    )
    return Setting(job.epochs if trains else 1, loading, costs or typical_costs(data), job.terms)


def _reading(
    data: DatasetSizes, home: Tier, store_format: Format, setting: Setting, copies: int
) -> tuple[float, float]:
    """Return the seconds and USD to read the dataset from where it is, on all nodes, without decoding.

    copies: how often it is read. Nodes that each want a copy read all of it; otherwise each node reads its share.
    """
    plain = replace(setting.loading, decode=False, samples_per_s=None)
    once = replace(setting.terms, runs_per_month=1.0, kept_days=None)
    # What was bought for the data stays the same however often it is read.
    fixed = home.model_copy(update={"bandwidth_per_tib": None, "minimum_capacity": 0, "capacity_step": 0})
    found = predict(data.times(copies), fixed, store_format, epochs=1, loading=plain, costs=setting.costs, terms=once)
    bill = found.bill
    return found.first_epoch_s, bill.requests + bill.retrieval + bill.egress


def _check(profile: DatasetProfile, job: Job, limits: Limits) -> None:
    if profile.files < 1 or profile.bytes < 1:
        found = f"{format_count(profile.files)} images of {format_bytes(profile.bytes)} in all"
        raise UsageError(profile.root, expected="a dataset with images", found=found)
    if profile.is_packed:
        raise UsageError(
            profile.root, expected="a profile of images that are not packed", found=f"one of kind {profile.layout}",
            action="Profile the images from which it was packed.",
        )  # fmt: skip
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
            threads = f"{job.threads_each} thread{'s' if job.threads_each > 1 else ''}"
            workers = f"{job.processes} processes of {threads}" if job.processes > 1 else threads
            yield (
                f"The loader decodes the images in {workers}; `threads` and `processes` change that, and `decode` can "
                "leave decoding to the training."
            )
            if job.threads is None and job.cpus is None:
                yield "The hosts that train are taken to have as many cores as this machine; `cpus` changes that."
        if job.decode and not data.row_bytes:
            yield "Images have many shapes; `resize` also considers storing pixels of one shape."
    if setting.loading.decode:
        yield "Decoding is counted. tiering bench decodes nothing: compare it with advice without decoding (`decode`)."
    elif trains:
        yield "No decoding is counted, as in tiering bench."
    measured = "measured here" if setting.costs.measured else "typical (give `costs` for measured ones)"
    yield (
        f"Times are predictions, prices are the catalog's, and processor times are {measured}; tiering bench "
        "checks them."
    )
