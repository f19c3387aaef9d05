"""`tiering report`: a dataset and its traces in one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiering.advice.hour_price import HOUR_USD
from tiering.cli.choices import Catalog, Epochs, HourPrice, Lenient, Ram, TraceColumns
from tiering.cli.output import note, status
from tiering.errors import UsageError
from tiering.system.machine import half_of_memory
from tiering.units import format_bytes, parse_capacity, parse_count


def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE|DATASET", help="A profile.json, a directory of images, or a packed store. Path or URL."
        ),
    ],
    traces: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[TRACE]...", help="Traces to show in addition to those of the profile."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="HTML file to write.")] = Path(
        "report.html"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    ram: Ram = None,
    epochs: Epochs = "100",
    tier: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Tier that holds the dataset now. By default the one that the mount table shows.",
            show_default=False,
        ),
    ] = None,
    hour_price: HourPrice = HOUR_USD,
    catalog: Catalog = None,
    columns: TraceColumns = None,
    lenient: Lenient = False,
) -> None:
    """Write an HTML report of a dataset, its traces, their verdicts and the recommendations.

    The report is one file that opens offline. Traces that the profile names are read again if they still exist. Needs
    `pip install 'tiering[report]'`.

    Example: `tiering report profile.json -o report.html`
    """
    from tiering.advice.catalog import load_catalog
    from tiering.advice.job import Job
    from tiering.reporting.advice import Assumptions
    from tiering.reporting.page import write_report

    if output.exists() and not force:
        raise UsageError(str(output), expected="no such file", found="one", action="Replace it with --force.")
    memory = parse_capacity(ram) if ram is not None else half_of_memory()
    given = Assumptions(
        job=Job(epochs=parse_count(epochs), ram=memory, hour_usd=hour_price),
        current=tier,
        tiers=load_catalog(catalog),
    )
    with status("Reading"):
        write_report(source, output, traces or [], assumptions=given, lenient=lenient, columns=columns)
    note(f"Wrote {output} ({format_bytes(output.stat().st_size)}).")
