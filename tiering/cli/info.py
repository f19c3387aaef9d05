"""tiering info: describe a store."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tiering.cli import completion
from tiering.cli.field_trees import FieldTrees, patterns_of
from tiering.cli.output import JsonFlag, emit_json, out, table
from tiering.cli.selected import Split, Where, selected
from tiering.errors import command
from tiering.sources.account_lines import account_lines
from tiering.text import display, first_few
from tiering.units import counted, format_bytes, format_count, format_percent

if TYPE_CHECKING:
    from tiering.store.manifest import Manifest
    from tiering.store.protocol import Store

_NAMED = 8


def info(
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE", autocompletion=completion.stores, help="Store, or directory of images. Path or URL."
        ),
    ],
    split: Split = None,
    where: Where = None,
    field: FieldTrees = None,
    json: JsonFlag = False,
) -> None:
    """Describe a store and how it was packed: its classes, its fields, and their values in three samples.

    With --split and --where, also count the samples that they select.

    Example: `tiering info photos.lmdb`
    """
    from tiering.advice.current_tier import storage_in_words
    from tiering.cli.field_rows import field_table
    from tiering.store.open import open_damaged

    opened = open_damaged(store, fields=patterns_of(field))
    manifest, chosen = opened.manifest, selected(opened, split, where)
    if json:
        emit_json(chosen.manifest)
        return
    classes = manifest.classes
    named = [name if name == str(number) else f"{number} {name}" for number, name in islice(classes.items(), _NAMED)]
    labels = ", ".join(named) + (", ..." if len(classes) > _NAMED else "")
    rows = {
        "kind": manifest.kind,
        "holds": _holds(manifest),
        **_encoders(manifest),
        "samples": format_count(manifest.samples),
        "image bytes": format_bytes(manifest.image_bytes),
        **(_selected(chosen, manifest) if chosen is not opened else {}),
        "layout": manifest.layout,
        "labels": f"{len(manifest.labels):,} ({labels})" if labels else "none",
        "source": manifest.source.url,
        "splits": ", ".join(manifest.splits) or "none",
        "fingerprint": manifest.source.fingerprint[:16],
    }
    if held := storage_in_words(store):
        rows["stored on"] = held
    if manifest.settings:
        runs = sum(file.bytes for field in manifest.fields for file in field.files if file)
        on_disk = sum(shard.bytes for shard in manifest.shards)
        rows |= {
            "shards": f"{len(manifest.shards):,} of up to {format_bytes(manifest.settings.shard_bytes)}",
            "on disk": f"{format_bytes(on_disk)} ({on_disk / manifest.image_bytes:.2f} x the images)",
            **({"fields on disk": format_bytes(runs)} if runs else {}),
            "codec": manifest.settings.codec,
            "packed order": f"random, seed {manifest.settings.seed}",
            "generation": str(manifest.generation),
        }
    if removed := sum(shard.removed for shard in manifest.shards):
        rows["taken out"] = (
            f"{counted(removed, 'sample')}; to free their space: {command('tiering', 'remove', store, '--purge')}"
        )
    account = list(account_lines(manifest.account))
    if manifest.left_out and not account:
        rows["left out"] = f"{counted(manifest.left_out, 'image')} that could not be packed: see bad-files.tsv"
    shown = table(str(store), "")
    shown.columns[1].justify, shown.columns[1].no_wrap = "left", False
    for name, value in rows.items():
        shown.add_row(name, value)
    for number, line in enumerate(account):
        shown.add_row("" if number else "account", line)
    out().show(shown)
    if len(chosen.fields) > 1:
        out().print()
        out().show(field_table(chosen))


def _selected(chosen: Store, whole: Manifest) -> dict[str, str]:
    """Return the rows about a selection."""
    from tiering.store.value_counts import value_counts

    share = format_percent(len(chosen) / whole.samples)
    found = {"selected": f"{counted(len(chosen), 'sample')} ({share}), {format_bytes(chosen.manifest.image_bytes)}"}
    columns: tuple[Literal["label"], Literal["split"]] = ("label", "split")
    for column in columns:
        counts = value_counts(chosen, column)
        if [*counts] != ["none"]:
            shown = [f"{name} {format_count(count)}" for name, count in islice(counts.items(), _NAMED)]
            found[f"by {column}"] = first_few(shown, _NAMED, of=len(counts), separator=", ")
    return found


def _encoders(manifest: Manifest) -> dict[str, str]:
    """Return the rows about re-encoded images: what made them, and of how many bytes."""
    encoders = sorted({shard.encoder for shard in manifest.shards if shard.encoder})
    if not encoders:
        return {}
    account = manifest.account
    made_from = {"made from": f"{format_bytes(account.packed_bytes)} of original files"} if account else {}
    return {"encoder": first_few([display(each) for each in encoders], _NAMED, separator="; "), **made_from}


def _holds(manifest: Manifest) -> str:
    if (encoding := manifest.settings.reencoded if manifest.settings else None) is not None:
        return f"re-encoded images: {encoding}"
    pixels = manifest.settings.pixels if manifest.settings else None
    if pixels is None:
        return "the original files"
    brought = f", resized by {pixels.resize}" if pixels.resize else ""
    return f"pixels of {pixels.height} x {pixels.width} x {pixels.channels}, {pixels.dtype}{brought}"
