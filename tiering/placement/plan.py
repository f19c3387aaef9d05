"""Place each file on a tier: the plan of least monthly cost within the tiers' capacity and rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from tiering.advice.catalog import Tier, load_catalog, tier_named
from tiering.advice.sizing import sized
from tiering.errors import UsageError
from tiering.literals import MovedAs
from tiering.placement.bundles import bundle
from tiering.placement.capacities import capacities_of, check_most_busy, limits_of, shortage_error
from tiering.placement.file_costs import AT_LEAST, charges, occupied, price_notes
from tiering.placement.heat import Heat
from tiering.placement.month import Month, Terms
from tiering.placement.problem import Choice, Problem, excess, loads
from tiering.placement.solver import assign
from tiering.placement.traced_pace import at_traced_pace
from tiering.units import format_count

#: Default of the largest share of its time that a tier may be busy. Queues grow without bound towards 1.
MOST_BUSY: Final = 0.8
_FEATURES: Final = ("size", "paged", "files", "opens", "reads", "bytes_read", "bytes_written")


@dataclass(frozen=True, slots=True)
class TierShare:
    """One tier's part of a plan. Money is USD a month.

    Attributes:
        tier: Name of the tier.
        title: The tier's name in a sentence.
        units: Number of units: files, directories and stores that move as one.
        files: Number of files.
        bytes: Bytes as the tier stores them.
        capacity: Bytes; None for no limit.
        busy: Share of the time that the tier works for its files, at the trace's mean rate.
        storage_usd: Cost of storage.
        access_usd: Cost of requests and retrieval.
        waiting_h: Hours a month that the job waits. Processes that wait at the same time count once.
        waiting_usd: Cost of that waiting.
        monthly_usd: Total cost.
        alone_usd: Cost of everything on this tier; None where it lacks the capacity or the rate.
        moving_usd: The part of the cost that is paid once, in this month, for bringing files there.
        rank_waiting_h: Hours a month that its processes wait, added up.
    """

    tier: str
    title: str
    units: int
    files: int
    bytes: int
    capacity: int | None
    busy: float
    storage_usd: float
    access_usd: float
    waiting_h: float
    waiting_usd: float
    monthly_usd: float
    alone_usd: float | None
    moving_usd: float = 0.0
    rank_waiting_h: float = 0.0


@dataclass(frozen=True, slots=True)
class PlacementSummary:
    """A plan in short.

    Attributes:
        tiers: Each tier's part.
        units: Number of units.
        files: Number of files.
        bytes: Bytes of all files.
        monthly_usd: Cost of all tiers, waiting included.
        bound_usd: No plan costs less.
        gap: Excess of the plan over the bound, as a share of the bound.
        proven: Whether no plan costs less (to 0.01 %).
        hour_usd: Cost of an hour of waiting, for all nodes of the job.
        runs: Runs like the trace in a month.
        duration: Seconds that the trace spans.
        notes: Assumptions, one sentence each.
        current: Name of the tier that holds everything now; None where that is not known.
        processes: Processes that wait at the same time.
        duty_cycle: Share of the month in which the job runs, at the pace of the trace; above 1 where runs must overlap.
    """

    tiers: tuple[TierShare, ...]
    units: int
    files: int
    bytes: int
    monthly_usd: float
    bound_usd: float
    gap: float
    proven: bool
    hour_usd: float
    runs: float
    duration: float
    notes: tuple[str, ...]
    current: str | None = None
    processes: float = 1.0
    duty_cycle: float = 1.0


@dataclass(frozen=True, slots=True)
class Placement:
    """A plan: its summary, and the tier of every unit and file.

    Attributes:
        summary: The plan in short.
        units: One row for each unit, sorted by path: path, kind, tier, files, size (bytes), reads, bytes_read,
            bytes_written (of the trace), monthly_usd.
        members: One row for each file: path, and unit, its row in units.
        root: Directory that the paths are relative to; "" where they are as traced.
    """

    summary: PlacementSummary
    units: pl.DataFrame
    members: pl.DataFrame
    root: str = ""


def place(
    heat: Heat,
    capacities: Mapping[str, int | None],
    *,
    tiers: Sequence[Tier] | None = None,
    by: MovedAs = "file",
    month: Month | None = None,
    current: str | None = None,
    most_busy: float = MOST_BUSY,
) -> Placement:
    """Assign files to tiers for the least monthly cost: storage, requests, retrieval, and waiting.

    Args:
        heat: How much each file is read and written (tiering.read_heat).
        capacities: Names of the tiers to use, and bytes on each; None for the catalog's own capacity.
        tiers: The catalog; by default the shipped one.
        by: Unit that moves as one. A packed store always moves as one.
        month: The month that the plan is priced for; by default one run, or a month like the trace if it spans a day.
        current: Name of the tier that holds all files now. Bringing them to any other one is paid in this month, by
            default to each.
        most_busy: Share of its time that a tier may be busy.

    Returns:
        The plan. Nothing is moved.

    Raises:
        UsageError: For unknown tiers, a heat without files or duration, and tiers without the capacity or the rate for
            all files; the message then says what is missing and how much.

    Example:
        >>> heat = tiering.read_heat("run.parquet")  # doctest: +SKIP
        >>> tiering.place(heat, {"nvme": 10**12, "hdd": None}).summary.monthly_usd  # doctest: +SKIP
        611.71
    """
    catalog = load_catalog() if tiers is None else tiers
    chosen, sizes = capacities_of(catalog, capacities)
    month = month or Month()
    terms = month.terms(heat.duration, heat.processes)
    check_most_busy(most_busy)
    if heat.files.is_empty():
        raise UsageError("placement", rule="needs files to place")
    home = None if current is None else tier_named(catalog, current, "current")
    notes = [*price_notes(chosen, home)]
    # As they would be bought: as large as was said, or as all files.
    everything = float(heat.files["size"].sum())
    chosen = [sized(tier, capacities[tier.name] or everything) for tier in chosen]
    units, members = bundle(heat.files, by, {tier.minimum_object for tier in chosen})
    if month.in_flight is None:
        terms = at_traced_pace(units, terms, chosen, [home] * len(units))
    problem = problem_of(units, chosen, sizes, terms, most_busy, home)
    found = assign(problem)
    if found is None:
        raise shortage_error(problem, chosen)
    shares = _shares(units, problem, chosen, sizes, terms, home, found.choice)
    summary = PlacementSummary(
        tiers=shares,
        units=len(units),
        files=len(members),
        bytes=int(units["size"].sum()),
        monthly_usd=found.cost,
        bound_usd=found.bound,
        gap=found.gap,
        proven=found.proven,
        hour_usd=terms.hour_usd,
        runs=terms.runs,
        duration=terms.duration,
        notes=(
            *heat.notes,
            *_notes(units, heat, terms, month),
            *terms.notes(3600 * sum(share.waiting_h for share in shares)),
            *notes,
        ),
        current=current,
        processes=terms.processes,
        duty_cycle=terms.duty_cycle,
    )
    names = pl.Series("tier", [tier.name for tier in chosen], pl.String)[found.choice]
    cost = problem.cost[found.choice, np.arange(len(units))]
    shown = units.select(
        "path", "kind", pl.lit(names).alias("tier"), "files", "size", "reads", "bytes_read", "bytes_written"
    ).with_columns(monthly_usd=pl.lit(pl.Series(cost)))
    return Placement(summary, shown, members, heat.root)


def problem_of(
    units: pl.DataFrame,
    tiers: Sequence[Tier],
    sizes: Sequence[int | None],
    terms: Terms,
    most_busy: float = MOST_BUSY,
    current: Tier | None = None,
) -> Problem:
    """Return the assignment problem of units (bundles.bundle), now on `current`, on tiers of these sizes (bytes)."""
    cost, use = np.empty((len(tiers), len(units))), np.empty((2, len(tiers), len(units)))
    for number, tier in enumerate(tiers):
        charged = charges(units, tier, terms, current)
        cost[number] = charged.total(terms.hour_usd)
        use[0, number], use[1, number] = occupied(units, tier), charged.busy
    features = units.select(*_FEATURES, *(name for name in units.columns if name.startswith(AT_LEAST)))
    return Problem(cost, use, limits_of(sizes, most_busy), features.to_numpy().astype(np.float64))


def _shares(
    units: pl.DataFrame,
    problem: Problem,
    tiers: Sequence[Tier],
    sizes: Sequence[int | None],
    terms: Terms,
    current: Tier | None,
    choice: Choice,
) -> tuple[TierShare, ...]:
    used = loads(problem, choice)
    shares = []
    for number, tier in enumerate(tiers):
        mine = units.filter(pl.Series(choice == number, dtype=pl.Boolean))
        charged = charges(mine, tier, terms, current)
        waiting = float(charged.waiting_s.sum()) / 3600
        everything = np.full(problem.items, number, np.intp)
        shares.append(
            TierShare(
                tier=tier.name,
                title=tier.title,
                units=len(mine),
                files=int(mine["files"].sum()),
                bytes=round(float(used[0, number])),
                capacity=sizes[number],
                busy=float(used[1, number]),
                storage_usd=float(charged.storage.sum()),
                access_usd=float(charged.access.sum()),
                waiting_h=waiting,
                waiting_usd=waiting * terms.hour_usd,
                monthly_usd=float(charged.total(terms.hour_usd).sum()),
                moving_usd=float(charged.moving.sum()),
                alone_usd=None if excess(problem, everything).any() else float(problem.cost[number].sum()),
                rank_waiting_h=waiting * terms.processes,
            )
        )
    return tuple(shares)


def _notes(units: pl.DataFrame, heat: Heat, terms: Terms, month: Month) -> list[str]:
    said = month.note(terms)
    notes = [] if said is None else [said]
    if not heat.root:
        notes.append("Only files in the trace are placed, with the size seen there; `root` places all below it.")
    stores = int((units["kind"] == "store").sum())
    if stores:
        notes.append(f"{format_count(stores)} packed {'store moves' if stores == 1 else 'stores move'} as a whole.")
    return notes
