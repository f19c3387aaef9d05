"""Change a finished store under its lock, and clear up after a change that was killed.

A note names the generation that a change is writing. As long as the manifest is of an earlier generation, the files of
that generation are removed by the next command that writes to the store, unless it is the same purge, which goes on
with them. If the manifest was replaced already, that command removes the files that a purge ended.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from tiering.errors import StoreError
from tiering.literals import PackedFormat
from tiering.storage.location import Location
from tiering.store.changes import Action
from tiering.store.layout import (
    CHANGE,
    FIELDS,
    NOTE_BYTES,
    REWRITTEN,
    WORK,
    index_generation,
    index_name,
    kept_generation,
    kept_manifest_name,
    removed_list_name,
    run_place,
    shard_name,
    shard_number,
)
from tiering.store.manifest import Manifest, read_manifest

_SAVED: Final = "saved"

#: The directory of a purge that is under way: its receipts and temporary files.
PURGING: Final = "purging"

#: Directories that a change may leave empty.
_EMPTIED: Final = ("manifests", "images/c", FIELDS)


class ChangeNote(BaseModel):
    """The note of a change that is under way.

    generation: that it writes. first, end: the numbers of the shards that it packs, from first to before end. plan: a
    digest of what a purge packs; only a purge with the same plan can go on with its shards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action
    generation: int
    first: int = 0
    end: int = 0
    plan: str = ""


def read_note(store: Location) -> ChangeNote | None:
    """Return the note of a change that is under way, or was killed; None if there is none."""
    try:
        return ChangeNote.model_validate_json((store / WORK / CHANGE).read(most=NOTE_BYTES))
    except (FileNotFoundError, StoreError, ValidationError):
        return None


def unfinished_change(store: Location, manifest: Manifest) -> str | None:
    """Describe a change that is running or was killed; None if there is none."""
    note = read_note(store)
    if note is None:
        return None
    if manifest.generation < note.generation:
        return (
            f"The change of generation {note.generation} ({note.action}) is running or was killed. If it was killed, "
            "run the same command again."
        )
    if note.action != "purge":
        return None
    return (
        f"The purge of generation {note.generation} has not removed all files yet. If it was killed: "
        "tiering remove --purge, without keys, removes them."
    )


def begin_change(store: Location, note: ChangeNote, manifest: Manifest) -> None:
    """Write the note of a change, and save the documents that it will replace."""
    for name in REWRITTEN:
        if name in manifest.documents:
            (store / WORK / _SAVED / name).write((store / name).read())
    (store / WORK / CHANGE).write(note.model_dump_json().encode())


def settle(store: Location, *, keep_purge: bool = False) -> None:
    """Undo a change that was killed before it replaced the manifest, or finish one that was killed afterwards.

    keep_purge: leave the shards of a purge that has not replaced the manifest, because it may go on.
    """
    note = read_note(store)
    if note is None:
        return
    manifest = read_manifest(store)
    if manifest.generation < note.generation:
        if keep_purge and note.plan:
            return
        _undo(store, note, manifest)
    elif note.action == "purge":
        remove_ended(store, manifest)
    (store / WORK / CHANGE).remove()
    (store / WORK / _SAVED).remove()
    (store / WORK / PURGING).remove()


def _undo(store: Location, note: ChangeNote, manifest: Manifest) -> None:
    """Remove the files of a generation that never was."""
    # The receipts first, so that none is there without the files that it describes.
    (store / WORK / PURGING).remove()
    for name in REWRITTEN:
        with suppress(FileNotFoundError):
            (store / name).write((store / WORK / _SAVED / name).read())
    for name in store.names():
        place = run_place(name)
        new = place is not None and place.generation == note.generation
        if new or (name == f"{FIELDS}/zarr.json" and name not in manifest.documents):
            (store / name).remove()
    (store / index_name(note.generation)).remove()
    (store / removed_list_name(note.generation)).remove()
    (store / kept_manifest_name(note.generation - 1)).remove()
    for number in range(max(note.first, manifest.new_shard), note.end):
        (store / shard_of(manifest, number)).remove()
    _remove_empty(store)


def remove_ended(store: Location, manifest: Manifest) -> None:
    """Remove what a purge ended: manifests, indexes and shards that no generation names any more.

    The manifests go first, so that no generation is opened whose files are going.
    """
    there = {change.generation for change in manifest.log if change.ended is None}
    named = {shard.number for shard in manifest.shards}
    names = store.names()
    for name in names:
        if (of := kept_generation(name)) is not None and of not in there:
            (store / name).remove()
    for of in sorted({of for name in names if (of := index_generation(name)) is not None}):
        if of not in there and of < manifest.generation:
            (store / index_name(of)).remove()
    for name in names:
        place = run_place(name)
        number = shard_number(name) if place is None else place.number
        ours = place is not None or name == shard_of(manifest, max(number, 0))
        if ours and 0 <= number < manifest.new_shard and number not in named:
            (store / name).remove()
    _remove_empty(store)


def _remove_empty(store: Location) -> None:
    """Remove the directories that are empty now."""
    for name in _EMPTIED:
        (store / name).remove_empty_directories()


def shard_of(manifest: Manifest, number: int) -> str:
    """Return the name of a shard of a packed store by its number."""
    kind: PackedFormat = "lmdb" if manifest.kind == "lmdb" else "zarr"
    pixels = manifest.settings is not None and manifest.settings.pixels is not None
    return shard_name(kind, number, pixels=pixels)
