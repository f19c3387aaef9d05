"""tiering log: list the generations of a store."""

from __future__ import annotations

from typing import Annotated

import typer

from tiering.cli import completion
from tiering.cli.output import JsonFlag, emit_json, out, table
from tiering.units import format_bytes, format_count


def log(
    store: Annotated[
        str, typer.Argument(metavar="STORE", autocompletion=completion.stores, help="Finished store. Path or URL.")
    ],
    json: JsonFlag = False,
) -> None:
    """List the generations of a store: when each was written, by which command, and how large it is.

    In Python, `tiering.open_store(STORE, generation=3)` opens an earlier one, unless a purge ended it.

    Example: `tiering log photos.lmdb`
    """
    from tiering.packing.log import log as read

    found = read(store)
    if json:
        emit_json(found, "log")
        return
    shown = table("generation", "time", "action", "samples", "bytes", "what changed")
    shown.columns[2].justify = shown.columns[5].justify = "left"
    shown.columns[5].no_wrap = False
    for change in found:
        # Names of counts are plurals, such as "labels", or words without one, such as "new".
        named = ((count, name.removesuffix("s") if count == 1 else name) for name, count in change.counts.items())
        counts = ", ".join(f"{format_count(count)} {name}" for count, name in named)
        ended = "" if change.ended is None else f"ended by generation {change.ended}"
        shown.add_row(
            str(change.generation), change.time or "unknown", change.action, format_count(change.samples),
            format_bytes(change.image_bytes), "; ".join(filter(None, (counts, ended))),
        )  # fmt: skip
    out().show(shown, drop=("bytes",))
