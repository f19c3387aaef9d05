"""tiering repair: repack the damaged shards of a store."""

from __future__ import annotations

from typing import Annotated

import typer

from tiering.cli import completion
from tiering.cli.convert import Dask, Workers, crew
from tiering.cli.output import JsonFlag, ProgressFlag, emit_json, out
from tiering.cli.panels import INPUT
from tiering.cli.progress import progress


def repair(
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE", autocompletion=completion.stores, help="Finished store to repair. Path or URL."
        ),
    ],
    source: Annotated[
        str,
        typer.Option(
            metavar="DATASET",
            rich_help_panel=INPUT,
            help="Dataset that the store was packed from. It is never changed.",
        ),
    ],
    workers: Workers = None,
    dask: Dask = None,
    show: ProgressFlag = None,
    json: JsonFlag = False,
) -> None:
    """Repack the missing and damaged shards of a finished store from its source.

    A repacked shard must equal the original byte for byte, or it is not put in place. Sound shards are not touched.

    Example: `tiering repair photos.lmdb --source photos/`
    """
    from tiering.packing.repair import repair as run

    with progress("repairing", show=show) as advance:
        repaired = run(store, source=source, workers=crew(workers, dask), progress=advance)
    if json:
        emit_json({"store": store, "repaired": repaired}, "repair")
        return
    for name in repaired:
        out().say(f"{store}/{name}: repacked")
    if not repaired:
        out().say(f"{store}: no shard is missing or damaged")
