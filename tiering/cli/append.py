"""tiering append: add new files to a store."""

from __future__ import annotations

from typing import Annotated

import typer

from tiering.cli.account import account_lines
from tiering.cli.convert import BadFiles, Dask, ImagesOnly, OnError, Progress, Restart, Workers
from tiering.cli.output import JsonFlag, emit_json, out
from tiering.cli.progress import progress
from tiering.units import format_count


def append(
    dataset: Annotated[str, typer.Argument(help="Images, as for convert; those that the store holds are passed over.")],
    store: Annotated[str, typer.Argument(help="Finished store to add to, path or URL.")],
    sync: Annotated[
        bool,
        typer.Option("--sync", help="Bring the store up to the dataset: take out what vanished, replace what changed."),
    ] = False,
    on_error: BadFiles = OnError.fail,
    images_only: ImagesOnly = False,
    workers: Workers = None,
    dask: Dask = None,
    restart: Restart = False,
    show: Progress = None,
    json: JsonFlag = False,
) -> None:
    """Add new images to a finished store as new shards; nothing that is there is rewritten.

    Training jobs that have the store open keep what they opened; the next ones see the new images too. With --sync
    every image of the dataset is read, to see which changed. What is taken out keeps its place in the store until the
    dataset is converted again.

    Example: `tiering append photos/ photos.lmdb`
    """
    if sync:
        _sync(dataset, store, on_error, workers, dask, show, images_only=images_only, restart=restart, json=json)
        return
    from tiering.convert.append import append as run
    from tiering.store.open import open_damaged

    before = len(open_damaged(store))
    with progress("packing", show=show) as advance:
        manifest = run(
            dataset,
            store,
            on_error=on_error.value,
            images_only=images_only,
            restart=restart,
            workers=workers,
            dask=dask,
            progress=advance,
        )
    if json:
        emit_json(manifest)
        return
    added = manifest.samples - before
    out().print(f"{store}: {format_count(added)} added, {format_count(manifest.samples)} samples in all")
    for line in account_lines(manifest.account):
        out().print(line)


def _sync(
    dataset: str,
    store: str,
    on_error: OnError,
    workers: int | None,
    dask: str | None,
    show: bool | None,
    *,
    images_only: bool,
    restart: bool,
    json: bool,
) -> None:
    from tiering.convert.sync import sync as run

    with progress("syncing", show=show) as advance:
        found = run(
            dataset,
            store,
            on_error=on_error.value,
            images_only=images_only,
            restart=restart,
            workers=workers,
            dask=dask,
            progress=advance,
        )
    if json:
        emit_json(found)
        return
    manifest = found.manifest
    counts = {"new": found.new, "changed": found.changed, "vanished": found.vanished, "relabelled": found.relabelled}
    said = ", ".join(f"{format_count(count)} {name}" for name, count in counts.items())
    out().print(f"{store}: {said}; {format_count(manifest.samples)} samples in all")
    for line in account_lines(manifest.account):
        out().print(line)
