"""Place whole datasets: the tier of each, the moves that gain most, caches to buy, and what each job gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tiering.advice.catalog import Tier, load_catalog, tier_named
from tiering.advice.sizing import sized
from tiering.errors import UsageError
from tiering.placement.capacities import capacities_of, check_most_busy, limits_of, shortage_error
from tiering.placement.dataset_advice import CacheToBuy, JobShare, Move, caches, job_shares, top_moves
from tiering.placement.dataset_costs import DatasetCosts, Evidence, dataset_costs, evidence_of, months_of, read_a_month
from tiering.placement.month import Month
from tiering.placement.plan import MOST_BUSY, PlacementSummary, TierShare
from tiering.placement.problem import Choice, Floats, Problem, excess, loads
from tiering.placement.solver import assign
from tiering.placement.survey import Survey, SurveyedDataset
from tiering.text import first_few
from tiering.units import counted, format_percent

#: Months over which the cost of a move is spread: a move that pays back later is not made.
KEPT_MONTHS: Final = 12


@dataclass(frozen=True, slots=True)
class PlacedDataset:
    """A dataset in a plan. Money is USD a month.

    Attributes:
        path: Its directory.
        kind: Its kind, as in the survey.
        files: Number of files.
        bytes: Bytes of these.
        from_tier: The tier that holds it now; None where that is not known.
        to_tier: The tier that the plan has it on.
        evidence: What is known of its reads: a trace, access times, or nothing.
        read_bytes: Bytes read in a month, by that evidence.
        monthly_usd: Cost on to_tier: storage, requests, retrieval and waiting.
        waiting_h: Hours a month that jobs wait for it.
    """

    path: str
    kind: str
    files: int
    bytes: int
    from_tier: str | None
    to_tier: str
    evidence: Evidence
    read_bytes: float
    monthly_usd: float
    waiting_h: float


@dataclass(frozen=True, slots=True)
class DatasetPlacement:
    """A plan for datasets.

    Attributes:
        summary: The plan in short.
        datasets: The tier and the cost of each dataset, in the order of the survey.
        moves: The ten moves that gain most.
        caches: Caches that save more than they cost.
        jobs: What each job gets of each tier that it uses, under the plan.
    """

    summary: PlacementSummary
    datasets: tuple[PlacedDataset, ...]
    moves: tuple[Move, ...]
    caches: tuple[CacheToBuy, ...]
    jobs: tuple[JobShare, ...]


def place_datasets(
    found: Survey,
    capacities: Mapping[str, int | None],
    *,
    tiers: Sequence[Tier] | None = None,
    month: Month | None = None,
    runs_per_month: Mapping[str, float] | None = None,
    most_busy: float = MOST_BUSY,
    current: Callable[[SurveyedDataset, Sequence[Tier]], str | None] | None = None,
) -> DatasetPlacement:
    """Assign the datasets of a survey to tiers for the least monthly cost.

    Args:
        found: The survey, with the traces of its jobs.
        capacities: Names of the tiers to use, and bytes on each; None for the catalog's own capacity.
        tiers: The catalog; by default the shipped one.
        month: The month that the plan is priced for.
        runs_per_month: Runs of a job in a month, by the path or the name of its trace; by default those of `month`.
        most_busy: Share of its time that a tier may be busy while all jobs run.
        current: Returns the name of the tier that holds a dataset now, None where that is not known.

    Returns:
        The plan. Nothing is moved. Where no plan keeps the rates, the best plan without them, and a note.

    Raises:
        UsageError: For unknown tiers, a survey without datasets, a trace that spans no time, and capacities that are
            too small.

    Example:
        >>> found = tiering.survey(["/data"], traces=["train.strace"])  # doctest: +SKIP
        >>> tiering.place_datasets(found, {"nvme": 10**13, "nfs": None}).moves[0].to_tier  # doctest: +SKIP
        'nvme'
    """
    catalog = load_catalog() if tiers is None else tiers
    chosen, sizes = capacities_of(catalog, capacities)
    if not found.datasets:
        raise UsageError("placement", found="the survey has no dataset")
    check_most_busy(most_busy)
    month = month or Month()
    names = [current(dataset, catalog) if current else None for dataset in found.datasets]
    homes = [None if name is None else tier_named(catalog, name, "current") for name in names]
    # Tiers that hold datasets now, and tiers for caches, are priced too. Nothing is placed on them.
    further = [*(home for home in homes if home), *(tier for tier in catalog if tier.is_local and tier.is_lasting)]
    # As they would be bought: as large as was said, or as all datasets.
    total = float(sum(dataset.bytes for dataset in found.datasets))
    priced = {tier.name: sized(tier, capacities.get(tier.name) or total) for tier in (*chosen, *further)}
    every, numbers = [*priced.values()], {name: number for number, name in enumerate(priced)}
    months = months_of(found, month, runs_per_month or {})
    costs = dataset_costs(found, every, months, homes)
    hour_usd = month.hour_usd * month.nodes
    monthly = costs.storage + costs.access + costs.waiting_s * (hour_usd / 3600)
    problem = _problem(monthly + costs.moving / KEPT_MONTHS, costs, limits_of(sizes, most_busy))
    plan, notes = assign(problem), _notes(found, names, months, costs)
    if plan is None:
        plan = assign(replace(problem, limits=limits_of(sizes, np.inf)))
        if plan is None:
            raise shortage_error(problem, chosen)
        notes.append(
            f"No plan keeps all tiers below {format_percent(most_busy)} busy while all jobs run. This one "
            f"ignores that; the jobs share the tiers, and `jobs` says what each gets."
        )
    now = [None if name is None else numbers[name] for name in names]
    known = evidence_of(found)
    read = read_a_month(found, costs.terms)
    return DatasetPlacement(
        summary=PlacementSummary(
            tiers=_shares(found, costs, problem, chosen, sizes, plan.choice, hour_usd),
            units=len(found.datasets),
            files=sum(dataset.files for dataset in found.datasets),
            bytes=sum(dataset.bytes for dataset in found.datasets),
            monthly_usd=plan.cost,
            bound_usd=plan.bound,
            gap=plan.gap,
            proven=plan.proven,
            hour_usd=hour_usd,
            runs=max((terms.runs for terms in costs.terms), default=0.0),
            duration=max((terms.duration for terms in costs.terms), default=0.0),
            notes=(*found.notes, *notes),
            processes=max((terms.processes for terms in costs.terms), default=1.0),
            duty_cycle=sum(terms.duty_cycle for terms in costs.terms),
        ),
        datasets=tuple(
            PlacedDataset(
                path=dataset.path,
                kind=dataset.kind,
                files=dataset.files,
                bytes=dataset.bytes,
                from_tier=names[number],
                to_tier=chosen[tier].name,
                evidence=known[number],
                read_bytes=float(read[number]),
                monthly_usd=float(monthly[tier, number]),
                waiting_h=float(costs.waiting_s[tier, number]) / 3600,
            )
            for number, (dataset, tier) in enumerate(zip(found.datasets, plan.choice.tolist(), strict=True))
        ),
        moves=top_moves(found, costs, every, now, plan.choice, hour_usd),
        caches=caches(found, costs, every, plan.choice, hour_usd),
        jobs=job_shares(found, costs, every, plan.choice),
    )


def _problem(cost: Floats, costs: DatasetCosts, limits: Floats) -> Problem:
    """Return the problem of assigning datasets to the tiers that have limits, which are the first ones of the costs."""
    tiers = limits.shape[1]
    use = np.stack([costs.occupied[:tiers], costs.busy[:, :tiers].sum(axis=0)])
    like = np.concatenate([cost[:tiers], use.reshape(-1, use.shape[2])]).T
    return Problem(cost[:tiers].copy(), use, limits, like)


def _shares(
    found: Survey,
    costs: DatasetCosts,
    problem: Problem,
    tiers: Sequence[Tier],
    sizes: Sequence[int | None],
    choice: Choice,
    hour_usd: float,
) -> tuple[TierShare, ...]:
    used, shares = loads(problem, choice), []
    processes = max((terms.processes for terms in costs.terms), default=1.0)
    for number, tier in enumerate(tiers):
        mine = np.flatnonzero(choice == number)
        waiting = float(costs.waiting_s[number, mine].sum()) / 3600
        storage, access, moving = (
            float(each[number, mine].sum()) for each in (costs.storage, costs.access, costs.moving / KEPT_MONTHS)
        )
        everything = np.full(problem.items, number, np.intp)
        shares.append(
            TierShare(
                tier=tier.name,
                title=tier.title,
                units=len(mine),
                files=sum(found.datasets[at].files for at in mine.tolist()),
                bytes=round(float(used[0, number])),
                capacity=sizes[number],
                busy=float(used[1, number]),
                storage_usd=storage,
                access_usd=access,
                waiting_h=waiting,
                waiting_usd=waiting * hour_usd,
                monthly_usd=storage + access + moving + waiting * hour_usd,
                alone_usd=None if excess(problem, everything).any() else float(problem.cost[number].sum()),
                moving_usd=moving,
                rank_waiting_h=waiting * processes,
            )
        )
    return tuple(shares)


def _notes(found: Survey, names: Sequence[str | None], months: Sequence[Month], costs: DatasetCosts) -> list[str]:
    jobs = [*zip(found.jobs, months, costs.terms, strict=True)]
    notes = [f"{job.trace}: {said}" for job, month, terms in jobs if (said := month.note(terms))]
    notes += [f"{job.trace}: {said}" for job, _, terms in jobs for said in terms.notes(0.0)]
    if len(found.jobs) > 1:
        notes.append("All jobs are taken to run at the same time.")
    if any(costs.moving.ravel()):
        notes.append(f"The cost of a move is spread over {KEPT_MONTHS} months.")
    known = evidence_of(found)
    for evidence, meaning in (
        ("access times", "Known only by access times, and priced for storage, requests and retrieval alone"),
        ("nothing", "On file systems that record no reads, and taken to be read once a month"),
    ):
        paths = [each.path for each, what in zip(found.datasets, known, strict=True) if what == evidence]
        if paths:
            notes.append(f"{meaning}: {counted(len(paths), 'dataset')} ({first_few(paths, 2, separator=', ')}).")
    unknown = [dataset.path for dataset, name in zip(found.datasets, names, strict=True) if name is None]
    if unknown:
        notes.append(
            f"It is not known which tier holds {counted(len(unknown), 'dataset')} now "
            f"({first_few(unknown, 2, separator=', ')}), so no move of them is named; `current` changes that."
        )
    return notes
