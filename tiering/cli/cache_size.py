"""`tiering cache size`: the gain and the cost of a cache of each size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli import completion
from tiering.cli.choices import Catalog, OfCloud, either
from tiering.cli.output import JsonFlag, emit_json, note, out, table
from tiering.cli.panels import JOB, STORAGE
from tiering.cli.progress import progress
from tiering.literals import OriginalFormat
from tiering.units import format_bytes, format_percent, format_seconds, format_usd, parse_number

if TYPE_CHECKING:
    from tiering.advice.cache_size import CacheSizes
    from tiering.workload.profile import Profile


def size(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PROFILE|TRACE",
            autocompletion=completion.traces,
            help="A profile.json of a dataset, or an I/O trace.",
        ),
    ],
    tier: Annotated[
        str | None,
        typer.Option(
            metavar="TIER",
            show_default=False,
            rich_help_panel=STORAGE,
            autocompletion=completion.tiers,
            help="Tier that holds the data. By default the first object store.",
        ),
    ] = None,
    cache_tier: Annotated[
        str | None,
        typer.Option(
            metavar="TIER",
            show_default=False,
            rich_help_panel=STORAGE,
            autocompletion=completion.tiers,
            help="Tier of the cache. By default the quickest local one.",
        ),
    ] = None,
    store_format: Annotated[
        OriginalFormat,
        typer.Option(
            "--format", rich_help_panel=JOB, metavar=either(OriginalFormat), help="How the dataset is stored."
        ),
    ] = "folder",
    samples_per_second: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT", rich_help_panel=JOB, help="Samples per second that training can take. By default no limit."
        ),
    ] = None,
    catalog: Catalog = None,
    cloud: OfCloud = None,
    json: JsonFlag = False,
) -> None:
    """Show the hit ratio, epoch time and price of several cache sizes, and recommend one.

    For a dataset, it assumes that a training run reads it. For a trace alone, or if the profile's trace shows another
    workload, it uses the trace's own miss ratio curve.

    Example: `tiering cache size profile.json --tier nfs --cache-tier nvme --samples-per-second 3000`
    """
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.advice.cache_size import cache_size
    from tiering.advice.catalog import load_catalog

    found = cache_size(
        _profile(source),
        origin=tier,
        cache=cache_tier,
        store_format=store_format,
        samples_per_s=None if samples_per_second is None else parse_number(samples_per_second),
        tiers=load_catalog(catalog, cloud=cloud),
    )
    if json:
        emit_json(found, "cache-sizes")
        return
    _show(found)


def _profile(source: Path) -> Profile:
    from tiering.trace.profile import profile_trace
    from tiering.workload.profile import Profile, read_profile
    from tiering.workload.profile_mark import is_profile

    if is_profile(source):
        return read_profile(source)
    with progress(f"reading {source}", "events") as advance:
        return Profile(traces=[profile_trace(source, progress=advance)])


def _show(found: CacheSizes) -> None:
    console = out()
    epochs = any(step.epoch_s is not None for step in found.steps)
    names = [
        "",
        "cache",
        "share",
        "hits",
        "hits of LRU",
        *(["epoch"] if epochs else []),
        "USD/month",
        "USD per % of hits",
    ]
    shown = table(*names, *(["USD per s of epoch"] if epochs else []))
    for number, step in enumerate(found.steps):
        shown.add_row(
            "->" if number == found.knee else "",
            format_bytes(step.cache_bytes),
            format_percent(step.share, 3),
            format_percent(step.hit_ratio, 3),
            format_percent(step.lru_hit_ratio, 3),
            *([format_seconds(step.epoch_s)] if step.epoch_s is not None else []),
            _usd(step.monthly_usd),
            _usd(step.usd_per_point),
            *([_usd(step.usd_per_second)] if epochs else []),
        )
    console.say(found.reason)
    console.show(shown, drop=("USD per s of epoch", "USD per % of hits", "hits of LRU"))
    for line in found.notes:
        note(f"Note: {line}")


def _usd(amount: float | None) -> str:
    return "-" if amount is None else format_usd(amount)
