"""`tiering tiers`: show the catalog of storage tiers, and check a catalog of your own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.choices import Catalog
from tiering.cli.output import JsonFlag, emit_json, note, out, table
from tiering.cli.verbs import Verbs
from tiering.errors import UsageError
from tiering.units import format_bytes, format_rate, format_seconds

if TYPE_CHECKING:
    from rich.table import Table

    from tiering.advice.catalog import Tier

#: Columns that the widest table needs.
WIDTH = 140

tiers = Verbs(no_args_is_help=True, help="Show and check the catalog of storage tiers.")


@tiers.command("list")
def list_tiers(catalog: Catalog = None, json: JsonFlag = False) -> None:
    """List the tiers of the catalog with their speed and price.

    Example: `tiering tiers list`
    """
    from tiering.advice.catalog import load_catalog

    found = load_catalog(catalog)
    if json:
        emit_json({"tiers": found}, "tiers")
        return
    shown = table(
        *("tier", "sequential", "random", "reads/s", "writes", "p50", "p99", "in flight", "USD/GB/month"),
        *("USD/1,000 reads", "USD/GB read", "days at least"),
    )
    for tier in found:
        shown.add_row(
            tier.name,
            *map(format_rate, (tier.read_bandwidth, tier.random_bandwidth)),
            f"{tier.iops:,.0f}",
            format_rate(tier.write_bandwidth),
            *map(format_seconds, (tier.read_latency_p50, tier.read_latency_p99)),
            str(tier.queue_depth),
            *(f"{price:g}" for price in (tier.price, tier.request_price, tier.retrieval_price, tier.minimum_days)),
        )
    _print(shown)


@tiers.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Tier, such as nvme, hdd, nfs or object.")],
    catalog: Catalog = None,
    json: JsonFlag = False,
) -> None:
    """Show every figure of a tier, with its unit.

    Example: `tiering tiers show nvme`
    """
    from tiering.advice.catalog import find_tier, load_catalog

    known = load_catalog(catalog)
    tier = find_tier(known, name)
    if tier is None:
        raise UsageError("NAME", expected=f"one of {', '.join(each.name for each in known)}", found=repr(name))
    if json:
        emit_json(tier, "tier")
        return
    _print(figures_of(tier))
    if tier.read_points:
        _print(points_of(tier))


@tiers.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", envvar="TIERING_CATALOG", help="Catalog to check; by default the shipped one."
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Check a catalog of tiers, and warn about implausible figures.

    Exits with 3 if an entry is wrong. An implausible figure is only a warning.

    Example: `tiering tiers check mine.toml`
    """
    from tiering.advice.catalog import implausible, load_catalog

    found = load_catalog(file)
    warnings = [{"tier": tier.name, "warning": text} for tier in found for text in implausible(tier)]
    if json:
        emit_json({"tiers": [tier.name for tier in found], "warnings": warnings}, "catalog-check")
        return
    for each in warnings:
        note(f"Warning: tier.{each['tier']}: {each['warning']}.")
    where = "The shipped catalog" if file is None else str(file)
    out().print(f"{where}: {len(found)} tiers, {len(warnings)} warnings.")


def figures_of(tier: Tier) -> Table:
    """Return a table of a tier's figures, with value and meaning."""
    shown = table(tier.name, "", "")
    shown.columns[2].justify = "left"
    for key, field in type(tier).model_fields.items():
        if key not in {"name", "read_points"}:
            shown.add_row(key, _shown(key, getattr(tier, key)), f"  {field.description}")
    return shown


def points_of(tier: Tier) -> Table:
    """Return a table of a tier's measured reads."""
    shown = table("reads", "block", "in flight", "bandwidth", "reads/s", "p50", "p99")
    for point in sorted(tier.read_points, key=lambda each: (each.pattern, each.block, each.depth)):
        shown.add_row(
            point.pattern,
            f"{point.block >> 10} KiB",
            str(point.depth),
            format_rate(point.bandwidth),
            f"{point.bandwidth / point.block:,.0f}",
            format_seconds(point.p50),
            format_seconds(point.p99),
        )
    return shown


def _shown(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return "-" if value is None else str(value)
    in_units: dict[str, Callable[[float], str]] = {"capacity": format_bytes, "open_cost": format_seconds}
    in_units |= dict.fromkeys(("read_bandwidth", "random_bandwidth", "write_bandwidth"), format_rate)
    in_units |= dict.fromkeys(("read_latency_p50", "read_latency_p99"), format_seconds)
    if key in in_units:
        return in_units[key](value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _print(shown: Table) -> None:
    console = out(WIDTH)
    console.print(shown)
