"""tiering export: write a store back to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiering.cli.output import JsonFlag, emit_json, out
from tiering.cli.progress import progress
from tiering.units import format_count


def export(
    store: Annotated[str, typer.Argument(help="Store to export. Path or URL.")],
    directory: Annotated[Path, typer.Argument(help="Directory to write to. It must be empty or not exist.")],
    show: Annotated[bool | None, typer.Option("--progress/--no-progress", help="Show progress on stderr.")] = None,
    json: JsonFlag = False,
) -> None:
    """Write every image of a store to a file with its original name, byte for byte.

    Example: `tiering export photos.lmdb photos-again/`
    """
    from tiering.packing.export import export as run

    with progress("exporting", show=show) as advance:
        files = run(store, directory, progress=advance)
    if json:
        emit_json({"store": str(store), "directory": str(directory), "files": files}, "export")
    else:
        out().print(f"{directory}: {format_count(files)} files")
