"""tiering remove: take samples out of a store."""

from __future__ import annotations

from typing import Annotated

import typer

from tiering.cli import completion
from tiering.cli.convert import Dask, Workers, crew
from tiering.cli.output import JsonFlag, ProgressFlag, emit_json, note, out, plain
from tiering.cli.panels import PACKING, SAMPLES
from tiering.cli.progress import progress
from tiering.text import first_few
from tiering.units import counted, format_bytes, format_count

_SHOWN = 10


def remove(
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE", autocompletion=completion.stores, help="Finished store to change. Path or URL."
        ),
    ],
    keys: Annotated[
        str | None,
        typer.Option(
            "--keys", metavar="FILE", rich_help_panel=SAMPLES, help="File with the key of a sample on each line."
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="SQL",
            rich_help_panel=SAMPLES,
            help="Samples for which this holds, such as \"label = 'cat'\".",
        ),
    ] = None,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge", rich_help_panel=PACKING, help="Delete the bytes too. Alone: of all samples removed before."
        ),
    ] = False,
    workers: Workers = None,
    dask: Dask = None,
    show: ProgressFlag = None,
    json: JsonFlag = False,
) -> None:
    """Take samples out of a finished store.

    Without --purge, the bytes of the samples stay in the store, but only earlier generations show them. With it, the
    shards that hold them are packed again without them, and the generations that named them can no longer be opened.
    If it is killed, run the same command again: it goes on where it stopped.

    Example: `tiering remove photos.lmdb --keys opted-out.txt --purge`
    """
    from tiering.cache.maintenance import caches_of
    from tiering.packing.remove import remove as run

    with progress("purging", show=show if purge else False) as advance:
        found = run(store, keys, where=where, purge=purge, workers=crew(workers, dask), progress=advance)
    caches = caches_of(store) if found.purged else []
    if json:
        emit_json({**plain(found), "caches": caches}, "removal")
        return
    left = f"{counted(found.manifest.samples, 'sample')} left"
    out().say(f"{store}: {format_count(found.removed)} removed, {left}; generation {found.manifest.generation}")
    if purge:
        packed = counted(len(found.rewritten), "shard")
        freed = format_bytes(max(0, found.deleted_bytes))
        out().say(f"{format_count(found.purged)} purged, {packed} packed again, {freed} less on disk")
    if found.ended:
        out().say(f"generations that ended: {', '.join(map(str, found.ended))}")
    if found.unknown:
        keys_shown = first_few(found.unknown_keys, _SHOWN, of=found.unknown)
        note(f"{counted(found.unknown, 'key')} that the store lacks: {keys_shown}")
    if found.may_remain:
        note("Copies of the purged samples may remain in:")
        for place in [*(f"The cache {cache}, which holds this store." for cache in caches), *found.may_remain]:
            note(f"- {place}")
