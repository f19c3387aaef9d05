"""Place each file on a tier: the plan of least monthly cost within the tiers' room and rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from tiering.advice.catalog import Tier, load_catalog
from tiering.errors import UsageError
from tiering.literals import MovedAs
from tiering.placement.bundles import bundle
from tiering.placement.dual_prices import GROUPS
from tiering.placement.file_costs import Month, Terms, charges, occupied
from tiering.placement.heat import Heat
from tiering.placement.linear_program import shortage
from tiering.placement.problem import Problem, excess, loads
from tiering.placement.solver import assign
from tiering.units import format_bytes, format_count

_FEATURES: Final = ("size", "paged", "opens", "reads", "bytes_read", "bytes_written")


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
        waiting_h: Hours a month that readers and writers wait.
        waiting_usd: Cost of that waiting.
        monthly_usd: Total cost.
        alone_usd: Cost of everything on this tier; None where it lacks the room or the rate.
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
        hour_usd: Cost of an hour of waiting.
        runs: Runs like the trace in a month.
        duration: Seconds that the trace spans.
        notes: Assumptions, one sentence each.
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
    most_busy: float = 1.0,
) -> Placement:
    """Assign files to tiers for the least monthly cost: storage, requests, retrieval, and waiting.

    Args:
        heat: How much each file is read and written (tiering.read_heat).
        capacities: Names of the tiers to use, and bytes on each; None for the catalog's own capacity.
        tiers: The catalog; by default the shipped one.
        by: Unit that moves as one. A packed store always moves as one.
        month: The month that the plan is priced for; by default the trace repeats all month.
        most_busy: Share of its time that a tier may be busy.

    Returns:
        The plan. Nothing is moved.

    Raises:
        UsageError: For unknown tiers, a heat without files or duration, and tiers without the room or the rate for all
            files; the message then says what is missing and how much.

    Example:
        >>> heat = tiering.read_heat("run.parquet")  # doctest: +SKIP
        >>> tiering.place(heat, {"nvme": 10**12, "hdd": None}).summary.monthly_usd  # doctest: +SKIP
        611.71
    """
    chosen, room = _tiers(tiers, capacities)
    month = month or Month()
    terms = month.terms(heat.duration)
    if not 0 < most_busy <= 1:
        raise UsageError("most_busy", expected="a share above 0 and up to 1", found=f"{most_busy:g}")
    if heat.files.is_empty():
        raise UsageError("placement", expected="files to place", found="none")
    units, members = bundle(heat.files, by)
    problem = problem_of(units, chosen, room, terms, most_busy)
    found = assign(problem)
    if found is None:
        raise _short(problem, chosen)
    summary = PlacementSummary(
        tiers=_shares(units, problem, chosen, room, terms, found.choice),
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
        notes=(*heat.notes, *_notes(units, heat, terms, month)),
    )
    names = pl.Series("tier", [tier.name for tier in chosen], pl.String)[found.choice]
    cost = problem.cost[found.choice, np.arange(len(units))]
    shown = units.select(
        "path", "kind", pl.lit(names).alias("tier"), "files", "size", "reads", "bytes_read", "bytes_written"
    ).with_columns(monthly_usd=pl.lit(pl.Series(cost)))
    return Placement(summary, shown, members, heat.root)


def problem_of(
    units: pl.DataFrame, tiers: Sequence[Tier], room: Sequence[int | None], terms: Terms, most_busy: float = 1.0
) -> Problem:
    """Return the assignment problem of units (bundles.bundle) on tiers with this much room (bytes)."""
    cost, use = np.empty((len(tiers), len(units))), np.empty((2, len(tiers), len(units)))
    for number, tier in enumerate(tiers):
        charged = charges(units, tier, terms)
        cost[number] = charged.total(terms.hour_usd)
        use[0, number], use[1, number] = occupied(units, tier), charged.busy
    limits = np.full((2, len(tiers)), most_busy)
    limits[0] = [np.inf if size is None else size for size in room]
    return Problem(cost, use, limits, units.select(_FEATURES).to_numpy().astype(np.float64))


def _tiers(tiers: Sequence[Tier] | None, capacities: Mapping[str, int | None]) -> tuple[list[Tier], list[int | None]]:
    catalog = {tier.name: tier for tier in (load_catalog() if tiers is None else tiers)}
    lasting = [name for name, tier in catalog.items() if tier.access != "memory"]
    if not capacities:
        raise UsageError("capacities", expected="at least one tier", found="none", action="Name tiers in `capacities`.")
    for name, size in capacities.items():
        if name not in lasting:
            raise UsageError("capacities", expected=f"one of {', '.join(lasting)}", found=repr(name))
        if size is not None and size < 1:
            raise UsageError(f"capacities {name}", expected="at least 1 byte", found=f"{size:,}")
    chosen = [catalog[name] for name in capacities]
    return chosen, [capacities[tier.name] or tier.capacity for tier in chosen]


def _shares(
    units: pl.DataFrame,
    problem: Problem,
    tiers: Sequence[Tier],
    room: Sequence[int | None],
    terms: Terms,
    choice: np.ndarray[tuple[int, ...], np.dtype[np.intp]],
) -> tuple[TierShare, ...]:
    used = loads(problem, choice)
    shares = []
    for number, tier in enumerate(tiers):
        mine = units.filter(pl.Series(choice == number, dtype=pl.Boolean))
        charged = charges(mine, tier, terms)
        waiting = float(charged.waiting_s.sum()) / 3600
        everything = np.full(problem.items, number, np.intp)
        shares.append(
            TierShare(
                tier=tier.name,
                title=tier.title,
                units=len(mine),
                files=int(mine["files"].sum()),
                bytes=round(float(used[0, number])),
                capacity=room[number],
                busy=float(used[1, number]),
                storage_usd=float(charged.storage.sum()),
                access_usd=float(charged.access.sum()),
                waiting_h=waiting,
                waiting_usd=waiting * terms.hour_usd,
                monthly_usd=float(charged.total(terms.hour_usd).sum()),
                alone_usd=None if excess(problem, everything).any() else float(problem.cost[number].sum()),
            )
        )
    return tuple(shares)


def _notes(units: pl.DataFrame, heat: Heat, terms: Terms, month: Month) -> list[str]:
    notes = []
    if month.runs is None:
        notes.append(f"The trace is assumed to repeat all month, {terms.runs:,.4g} times; `runs` changes that.")
    if not heat.root:
        notes.append("Only files in the trace are placed, with the size seen there; `root` places all below it.")
    stores = int((units["kind"] == "store").sum())
    if stores:
        notes.append(f"{format_count(stores)} packed {'store moves' if stores == 1 else 'stores move'} as a whole.")
    return notes


def _short(problem: Problem, tiers: Sequence[Tier]) -> UsageError:
    """Return the error that says which capacities and rates are too small, and by how much."""
    short = shortage(problem.grouped(GROUPS))
    parts = []
    for number, tier in enumerate(tiers):
        if short[0, number]:
            parts.append(f"{tier.name} is short of {format_bytes(short[0, number] * problem.limits[0, number])}")
        if short[1, number]:
            parts.append(f"{tier.name} would be busy {1 + short[1, number]:.3g} times as long as it may be")
    total = float(problem.use[0].min(axis=0).sum())
    offered = float(problem.limits[0].sum())
    if total > offered:
        parts.insert(0, f"{format_bytes(total)} to place, {format_bytes(offered)} of room")
    return UsageError(
        "placement",
        expected="room and rate for everything",
        found="; ".join(parts) or "files too large to be divided within all limits",
        action="Raise `capacities`, add a faster tier, or change `by`.",
    )
