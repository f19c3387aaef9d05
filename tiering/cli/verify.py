"""tiering verify: check a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tiering.cli.output import JsonFlag, emit_json, out, plain
from tiering.cli.progress import progress
from tiering.units import format_bytes, format_count


def verify(
    store: Annotated[Path, typer.Argument(help="Packed store to check.")],
    source: Annotated[Path | None, typer.Option(help="Dataset directory to compare every byte with.")] = None,
    show: Annotated[bool | None, typer.Option("--progress/--no-progress", help="Show progress on stderr.")] = None,
    json: JsonFlag = False,
) -> None:
    """Check a store: every shard, every column, the CRC-32C of every sample, and with --source every byte.

    Exits with 1 when anything is wrong.

    Example: `tiering verify photos.lmdb --source photos/`
    """
    from tiering.convert.verify import verify as run

    with progress("checking", show=show) as advance:
        found = run(store, source=source, progress=advance)
    if json:
        emit_json(plain(found) | {"ok": found.ok})
    elif found.ok:
        against = f", every byte equal to {source}" if source else ""
        size = format_bytes(found.image_bytes)
        out().print(f"{store}: {format_count(found.samples)} samples, {size}, every CRC-32C right{against}")
    else:
        for problem in found.problems:
            out().print(problem, markup=False)
        out().print(f"{store}: {found.problem_count:,} problems. Convert it again, or copy it again if it is a copy.")
    if not found.ok:
        raise typer.Exit(1)
