"""tiering relabel: give samples of a store the classes, splits and fields of a table."""

from __future__ import annotations

from typing import Annotated

import typer

from tiering.cli import completion
from tiering.cli.convert import Columns
from tiering.cli.output import JsonFlag, emit_json, note, out
from tiering.cli.panels import INPUT
from tiering.text import first_few
from tiering.units import counted, format_count

_SHOWN = 10

FilesRoot = Annotated[
    str | None,
    typer.Option(
        "--root",
        metavar="DIR",
        rich_help_panel=INPUT,
        help="Where the paths in the table start. By default the table's directory.",
    ),
]


def relabel(
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE", autocompletion=completion.stores, help="Finished store to change. Path or URL."
        ),
    ],
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="Table with a column of keys or paths, and values to set.")
    ],
    columns: Columns = None,
    root: FilesRoot = None,
    json: JsonFlag = False,
) -> None:
    """Set the classes, splits and fields of samples from a table, by key. No image is rewritten.

    Samples that the table does not name, or has no value for, keep theirs. Training jobs that have the store open keep
    seeing what they opened. `tiering log` lists the generations of a store.

    Example: `tiering relabel photos.lmdb corrected.csv`
    """
    from tiering.packing.relabel import relabel as run

    found = run(store, table, columns=columns, root=root)
    if json:
        emit_json(found, "relabel")
        return
    changes = f"{counted(found.labels, 'label')} and {counted(found.splits, 'split')} changed"
    held = f"{counted(found.kept, 'sample')} not in the table"
    out().say(f"{store}: {changes}, {held}; generation {found.manifest.generation}")
    for name, count in found.fields.items():
        out().say(f"field {name}: {counted(count, 'sample')} with a new value")
    new = {"classes": found.new_classes, "splits": found.new_splits, "fields": found.new_fields}
    for what, names in new.items():
        if names:
            out().say(f"new {what}: {first_few(names, _SHOWN)}")
    if found.unknown:
        rows = "1 row names a key" if found.unknown == 1 else f"{format_count(found.unknown)} rows name keys"
        note(f"{rows} that the store lacks: {first_few(found.unknown_keys, _SHOWN, of=found.unknown)}")
