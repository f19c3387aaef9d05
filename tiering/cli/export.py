"""tiering export: write a store back to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiering.cli import completion
from tiering.cli.choices import either
from tiering.cli.output import JsonFlag, ProgressFlag, emit_json, out
from tiering.cli.panels import OUTPUT
from tiering.cli.progress import progress
from tiering.cli.selected import Split, Where, selected
from tiering.literals import ExportFormat
from tiering.units import counted


def export(
    store: Annotated[
        str, typer.Argument(metavar="STORE", autocompletion=completion.stores, help="Store to export. Path or URL.")
    ],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Directory to write to. It must be empty or not exist.")
    ],
    to: Annotated[
        ExportFormat,
        typer.Option(
            rich_help_panel=OUTPUT,
            metavar=either(ExportFormat),
            help="Files, WebDataset's tar files, or Hugging Face's Parquet.",
        ),
    ] = "folder",
    split: Split = None,
    where: Where = None,
    show: ProgressFlag = None,
    json: JsonFlag = False,
) -> None:
    """Write the samples of a store back: as files, byte for byte, as WebDataset's tar files, or as Parquet.

    Files get their original names. Masks, captions and other fields become files beside their image, or columns of
    metadata.parquet. With --split and --where, write only some samples.

    Example: `tiering export photos.lmdb photos-again/`
    """
    from tiering.packing.export import export as run
    from tiering.store.open import open_store

    with open_store(store) as opened, progress("exporting", show=show) as advance:
        samples = run(selected(opened, split, where), directory, to, progress=advance)
    if json:
        emit_json({"store": str(store), "directory": str(directory), "samples": samples}, "export")
    else:
        out().say(f"{directory}: {counted(samples, 'sample')}")
