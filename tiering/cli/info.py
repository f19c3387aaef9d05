"""tiering info: describe a store."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.account import account_lines
from tiering.cli.output import JsonFlag, emit_json, out, table
from tiering.units import format_bytes, format_count

if TYPE_CHECKING:
    from tiering.store.manifest import Manifest

_NAMED = 8


def info(
    store: Annotated[str, typer.Argument(help="Store, or directory of images. Path or URL.")], json: JsonFlag = False
) -> None:
    """Describe a store and how it was packed, without reading its samples.

    Example: `tiering info photos.lmdb`
    """
    from tiering.store.open import open_damaged

    manifest = open_damaged(store).manifest
    if json:
        emit_json(manifest)
        return
    classes = manifest.classes
    named = [name if name == str(number) else f"{number} {name}" for number, name in islice(classes.items(), _NAMED)]
    labels = ", ".join(named) + (", ..." if len(classes) > _NAMED else "")
    rows = {
        "kind": manifest.kind,
        "holds": _holds(manifest),
        "samples": format_count(manifest.samples),
        "image bytes": format_bytes(manifest.image_bytes),
        "layout": manifest.layout,
        "labels": f"{len(manifest.labels):,} ({labels})" if labels else "none",
        "source": manifest.source.url,
        "splits": ", ".join(manifest.splits) or "none",
        "fingerprint": manifest.source.fingerprint[:16],
    }
    if manifest.settings:
        on_disk = sum(shard.bytes for shard in manifest.shards)
        rows |= {
            "shards": f"{len(manifest.shards):,} of up to {format_bytes(manifest.settings.shard_bytes)}",
            "on disk": f"{format_bytes(on_disk)} ({on_disk / manifest.image_bytes:.2f} x the images)",
            "codec": manifest.settings.codec,
            "packed order": f"random, seed {manifest.settings.seed}",
            "generation": str(manifest.generation),
        }
    if removed := sum(shard.removed for shard in manifest.shards):
        samples = "1 sample" if removed == 1 else f"{format_count(removed)} samples"
        rows["taken out"] = f"{samples}; to free their space, convert the dataset again"
    account = list(account_lines(manifest.account))
    if manifest.left_out and not account:
        rows["left out"] = f"{manifest.left_out:,} images that could not be packed: see bad-files.tsv"
    shown = table(str(store), "")
    shown.columns[1].justify, shown.columns[1].no_wrap = "left", False
    for name, value in rows.items():
        shown.add_row(name, value)
    for number, line in enumerate(account):
        shown.add_row("" if number else "account", line)
    out().show(shown)


def _holds(manifest: Manifest) -> str:
    pixels = manifest.settings.pixels if manifest.settings else None
    if pixels is None:
        return "the original files"
    brought = f", resized by {pixels.resize}" if pixels.resize else ""
    return f"pixels of {pixels.height} x {pixels.width} x {pixels.channels}{brought}"
