"""`tiering cache size`: what a cache of each size would give, and cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tiering.cli.choices import Catalog
from tiering.cli.output import JsonFlag, emit_json, note, out, status, table
from tiering.errors import UsageError
from tiering.units import format_bytes, format_seconds, parse_number

if TYPE_CHECKING:
    from tiering.advice.cache_size import CacheSizes
    from tiering.advice.catalog import Tier
    from tiering.workload.profile import Profile

#: Columns that the table needs.
WIDTH = 120


def size(
    source: Annotated[
        Path, typer.Argument(metavar="PROFILE|TRACE", help="A profile.json of a dataset, or an I/O trace.")
    ],
    tier: Annotated[str, typer.Option(metavar="NAME", help="Tier on which the data lie.")] = "object",
    cache_tier: Annotated[str, typer.Option(metavar="NAME", help="Tier on which the cache would lie.")] = "nvme",
    store_format: Annotated[
        Literal["folder", "lmdb", "zarr"], typer.Option("--format", help="How the dataset is stored.")
    ] = "folder",
    samples_per_second: Annotated[
        str | None,
        typer.Option(metavar="COUNT", help="What the training job takes at most, such as 1M; by default what it gets."),
    ] = None,
    catalog: Catalog = None,
    json: JsonFlag = False,
) -> None:
    """Show hit ratio, epoch time and price against the size of a cache, and the size that is enough.

    A dataset is taken to be trained on; a profile whose trace shows another workload, and a trace alone, have the curve
    that the trace shows.

    Example: `tiering cache size profile.json --tier nfs --cache-tier nvme --samples-per-second 3000`
    """
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.advice.cache_size import sizes_for_trace, sizes_for_training
    from tiering.advice.catalog import load_catalog
    from tiering.advice.dataset_sizes import data_of

    tiers = load_catalog(catalog)
    rate = None if samples_per_second is None else parse_number(samples_per_second)
    origin, cache = _tier(tiers, "--tier", tier), _tier(tiers, "--cache-tier", cache_tier)
    profile = _profile(source)
    if profile.dataset is not None and _trained(profile):
        found = sizes_for_training(
            data_of(profile.dataset), origin, cache, store_format=store_format, samples_per_s=rate
        )
    elif profile.traces:
        found = sizes_for_trace(profile.traces[0].miss_ratio_curve, cache)
    else:
        raise UsageError(str(source), expected="a dataset or a trace", found="neither")
    if json:
        emit_json(found)
        return
    _show(found)


def _tier(tiers: tuple[Tier, ...], option: str, name: str) -> Tier:
    from tiering.advice.catalog import find_tier

    found = find_tier(tiers, name)
    if found is None:
        raise UsageError(option, expected=f"one of {', '.join(tier.name for tier in tiers)}", found=repr(name))
    return found


def _profile(source: Path) -> Profile:
    from tiering.trace.profile import profile_trace_file
    from tiering.workload.profile import Profile, is_profile, read_profile

    if is_profile(source):
        return read_profile(source)
    with status(f"Reading {source}"):
        return Profile(traces=[profile_trace_file(source)])


def _trained(profile: Profile) -> bool:
    """Tell whether a profile's workload reads everything again every epoch; without a trace it is taken to."""
    if not profile.traces:
        return True
    from tiering.workload.model import classify

    verdict = classify(profile.traces[0])
    return verdict.workload != "write-heavy" and not verdict.is_single_pass


def _show(found: CacheSizes) -> None:
    console = out()
    # A figure cut short would be a wrong one.
    console.width = max(console.width, WIDTH)
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
            f"{100 * step.share:.3g} %",
            f"{100 * step.hit_ratio:.3g} %",
            f"{100 * step.lru_hit_ratio:.3g} %",
            *([format_seconds(step.epoch_s)] if step.epoch_s is not None else []),
            _usd(step.monthly_usd),
            _usd(step.usd_per_point),
            *([_usd(step.usd_per_second)] if epochs else []),
        )
    console.print(shown)
    console.print(found.reason, soft_wrap=True)
    for line in found.notes:
        note(f"Note: {line}")


def _usd(amount: float | None) -> str:
    """Write money: cents, three digits below a dollar, and a dash for nothing gained."""
    return "-" if amount is None else f"{amount:,.2f}" if amount >= 1 or amount == 0 else f"{amount:.3g}"
