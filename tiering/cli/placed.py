"""Print a plan in short: its tiers, how good it is, and another one beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tiering.cli.output import out, table
from tiering.placement.plan import PlacementSummary
from tiering.units import counted, format_bytes, format_count, format_number, format_percent, format_usd


def show_plan(found: PlacementSummary) -> None:
    """Print the tiers of a plan, and how good it is."""
    console = out()
    shown = table(
        "tier",
        "files",
        "bytes",
        "of capacity",
        "busy",
        "storage",
        "access",
        "waiting",
        "moving",
        "USD/month",
        "all here",
    )
    for share in found.tiers:
        shown.add_row(
            share.tier,
            format_count(share.files),
            format_bytes(share.bytes),
            "-" if share.capacity is None else format_percent(share.bytes / share.capacity, 3),
            format_percent(share.busy, 3),
            format_usd(share.storage_usd),
            format_usd(share.access_usd),
            format_usd(share.waiting_usd),
            format_usd(share.moving_usd),
            format_usd(share.monthly_usd),
            "cannot" if share.alone_usd is None else format_usd(share.alone_usd),
        )
    parts = [
        sum(getattr(share, name) for share in found.tiers)
        for name in ("storage_usd", "access_usd", "waiting_usd", "moving_usd")
    ]
    shown.add_row(
        "in all",
        format_count(found.files),
        format_bytes(sum(share.bytes for share in found.tiers)),
        "",
        "",
        *map(format_usd, (*parts, found.monthly_usd)),
        "",
    )
    console.say(_answer(found))
    console.show(shown, drop=("moving", "waiting", "access", "storage", "of capacity", "busy"))


def _answer(found: PlacementSummary) -> str:
    """Return what goes where, what that costs beside having everything on the best single tier, and how good it is."""
    used = [share for share in found.tiers if share.files]
    parts = " and ".join(
        f"{counted(share.files, 'file')} ({format_bytes(share.bytes)}) on {share.tier}" for share in used
    )
    alone = [(share.alone_usd, share.tier) for share in found.tiers if share.alone_usd is not None]
    beside = f", {format_usd(min(alone)[0])} with all on {min(alone)[1]}" if alone and len(used) > 1 else ""
    return f"Put {parts}: {format_usd(found.monthly_usd)} USD a month{beside}. {_quality(found)}"


def _quality(found: PlacementSummary) -> str:
    if found.proven:
        return "No plan costs less (to 0.01 %)."
    gap = 100 * found.gap
    shown = format_number(gap, 2)
    return f"Within {shown} % of the optimum: no plan costs less than {format_usd(found.bound_usd)} USD a month."


def compare(plans: Sequence[PlacementSummary], names: tuple[str, str]) -> None:
    """Print two plans side by side. names: of their catalogs."""
    console = out()
    shown = table(
        "tier", *(f"{what}, {name}" for what in ("files", "bytes", "busy", "waiting h", "USD/month") for name in names)
    )
    one, two = plans
    for first, second in zip(one.tiers, two.tiers, strict=True):
        shown.add_row(
            first.tier,
            *(format_count(each.files) for each in (first, second)),
            *(format_bytes(each.bytes) for each in (first, second)),
            *(format_percent(each.busy, 3) for each in (first, second)),
            *(format_number(each.waiting_h) for each in (first, second)),
            *(format_usd(each.monthly_usd) for each in (first, second)),
        )
    console.print()
    console.show(shown)
    less = one.monthly_usd - two.monthly_usd
    difference = f"{format_usd(abs(less))} USD a month {'less' if less > 0 else 'more'}" if less else "the same"
    console.say(f"With {names[1]} it costs {difference}.")


def name_of(catalog: Path | None) -> str:
    """Return a catalog's name in a table."""
    return "catalog" if catalog is None else catalog.name
