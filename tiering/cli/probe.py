"""`tiering probe`: measure a mount or a bucket, and describe it as a tier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli import completion
from tiering.cli.choices import Catalog
from tiering.cli.output import JsonFlag, emit_json, note, out, status
from tiering.cli.panels import MEASURING, OUTPUT, STORAGE
from tiering.cli.tiers import figures_of, points_of
from tiering.errors import command
from tiering.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from tiering.probing.probe import Probe


def probe(
    location: Annotated[
        str, typer.Argument(metavar="DIR|URL", help="Directory on the mount to measure, or URL of a bucket.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="Write the tier to a catalog, for --catalog."
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(metavar="SECONDS", rich_help_panel=MEASURING, help="About how long the measurement may take."),
    ] = 30.0,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            show_default=False,
            rich_help_panel=MEASURING,
            help="Most to write, until the end. By default 1GiB, or 64MiB for a URL.",
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", rich_help_panel=STORAGE, help="Name of the measured tier.")
    ] = "measured",
    like: Annotated[
        str | None,
        typer.Option(
            metavar="TIER",
            show_default=False,
            rich_help_panel=STORAGE,
            autocompletion=completion.tiers,
            help="Tier to copy price and endurance from. By default the most similar one.",
        ),
    ] = None,
    catalog: Catalog = None,
    json: JsonFlag = False,
) -> None:
    """Measure the speed of a mount or a bucket, and describe it as a storage tier.

    Measures reads, small files, look-ups, writes and syncs. It first prints how long it will take and how much it will
    write. It writes to a hidden directory or prefix of its own, and removes it at the end, even when interrupted.

    Example: `tiering probe . --seconds 10 -o here.toml`
    """
    # Imported here so that `tiering --help` does not wait for pydantic.
    from tiering.advice.catalog import load_catalog
    from tiering.cli.console import line
    from tiering.probing.probe import probe as run
    from tiering.probing.tier_toml import check_new, write_tier

    tiers = load_catalog(catalog)
    if output is not None:
        check_new(output)
    with status("Measuring") as shown:
        found = run(
            location,
            seconds=seconds,
            size=size,
            name=name,
            like=like,
            tiers=tiers,
            announce=note,
            progress=lambda what: shown.update(line(f"Measuring {location}: {what}")),
        )
    if output is not None:
        write_tier(found, output)
    if json:
        emit_json(found, "probe")
    else:
        _show(found)
        for each in found.notes:
            note(f"Note: {each}")
    if output is not None:
        quoted = command(output)
        note(f"Wrote {quoted}. Use it with --catalog {quoted}, or TIERING_CATALOG={quoted}.")


def _show(found: Probe) -> None:
    for shown in (points_of(found.tier), figures_of(found.tier)):
        out().show(shown)
    note(f"{format_bytes(found.written)} written and removed, {format_seconds(found.seconds)}.")
