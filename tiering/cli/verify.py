"""tiering verify: check a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli import completion
from tiering.cli.output import JsonFlag, ProgressFlag, emit_json, note, out, plain
from tiering.cli.panels import INPUT, WORK
from tiering.cli.progress import progress
from tiering.errors import command
from tiering.sources.account_lines import account_lines
from tiering.units import counted, format_bytes, format_count

if TYPE_CHECKING:
    from tiering.packing.verification import Verification


def verify(
    store: Annotated[
        str, typer.Argument(metavar="STORE", autocompletion=completion.stores, help="Store to check. Path or URL.")
    ],
    source: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=INPUT,
            metavar="DATASET",
            help="Dataset that it was packed from: compares every byte and label.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", rich_help_panel=WORK, help="Check only structure and sizes.")
    ] = False,
    decode: Annotated[
        bool, typer.Option("--decode", rich_help_panel=WORK, help="Also decode every image, and list those that fail.")
    ] = False,
    show: ProgressFlag = None,
    json: JsonFlag = False,
) -> None:
    """Check every shard, every column and the CRC-32C of every sample of a store.

    With --source, also compare every byte with the original files. Re-encoded images are made again from them. Exits
    with 1 if anything is wrong.

    Example: `tiering verify photos.lmdb --source photos/`
    """
    from tiering.packing.verify import verify as run

    with progress("checking", show=show) as advance:
        found = run(store, source=source, quick=quick, decode=decode, progress=advance)
    if json:
        emit_json({**plain(found), "ok": found.ok}, "verification")
    elif found.ok:
        against = f", {_equal(found)}" if source and not quick else ""
        size = format_bytes(found.image_bytes)
        pixels = ", every image decoded" if decode else ", pixels not decoded (--decode)"
        checked = "structure and sizes right, no sample read" if quick else f"every CRC-32C right{against}{pixels}"
        out().say(f"{store}: {counted(found.samples, 'sample')}, {size}, {checked}")
    else:
        for problem in found.problems:
            out().say(problem)
        out().say(f"{store}: {counted(found.problem_count, 'problem')}. {_advice(store, source, found)}")
    if not json:
        for line in account_lines(found.account, "in the store"):
            out().say(line)
    _say_more(found, json=json)
    if not found.ok:
        raise typer.Exit(1)


def _say_more(found: Verification, *, json: bool) -> None:
    """Print what is no problem, but should be known."""
    if found.alike and not json:
        out().say(
            f"{format_count(found.alike)} made by another build of the encoder: equal to what this one makes within "
            "rounding, not to the last byte"
        )
    if found.relabelled and not json:
        out().say(f"{format_count(found.relabelled)} labelled differently than in the source, by tiering relabel")
    if found.further_fields:
        names = ", ".join(found.further_fields)
        note(f"The source has fields that the store does not: {names}. `tiering append --sync` packs them.")
    if found.unfinished:
        note(found.unfinished)


def _equal(found: Verification) -> str:
    """Return which files were compared byte for byte: all in the source, or only the packed ones."""
    made = " made again, and" if found.reencoded else ""
    if found.elsewhere:
        here, other = format_count(found.samples - found.elsewhere), format_count(found.elsewhere)
        files = "what their files give" if found.reencoded else "their files"
        return f"{here}{made} equal to {files} in {found.source}, {other} from other sources and not compared"
    what = "what its file gives" if found.reencoded else "its file"
    if found.account is None or not found.account.left_out:
        if found.reencoded:
            return f"every sample{made} equal to {what} in {found.source}"
        return f"every byte equal to {found.source}"
    return f"every sample{made} equal to {what} in {found.source}, which holds more files than were packed"


def _advice(store: str, source: str | None, found: Verification) -> str:
    if found.undecodable == found.problem_count:
        again = command("tiering", "convert", source or "DATASET", store)
        return (
            "These images were broken before they were packed. Replace them in the source and convert again, or leave"
            f" them out: {again} --overwrite --check decode --on-error skip (and your other options)"
        )
    if not found.damaged:
        return "Convert it again, or copy it again if it is a copy."
    shards = "this shard" if len(found.damaged) == 1 else f"these {len(found.damaged)} shards"
    named = ", ".join(found.damaged[:10]) + (", ..." if len(found.damaged) > 10 else "")
    again = command("tiering", "repair", store, "--source", source or "DATASET")
    return f"To pack just {shards} again ({named}): {again}"
