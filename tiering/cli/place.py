"""`tiering place`: the cheapest tier for each file, within the capacity and speed of the tiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.advice.ranking import HOUR_USD
from tiering.cli.choices import Catalog, HourPrice, Lenient, TraceColumns
from tiering.cli.output import JsonFlag, emit_json, note, out, solver_aside, status, table
from tiering.errors import UsageError
from tiering.literals import MovedAs
from tiering.units import (
    format_bytes,
    format_count,
    format_percent,
    format_usd,
    parse_number,
    parse_room,
    parse_seconds,
)

if TYPE_CHECKING:
    from tiering.placement.plan import Placement, PlacementSummary

#: Columns that the table needs.
WIDTH = 150


def place(
    trace: Annotated[Path, typer.Argument(metavar="TRACE|HEAT.csv", help="I/O trace, or a table written with --heat.")],
    capacity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TIER[=SIZE]",
            help="Tier to use, and its capacity. Without SIZE, the capacity in the catalog. May be repeated.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        MovedAs, typer.Option(help="Move single files or whole directories. A packed store always moves as one.")
    ] = "file",
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Place every file below DIR, even if the trace does not touch it, with its real size."
        ),
    ] = None,
    runs: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT",
            help="How many such runs there are in a month. By default they follow each other without a pause.",
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Duration of the trace, such as 90s or 2h, if the trace has no times."),
    ] = None,
    hour_price: HourPrice = HOUR_USD,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests in flight at the same time.")] = 1,
    most_busy: Annotated[float, typer.Option(help="Largest share of the time that a tier may be busy.")] = 1.0,
    catalog: Catalog = None,
    what_if: Annotated[
        Path | None,
        typer.Option(metavar="OTHER.toml", help="Also plan with this catalog, and compare."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the plan, as .csv or .json.")
    ] = None,
    lists: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a file list for each tier, for rsync and rclone.")
    ] = None,
    heat: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write how much each file was read and written, as .csv.")
    ] = None,
    columns: TraceColumns = None,
    lenient: Lenient = False,
    json: JsonFlag = False,
) -> None:
    """Find the cheapest storage tier for each file or directory, within the capacity and speed of the tiers.

    Prints a plan and moves nothing. With --lists it also writes file lists, and prints the commands that copy them.

    Example: `tiering place run.parquet --capacity nvme=10TB --capacity hdd=100TB --capacity object --lists lists/`
    """
    # Imported here so that `tiering --help` does not wait for Polars and SciPy.
    from tiering.advice.catalog import load_catalog
    from tiering.placement.file_costs import Month
    from tiering.placement.file_lists import commands, write_lists, write_plan
    from tiering.placement.heat_sources import read_heat, write_heat
    from tiering.placement.plan import place as plan

    room = dict(_room(capacity or []))
    catalogs = [load_catalog(catalog)] + ([load_catalog(what_if)] if what_if is not None else [])
    with status(f"Reading {trace}"):
        found = read_heat(trace, root=root, lenient=lenient, columns=columns)
    if heat is not None:
        write_heat(found, heat)
        note(f"Wrote {heat}.")
    with status("Placing"), solver_aside():
        month = Month(
            runs=None if runs is None else parse_number(runs),
            duration=None if duration is None else parse_seconds(duration),
            hour_usd=hour_price,
            in_flight=in_flight,
        )
        plans = [plan(found, room, tiers=tiers, by=by, month=month, most_busy=most_busy) for tiers in catalogs]
    written = write_lists(plans[0], lists) if lists is not None else ()
    if output is not None:
        write_plan(plans[0], output)
        note(f"Wrote {output}.")
    if json:
        other = {"what_if": plans[1].summary} if what_if is not None else {}
        emit_json({"plan": plans[0].summary, **other, "lists": written}, "placement")
        return
    _show(plans[0].summary)
    if what_if is not None:
        _compare(plans, ("catalog" if catalog is None else catalog.name, what_if.name))
    for line in plans[0].summary.notes:
        note(f"Note: {line}")
    for each in written:
        if each.not_carried:
            note(
                f"Note: rclone cannot copy {format_count(each.not_carried)} of {format_count(each.files)} files on "
                f"{each.tier} because of their names, such as {each.awkward!r}. {each.not_rclone} lists them; "
                f"rsync's list holds every name."
            )
    typed = commands(plans[0], written, catalogs[0])
    if typed:
        note("Nothing was moved. To copy the files, replace each TO_... with its destination and run:")
        for line in typed:
            note(f"  {line}")


def _room(given: Sequence[str]) -> Iterator[tuple[str, int | None]]:
    seen = set()
    for word in given:
        name, equals, size = word.partition("=")
        if not name or (equals and not size) or name in seen:
            found = "that tier twice" if name in seen else repr(word)
            raise UsageError(f"--capacity {word}", expected="TIER or TIER=SIZE, each tier once", found=found)
        seen.add(name)
        yield name, parse_room(size) if size else None


def _show(found: PlacementSummary) -> None:
    console = out(WIDTH)
    shown = table("tier", "files", "bytes", "of room", "busy", "storage", "access", "waiting", "USD/month", "all here")
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
            format_usd(share.monthly_usd),
            "cannot" if share.alone_usd is None else format_usd(share.alone_usd),
        )
    parts = [
        sum(getattr(share, name) for share in found.tiers) for name in ("storage_usd", "access_usd", "waiting_usd")
    ]
    shown.add_row(
        "in all",
        format_count(found.files),
        format_bytes(found.bytes),
        "",
        "",
        *map(format_usd, (*parts, found.monthly_usd)),
        "",
    )
    console.print(shown)
    console.print(_quality(found), soft_wrap=True)


def _quality(found: PlacementSummary) -> str:
    if found.proven:
        return "No plan costs less (to 0.01 %)."
    gap = 100 * found.gap
    shown = f"{gap:.2g}" if gap < 10 else f"{gap:.0f}"
    return f"Within {shown} % of the optimum: no plan costs less than {format_usd(found.bound_usd)} USD a month."


def _compare(plans: Sequence[Placement], names: tuple[str, str]) -> None:
    console = out(WIDTH)
    shown = table(
        "tier", *(f"{what}, {name}" for what in ("files", "bytes", "busy", "waiting h", "USD/month") for name in names)
    )
    one, two = (plan.summary for plan in plans)
    for first, second in zip(one.tiers, two.tiers, strict=True):
        shown.add_row(
            first.tier,
            *(format_count(each.files) for each in (first, second)),
            *(format_bytes(each.bytes) for each in (first, second)),
            *(format_percent(each.busy, 3) for each in (first, second)),
            *(f"{each.waiting_h:,.3g}" for each in (first, second)),
            *(format_usd(each.monthly_usd) for each in (first, second)),
        )
    console.print()
    console.print(shown)
    less = one.monthly_usd - two.monthly_usd
    difference = f"{format_usd(abs(less))} USD a month {'less' if less > 0 else 'more'}" if less else "the same"
    console.print(f"With {names[1]} it costs {difference}.", soft_wrap=True)
