"""tiering append: add new files to a store."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tiering.cli import completion
from tiering.cli.convert import (
    BadFiles,
    Columns,
    Dask,
    HowClosely,
    ImagesOnly,
    Restart,
    TableRoot,
    Workers,
    crew,
)
from tiering.cli.field_trees import FieldTrees, patterns_of
from tiering.cli.output import JsonFlag, ProgressFlag, emit_json, out
from tiering.cli.panels import PACKING
from tiering.cli.progress import progress
from tiering.errors import UsageError
from tiering.sources.account_lines import account_lines
from tiering.units import counted, format_count


def append(
    dataset: Annotated[
        str,
        typer.Argument(metavar="DATASET", help="Images, as for convert. Those that the store already has are skipped."),
    ],
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE", autocompletion=completion.stores, help="Finished store to add to. Path or URL."
        ),
    ],
    sync: Annotated[
        bool,
        typer.Option(
            "--sync",
            rich_help_panel=PACKING,
            help="Also remove deleted images from the store, and replace changed ones.",
        ),
    ] = False,
    removed: Annotated[
        bool,
        typer.Option(
            "--removed",
            rich_help_panel=PACKING,
            help="Also add images that `tiering remove` took out. Not with --sync.",
        ),
    ] = False,
    columns: Columns = None,
    root: TableRoot = None,
    field: FieldTrees = None,
    on_error: BadFiles = "fail",
    check: HowClosely = "quick",
    images_only: ImagesOnly = False,
    workers: Workers = None,
    dask: Dask = None,
    restart: Restart = False,
    show: ProgressFlag = None,
    json: JsonFlag = False,
) -> None:
    """Add new images to a finished store, as new shards. Existing shards are not rewritten.

    Training jobs that have the store open keep seeing what they opened. Jobs that open it later see the new images.
    With --sync, every image of the dataset is read to find changes. Removed images keep their space in the store until
    the dataset is converted again.

    Example: `tiering append photos/ photos.lmdb`
    """
    from tiering.packing.append import append as add
    from tiering.packing.sync import sync as bring_up
    from tiering.sources.source import TableSource
    from tiering.store.open import open_damaged

    options: dict[str, Any] = {
        "fields": patterns_of(field), "images_only": images_only, "on_error": on_error, "check": check,
        "resume": "never" if restart else "auto", "workers": crew(workers, dask),
    }  # fmt: skip
    if sync and removed:
        raise UsageError("--removed", found="cannot be used with --sync")
    source = TableSource(dataset, columns, root) if columns or root else dataset
    with progress("syncing" if sync else "packing", show=show) as advance:
        if sync:
            synced = bring_up(source, store, progress=advance, **options)
            manifest = synced.manifest
            counts = {
                "new": synced.new, "changed": synced.changed, "vanished": synced.vanished,
                "relabelled": synced.relabelled,
            }  # fmt: skip
        else:
            before = len(open_damaged(store))
            manifest = add(source, store, removed=removed, progress=advance, **options)
            counts = {"added": manifest.samples - before}
    if json:
        emit_json(synced if sync else manifest, "sync")
        return
    changes = ", ".join(f"{format_count(count)} {name}" for name, count in counts.items())
    out().say(f"{store}: {changes}{';' if sync else ','} {counted(manifest.samples, 'sample')} in all")
    for line in account_lines(manifest.account):
        out().say(line)
