"""`tiering tiers`: show the catalog of storage tiers, and check a catalog of your own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli import completion
from tiering.cli.choices import Catalog, OfCloud
from tiering.cli.output import JsonFlag, emit_json, note, out, table
from tiering.cli.verbs import Verbs
from tiering.units import format_bytes, format_number, format_rate, format_seconds

if TYPE_CHECKING:
    from rich.table import Table

    from tiering.advice.catalog import Tier


#: Columns of the list that a narrow terminal leaves out, the first one first.
_NARROW = ("days at least", "in flight", "p50", "USD/GB read", "USD/1,000 reads", "writes", "p99", "random")

tiers = Verbs(no_args_is_help=True, help="Show and check the catalog of storage tiers.")


@tiers.command("list")
def list_tiers(catalog: Catalog = None, cloud: OfCloud = None, json: JsonFlag = False) -> None:
    """List the tiers of the catalog with their speed and price.

    Example: `tiering tiers list`
    """
    from tiering.advice.catalog import load_catalog

    found = load_catalog(catalog, cloud=cloud)
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
            *(
                format_number(price, 6)
                for price in (tier.price, tier.request_price, tier.retrieval_price, tier.minimum_days)
            ),
        )
    out().show(shown, drop=_NARROW)


@tiers.command()
def show(
    name: Annotated[
        str,
        typer.Argument(metavar="TIER", autocompletion=completion.tiers, help="Tier, such as nvme, hdd, nfs or object."),
    ],
    catalog: Catalog = None,
    cloud: OfCloud = None,
    json: JsonFlag = False,
) -> None:
    """Show every figure of a tier, with its unit.

    Example: `tiering tiers show nvme`
    """
    from tiering.advice.catalog import load_catalog, tier_named

    tier = tier_named(load_catalog(catalog, cloud=cloud), name, "NAME")
    if json:
        emit_json(tier, "tier")
        return
    out().show(figures_of(tier))
    if tier.read_points:
        out().show(points_of(tier))


@tiers.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", envvar="TIERING_CATALOG", help="Catalog to check; by default the shipped one."),
    ] = None,
    cloud: OfCloud = None,
    json: JsonFlag = False,
) -> None:
    """Check a catalog of tiers: name everything that is wrong with it, and warn about implausible figures.

    Exits with 3 if an entry is wrong. An implausible figure is only a warning.

    Example: `tiering tiers check mine.toml`
    """
    from tiering.advice.catalog import read_catalog
    from tiering.advice.plausible import implausible

    found, wrong = read_catalog(file, cloud=cloud)
    warnings = [{"tier": tier.name, "warning": text} for tier in found for text in implausible(tier)]
    if json:
        errors = [str(error) for error in wrong]
        emit_json({"tiers": [tier.name for tier in found], "warnings": warnings, "errors": errors}, "catalog-check")
    for error in wrong:
        note(f"{type(error).__name__}: {error}")
    if not json:
        for each in warnings:
            note(f"Warning: tier.{each['tier']}: {each['warning']}.")
    if wrong:
        raise typer.Exit(wrong[0].exit_code)
    if not json:
        where = str(file) if file is not None else "The shipped catalog" if cloud is None else f"The preset {cloud}"
        out().say(f"{where}: {len(found)} tiers, {len(warnings)} warnings.")


def figures_of(tier: Tier) -> Table:
    """Return a table of a tier's figures, with value and meaning."""
    shown = table(tier.name, "", "", title=tier.title)
    shown.columns[2].justify, shown.columns[2].no_wrap = "left", False
    for key, field in type(tier).model_fields.items():
        if key not in {"name", "title", "read_points"}:
            shown.add_row(key, _shown(key, getattr(tier, key)), f"  {(field.description or '').replace('None:', '-:')}")
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
        return str(value) if value else "-"
    return _unit_of(key)(value)


def _unit_of(key: str) -> Callable[[float], str]:
    """Return the function that writes a figure in its unit."""
    if key.endswith("_bandwidth") or key == "bandwidth_per_tib":
        return format_rate
    if key in {"read_latency_p50", "read_latency_p99", "open_cost"}:
        return format_seconds
    if key in {"capacity", "minimum_capacity", "capacity_step", "minimum_object"}:
        return format_bytes
    if key == "durability":
        return "{:.14g}".format
    return format_number
