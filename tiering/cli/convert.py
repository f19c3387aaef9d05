"""tiering convert: pack a directory of images."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tiering.cli.output import JsonFlag, emit_json, note, out
from tiering.cli.progress import progress
from tiering.units import format_bytes, format_count


class Target(StrEnum):
    """The packed formats."""

    lmdb = "lmdb"
    zarr = "zarr"


class Codec(StrEnum):
    """The codecs of Zarr chunks."""

    auto = "auto"
    none = "none"
    zstd = "zstd"


def convert(
    dataset: Annotated[Path, typer.Argument(help="Directory of images; it is never changed.")],
    store: Annotated[Path, typer.Argument(help="Store to make; it appears whole or not at all.")],
    to: Annotated[Target, typer.Option(help="Packed format.")],
    codec: Annotated[Codec, typer.Option(help="Codec of Zarr chunks; auto measures a sample.")] = Codec.auto,
    seed: Annotated[int, typer.Option(help="Seed of the packed order.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default the usable cores.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a store that is there already.")] = False,
    show: Annotated[bool | None, typer.Option("--progress/--no-progress", help="Show progress on stderr.")] = None,
    json: JsonFlag = False,
) -> None:
    """Pack a directory of images into an LMDB or Zarr store.

    The images stay as they are, byte for byte, in a seeded random order. Readers open only a finished store.

    Example: `tiering convert photos/ photos.lmdb --to lmdb`
    """
    from tiering.convert.run import convert as run

    with progress("packing", show=show) as advance:
        manifest = run(
            dataset, store, to.value, codec=codec.value, seed=seed, overwrite=overwrite, workers=workers,
            progress=advance,
        )  # fmt: skip
    if json:
        emit_json(manifest)
        return
    shards = "1 shard" if len(manifest.shards) == 1 else f"{len(manifest.shards):,} shards"
    out().print(f"{store}: {format_count(manifest.samples)} samples, {format_bytes(manifest.image_bytes)}, {shards}")
    note(f"Next: tiering verify {store} --source {dataset}")
