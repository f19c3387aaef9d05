"""The tiers of a plan, the limits that it keeps on them, and the error that says which limits are too small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tiering.advice.catalog import Tier, tier_named
from tiering.errors import UsageError
from tiering.placement.dual_prices import GROUPS
from tiering.placement.linear_program import shortage
from tiering.placement.problem import Floats, Problem
from tiering.units import format_bytes, format_number


def capacities_of(tiers: Sequence[Tier], capacities: Mapping[str, int | None]) -> tuple[list[Tier], list[int | None]]:
    """Return the tiers of a plan and the bytes on each. Raises UsageError for unknown ones."""
    lasting = [tier for tier in tiers if tier.is_lasting]
    if not capacities:
        raise UsageError("capacities", rule="needs at least one tier", action="Name tiers in `capacities`.")
    chosen = [tier_named(lasting, name, "capacities") for name in capacities]
    for name, size in capacities.items():
        if size is not None and size < 1:
            raise UsageError(f"capacities {name}", rule="must be at least 1 byte", found=f"{size:,}")
    return chosen, [capacities[tier.name] or tier.capacity for tier in chosen]


def limits_of(sizes: Sequence[int | None], most_busy: float) -> Floats:
    """Return the limits of a problem (Problem.limits): bytes on each tier, and the share of its time it may be busy."""
    limits = np.full((2, len(sizes)), most_busy)
    limits[0] = [np.inf if size is None else size for size in sizes]
    return limits


def check_most_busy(most_busy: float) -> None:
    """Raise UsageError for an impossible share of a tier's time."""
    if not 0 < most_busy <= 1:
        raise UsageError("most_busy", rule="must be a share above 0 and up to 1", found=format_number(most_busy, 6))


def shortage_error(problem: Problem, tiers: Sequence[Tier]) -> UsageError:
    """Return the error that says which capacities and rates are too small, and by how much."""
    short = shortage(problem.grouped(GROUPS))
    parts = []
    for number, tier in enumerate(tiers):
        if short[0, number]:
            parts.append(f"{tier.name} is short of {format_bytes(short[0, number] * problem.limits[0, number])}")
        if short[1, number]:
            parts.append(f"{tier.name} would be busy {format_number(1 + short[1, number])} times as long as it may be")
    total = float(problem.use[0].min(axis=0).sum())
    offered = float(problem.limits[0].sum())
    if total > offered:
        parts.insert(0, f"{format_bytes(total)} to place, {format_bytes(offered)} of capacity")
    return UsageError(
        "placement",
        expected="capacity and rate for everything",
        found="; ".join(parts) or "files too large to be divided within all limits",
        action="Raise `capacities`, add a faster tier, or change `by`.",
    )
