"""Recommend where and how to keep a dataset: list the options, predict each, keep the limits, rank, and say why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tiering.advice.answer import answer
from tiering.advice.assumptions import Assumption, doing_nothing, taken_for_granted
from tiering.advice.bill import egress_notes
from tiering.advice.case import Case
from tiering.advice.catalog import Tier, find_tier, load_catalog, tier_named
from tiering.advice.checkpoints import while_writing
from tiering.advice.constraints import NO_LIMITS, Limits, resized
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
from tiering.advice.forms import forms_of, options_of
from tiering.advice.forms import in_words as forms_in_words
from tiering.advice.job import Job
from tiering.advice.loading import Loading
from tiering.advice.offers import offers
from tiering.advice.option import Option
from tiering.advice.originals import originals_kept, place_of_originals, safety
from tiering.advice.plan import plan_for
from tiering.advice.prediction import CachePlan, Setting, predict
from tiering.advice.purchases import as_small_as_the_data, bought_for, distances
from tiering.advice.reasons import (
    certainty,
    checkpoint_advice,
    conversion,
    long_run,
    where_it_is,
)
from tiering.advice.recommendation import Recommendation
from tiering.advice.requirements import in_words, requirements_of, volume_in_words
from tiering.advice.stored_size import stored_bytes
from tiering.advice.training_stores import training_stores
from tiering.errors import UsageError
from tiering.literals import Format
from tiering.units import format_bytes, format_count

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
        copies: _reading(data, own, current_format, setting, copies) for copies in {1, job.nodes, setting.loading.nodes}
    }
    originals = place_of_originals(
        data, home, current_format, catalog, job.originals, reading[1][1],
        months=job.months, kept_days=job.kept_days,
    )  # fmt: skip
    if trains:
        baseline = while_writing(baseline, catalog, job)
    baseline = baseline.compared_with(baseline, passes, 0.0, 0.0)
    case = Case(workload, trains, catalog, job, limits, home, baseline, originals, passes, reading)
    stores, unsuitable = training_stores(profile, data, job, setting) if trains and job.runs_per_month else ([], [])
    ways = [(store, options_of(store, case)) for store in stores]
    allowed = [option for _, some in ways for option in some] if job.reencode else []
    kept, broken = case.judged([*options, *allowed])
    choice, criterion = case.best(kept)
    forms, missing = forms_of(ways, options, choice, data, setting, case) if stores else ([], [])
    stay = baseline.because(f"As it is now: plain files on {home.title}.")
    target = limits.max_epoch_s
    where = find_tier(catalog, choice.tier) if choice.has_originals else home
    kind = choice.store_format if choice.has_originals else "folder"
    written = round((job.checkpoint_bytes or 0) * job.checkpoints(choice.run_s(passes)))
    required = requirements_of(data, catalog, where or home, kind, job.ram, setting, target_s=target, written=written)
    advice: list[str] = []
    if trains:
        advice += checkpoint_advice(choice, catalog, job)
        if not choice.for_training:
            bought = bought_for(choice, where or home, data, setting)
            advice += offers(choice, bought, plan_of(choice, catalog, job.ram), data, setting)
        advice += forms_in_words(forms, case)
    return Recommendation(
        answer=answer(choice, stay, data.bytes, passes if job.runs_per_month else 0),
        choice=choice,
        alternatives=case.others(kept, choice),
        baseline=stay,
        workload=workload,
        confidence=None if verdict is None else verdict.probability,
        epochs=passes,
        nodes=setting.loading.nodes,
        criterion=criterion,
        doing_nothing=doing_nothing(stay, passes, job),
        conversion=conversion(choice, passes if job.runs_per_month else 0),
        plan=tuple(plan_for(choice, originals, profile.root, job.resize)),
        forms=tuple(forms),
        dropped=(*(infeasible(catalog, data, job.nodes) if trains else ()), *broken, *unsuitable, *missing),
        asks=required,
        notes=(
            *certainty(verdict),
            *(job.notes if trains else ()),
            *advice,
            *(in_words(required) if trains else ()),
            *long_run(choice, passes, job.nodes),
            *safety(originals.tier if choice.originals_tier is not None else where or home),
            *egress_notes([tier for tier in catalog if any(distances(tier, home, setting))], job.reads_from),
            *where_it_is(home, stay),
        ),
        assumptions=(
            *originals_kept(choice, originals, home),
            *([_place_now(current, home)] if isinstance(current, CurrentTier) else []),
            *taken_for_granted(home, setting, data, job, named=here is not None, trains=trains),
            *(Assumption("", line) for line in (volume_in_words(required, passes) if trains else ())),
        ),
    )


def _place_now(current: CurrentTier, home: Tier) -> Assumption:
    """Return what was seen of the dataset's place. A place that is no tier is assumed to be the home tier elsewhere."""
    return Assumption("" if current.tier is None else f"the dataset is on {home.title} now (`current`)", current.note)


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
            rule="needs `samples_per_s` of the job as well",
        )


def _current(catalog: Sequence[Tier], data: DatasetSizes, name: str | None) -> Tier:
    if name is not None:
        return tier_named(catalog, name, "current")
    lasting = [tier for tier in catalog if tier.is_lasting]
    fitting = [tier for tier in lasting if tier.holds(stored_bytes(data, "folder"))] or lasting
    if not fitting:
        names = ", ".join(tier.name for tier in catalog)
        raise UsageError("catalog", expected="a tier that outlives the machine", found=names or "no tier")
    return min(fitting, key=lambda tier: (tier.access == "object", tier.network))
