"""`tiering place`: the cheapest tier for each file, within the capacity and speed of the tiers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.advice.hour_price import HOUR_USD
from tiering.cli import completion
from tiering.cli.choices import MOST_WORKERS, Catalog, HourPrice, Lenient, OfCloud, TraceColumns, either
from tiering.cli.output import JsonFlag, emit_json, note, solver_aside, status
from tiering.cli.panels import INPUT, JOB, OUTPUT, STORAGE
from tiering.cli.progress import progress
from tiering.errors import UsageError
from tiering.literals import PlacedAs
from tiering.units import format_count, parse_capacity, parse_number, parse_seconds

if TYPE_CHECKING:
    from tiering.advice.catalog import Tier
    from tiering.placement.file_lists import FileList
    from tiering.placement.plan import Placement


def place(
    traces: Annotated[
        list[Path],
        typer.Argument(
            metavar="TRACE|HEAT.csv|SURVEY.json",
            autocompletion=completion.traces,
            help="Trace, table written with --heat, or survey. Several with --by dataset.",
        ),
    ],
    capacity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TIER[=SIZE]",
            show_default=False,
            rich_help_panel=STORAGE,
            autocompletion=completion.tiers,
            help="Tier to use, and its size if not the catalog's. May be repeated.",
        ),
    ] = None,
    tier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[DIR=]TIER",
            show_default=False,
            rich_help_panel=STORAGE,
            autocompletion=completion.tiers,
            help="Tier that holds all now, or what is below DIR. May be repeated.",
        ),
    ] = None,
    by: Annotated[
        PlacedAs,
        typer.Option(
            rich_help_panel=INPUT, metavar=either(PlacedAs), help="What moves as one. A survey is placed by dataset."
        ),
    ] = "file",
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=INPUT, help="Also place the files below DIR that the trace does not touch."
        ),
    ] = None,
    runs_per_month: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[TRACE=]COUNT",
            show_default=False,
            rich_help_panel=JOB,
            help="Such runs in a month. By default 1, or as many as fit behind each other.",
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", rich_help_panel=JOB, help="Duration of the trace, such as 90s or 2h, if it has no times."
        ),
    ] = None,
    hour_price: HourPrice = HOUR_USD,
    nodes: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST_WORKERS,
            rich_help_panel=JOB,
            metavar="COUNT",
            help="Nodes that the job occupies; all of them wait.",
        ),
    ] = 1,
    in_flight: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default=False,
            rich_help_panel=JOB,
            metavar="COUNT",
            help="Requests in flight. By default one for each process that runs.",
        ),
    ] = None,
    most_busy: Annotated[
        float,
        typer.Option(
            rich_help_panel=STORAGE, metavar="SHARE", help="Largest share of the time that a tier may be busy."
        ),
    ] = 0.8,
    catalog: Catalog = None,
    cloud: OfCloud = None,
    what_if: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=STORAGE, help="Also plan with this catalog, and compare."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="Write the plan, as .csv or .json."
        ),
    ] = None,
    lists: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=OUTPUT, help="Write a file list for each tier, for rsync and rclone."
        ),
    ] = None,
    heat: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, help="Write how much each file was read and written, as .csv."
        ),
    ] = None,
    columns: TraceColumns = None,
    lenient: Lenient = False,
    json: JsonFlag = False,
) -> None:
    """Find the cheapest storage tier for each file or directory, within the capacity and speed of the tiers.

    Prints a plan and moves nothing. With --lists it also writes file lists, and prints the commands that copy them.

    A packed store always moves as one. With --tier, moving to any other tier is paid for. A trace of a day or more
    counts as often as a month holds it, any other once; for the jobs of a survey, repeat --runs-per-month with TRACE.

    Example: `tiering place train.strace --capacity nvme=2MB --capacity hdd=100TB --lists lists/`
    """
    # Imported here so that `tiering --help` does not wait for Polars and SciPy.
    from tiering.advice.catalog import load_catalog
    from tiering.cli.placed import compare, name_of, show_plan
    from tiering.cli.placed_datasets import refuse_files, show_datasets, survey_of
    from tiering.placement.current_tiers import current_tiers
    from tiering.placement.dataset_plan import place_datasets
    from tiering.placement.file_lists import write_lists, write_plan
    from tiering.placement.heat_sources import read_heat, write_heat
    from tiering.placement.month import Month
    from tiering.placement.plan import place as plan
    from tiering.placement.survey_file import is_survey

    capacities = dict(_capacities(capacity or []))
    files = [catalog] if what_if is None else [catalog, what_if]
    catalogs = [load_catalog(file, cloud=cloud) for file in files]
    runs = {trace: parse_number(count) for trace, count in _by_name(runs_per_month or [], "--runs-per-month", "COUNT")}
    month = Month(
        runs_per_month=runs.pop("", None),
        duration=None if duration is None else parse_seconds(duration),
        hour_usd=hour_price,
        in_flight=in_flight,
        nodes=nodes,
    )
    holding = {
        os.path.realpath(directory) if directory else "": name
        for directory, name in _by_name(tier or [], "--tier", "TIER")
    }
    if by == "dataset" or is_survey(traces[0]):
        refuse_files(lists, heat)
        surveyed = survey_of(traces, root, lenient=lenient, columns=columns)
        with status("Placing"), solver_aside():
            placed = [
                place_datasets(
                    surveyed,
                    capacities,
                    tiers=tiers,
                    month=month,
                    runs_per_month=runs,
                    most_busy=most_busy,
                    current=current_tiers(holding),
                )
                for tiers in catalogs
            ]
        show_datasets(placed, output, (name_of(catalog), name_of(what_if)), json=json)
        return
    trace = _single(traces, {*runs, *holding} - {""})
    with progress(f"reading {trace}", "events") as advance:
        found = read_heat(trace, root=root, lenient=lenient, columns=columns, progress=advance)
    if heat is not None:
        write_heat(found, heat)
        note(f"Wrote {heat}.")
    with status("Placing"), solver_aside():
        plans = [
            plan(found, capacities, tiers=tiers, by=by, month=month, current=holding.get(""), most_busy=most_busy)
            for tiers in catalogs
        ]
    written = write_lists(plans[0], lists) if lists is not None else ()
    if output is not None:
        write_plan(plans[0], output)
        note(f"Wrote {output}.")
    if json:
        other = {"what_if": plans[1].summary} if what_if is not None else {}
        emit_json({"plan": plans[0].summary, **other, "lists": written}, "placement")
        return
    show_plan(plans[0].summary)
    if what_if is not None:
        compare([each.summary for each in plans], (name_of(catalog), what_if.name))
    for line in plans[0].summary.notes:
        note(f"Note: {line}")
    _show_lists(plans[0], written, catalogs[0])


def _show_lists(plan: Placement, written: Sequence[FileList], tiers: Sequence[Tier]) -> None:
    """Print which names rclone cannot copy, and the commands that would copy the files."""
    from tiering.placement.file_lists import commands

    for each in written:
        if each.not_carried:
            note(
                f"Note: rclone cannot copy {format_count(each.not_carried)} of {format_count(each.files)} files on "
                f"{each.tier} because of their names, such as {each.awkward!r}. {each.not_rclone} lists them; "
                f"rsync's list holds every name."
            )
    typed = commands(plan, written, tiers)
    if typed:
        note("Nothing was moved. To copy the files, replace each TO_... with its destination and run:")
        for line in typed:
            note(f"  {line}")


def _capacities(given: Sequence[str]) -> Iterator[tuple[str, int | None]]:
    seen = set()
    for word in given:
        name, equals, size = word.partition("=")
        if not name or (equals and not size) or name in seen:
            found = "that tier twice" if name in seen else ""
            raise UsageError(f"--capacity {word}", rule="must be TIER or TIER=SIZE, each tier once", found=found)
        seen.add(name)
        yield name, parse_capacity(size) if size else None


def _single(traces: Sequence[Path], names: set[str]) -> Path:
    """Return the only trace of a placement of files. Raises UsageError for what only datasets have."""
    if len(traces) > 1 or names:
        raise UsageError("--by", found="several traces, DIR=TIER and TRACE=COUNT need --by dataset")
    return traces[0]


def _by_name(given: Sequence[str], flag: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield what NAME=VALUE says, by name; "" stands for everything else."""
    seen = set()
    for word in given:
        name, equals, said = word.rpartition("=")
        if not said or (equals and not name) or name in seen:
            rule = f"must be {value} or NAME={value}, each once"
            raise UsageError(f"{flag} {word}", rule=rule, found="that twice" if name in seen else "")
        seen.add(name)
        yield name, said
