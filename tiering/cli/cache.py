"""tiering cache: describe, fill, check and empty a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiering.cli import completion
from tiering.cli.cache_size import size
from tiering.cli.choices import SharedGroup
from tiering.cli.output import JsonFlag, emit_json, note, out, status, table
from tiering.cli.panels import CACHE
from tiering.cli.progress import progress
from tiering.cli.verbs import Verbs
from tiering.units import counted, format_bytes, format_count, format_percent

cache = Verbs(no_args_is_help=True, help="Manage the cache in front of slow storage.")

Ram = Annotated[
    str,
    typer.Option(
        "--cache-ram",
        rich_help_panel=CACHE,
        metavar="SIZE",
        help="Second cache, in memory, for what does not fit into the first.",
    ),
]
Directory = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        rich_help_panel=CACHE,
        metavar="DIR",
        help="Directory of the cache. By default below your cache directory.",
    ),
]


@cache.command()
def info(directory: Directory = None, json: JsonFlag = False) -> None:
    """Show how much of each dataset a cache holds.

    Example: `tiering cache info`
    """
    from tiering.cache.maintenance import cache_info

    found = cache_info(directory)
    if json:
        emit_json(found, "cache")
        return
    shown = table("origin", "samples", "bytes", "on disk", "in memory", "share", "in use")
    for each in found.datasets:
        share = format_percent((each.cached_bytes + each.ram_bytes) / max(1, each.image_bytes))
        used = "yes" if each.in_use else "no"
        sizes = map(format_bytes, (each.image_bytes, each.cached_bytes, each.ram_bytes))
        shown.add_row(each.origin, format_count(each.samples), *sizes, share, used)
    out().show(shown)
    note(f"{found.directory}: {format_bytes(found.used_bytes)} of {format_bytes(found.size)} used.")
    if found.ram_size:
        note(f"In memory: {format_bytes(found.ram_used_bytes)} of {format_bytes(found.ram_size)} used.")


@cache.command()
def warm(
    origin: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            autocompletion=completion.stores,
            help="Store or directory of images to fetch. Path or URL.",
        ),
    ],
    size: Annotated[
        str,
        typer.Option("--cache-size", rich_help_panel=CACHE, metavar="SIZE", help="Size of the cache, such as 200GB."),
    ],
    directory: Directory = None,
    ram: Ram = "0",
    shared_group: SharedGroup = False,
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel=CACHE, help="Allow a cache directory on a network file system.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Fetch a dataset into the cache before training needs it, until the cache is full.

    Example: `tiering cache warm photos.lmdb --cache-size 2GB`
    """
    from tiering.cache.cached_store import cached
    from tiering.cache.maintenance import warm_cache

    with status(f"Opening {origin}"):
        store = cached(origin, size, directory, ram=ram, force=force, shared_group=shared_group)
    try:
        with progress("fetching") as advance:
            warm_cache(store, advance)
        found = store.stats()
    finally:
        store.close()
    if json:
        emit_json(found, "cache-counts")
        return
    note(f"{format_bytes(found.admitted_bytes)} fetched into the cache, {format_bytes(found.hit_bytes)} were there.")


@cache.command()
def verify(directory: Directory = None, json: JsonFlag = False) -> None:
    """Check every byte in a cache, and remove damaged samples so that they are fetched again.

    Exits with 1 if any sample was damaged.

    Example: `tiering cache verify`
    """
    from tiering.cache.maintenance import verify_cache

    with progress("checking", "units") as advance:
        found = verify_cache(directory, advance)
    if json:
        emit_json(found, "cache-check")
    else:
        note(f"{counted(found.units, 'unit')} checked, {format_count(found.damaged)} damaged and removed.")
    if found.damaged:
        raise typer.Exit(1)


@cache.command()
def clear(
    origin: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            autocompletion=completion.stores,
            help="Remove only the samples of this dataset. Path or URL.",
        ),
    ] = None,
    directory: Directory = None,
    json: JsonFlag = False,
) -> None:
    """Remove the samples from a cache. Datasets in use, and files outside the cache, are never removed.

    Example: `tiering cache clear photos.lmdb`
    """
    from tiering.cache.maintenance import clear_cache

    names = clear_cache(directory, origin)
    if json:
        emit_json({"removed": names}, "cache-removal")
        return
    for name in names:
        note(f"Removed {name}")
    if not names:
        note("The cache was empty.")


cache.command("size")(size)
