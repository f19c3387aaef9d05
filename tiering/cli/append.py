"""tiering append: add new files to a store."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tiering.cli.account import account_lines
from tiering.cli.convert import (
    BadFiles,
    Columns,
    Dask,
    HowClosely,
    ImagesOnly,
    Progress,
    Restart,
    TableRoot,
    Workers,
)
from tiering.cli.output import JsonFlag, emit_json, out
from tiering.cli.progress import progress
from tiering.units import format_count


def append(
    dataset: Annotated[str, typer.Argument(help="Images, as for convert. Those already in the store are skipped.")],
    store: Annotated[str, typer.Argument(help="Finished store to add to. Path or URL.")],
    sync: Annotated[
        bool,
        typer.Option("--sync", help="Also remove deleted images from the store, and replace changed ones."),
    ] = False,
    columns: Columns = None,
    root: TableRoot = None,
    on_error: BadFiles = "fail",
    check: HowClosely = "quick",
    images_only: ImagesOnly = False,
    workers: Workers = None,
    dask: Dask = None,
    restart: Restart = False,
    show: Progress = None,
    json: JsonFlag = False,
) -> None:
    """Add new images to a finished store, as new shards. Existing shards are not rewritten.

    Training jobs that have the store open keep seeing what they opened. Jobs that open it later see the new images.
    With --sync, every image of the dataset is read to find changes. Removed images keep their space in the store until
    the dataset is converted again.

    Example: `tiering append photos/ photos.lmdb`
    """
    from tiering.packing.append import append as add
    from tiering.packing.executors import Dask as Cluster
    from tiering.packing.sync import sync as bring_up
    from tiering.sources.source import TableSource
    from tiering.store.open import open_damaged

    options: dict[str, Any] = {
        "images_only": images_only, "on_error": on_error, "check": check,
        "resume": "never" if restart else "auto", "workers": Cluster(dask) if dask else workers,
    }  # fmt: skip
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
            manifest = add(source, store, progress=advance, **options)
            counts = {"added": manifest.samples - before}
    if json:
        emit_json(synced if sync else manifest, "sync")
        return
    changes = ", ".join(f"{format_count(count)} {name}" for name, count in counts.items())
    out().print(f"{store}: {changes}{';' if sync else ','} {format_count(manifest.samples)} samples in all")
    for line in account_lines(manifest.account):
        out().print(line)
