"""tiering repair: pack the damaged shards of a store again."""

from __future__ import annotations

from typing import Annotated

import typer

from tiering.cli.convert import Dask, Progress, Workers
from tiering.cli.output import JsonFlag, emit_json, out
from tiering.cli.progress import progress


def repair(
    store: Annotated[str, typer.Argument(help="Finished store to repair, path or URL.")],
    source: Annotated[str, typer.Option(metavar="DATASET", help="What it was packed from; never changed.")],
    workers: Workers = None,
    dask: Dask = None,
    show: Progress = None,
    json: JsonFlag = False,
) -> None:
    """Find the missing and damaged shards of a finished store, and pack just those again from its source.

    A shard is put in place only where it is to the last byte the one that was packed; all others are left alone.

    Example: `tiering repair photos.lmdb --source photos/`
    """
    from tiering.packing.executors import Dask as Cluster
    from tiering.packing.repair import repair as run

    with progress("repairing", show=show) as advance:
        crew = Cluster(dask) if dask else workers
        repaired = run(store, source=source, workers=crew, progress=advance)
    if json:
        emit_json({"store": store, "repaired": repaired})
        return
    for name in repaired:
        out().print(f"{store}/{name}: packed again")
    if not repaired:
        out().print(f"{store}: no shard is missing or damaged")
