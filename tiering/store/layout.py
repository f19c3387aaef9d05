"""Names of a store's files, and which files in it are foreign.

Every name is a function of the kind of store and of a number. So a name from a manifest or a receipt is compared with
the one it must be, and cannot lead elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from tiering.literals import PackedFormat
from tiering.store.index import COLUMNS

if TYPE_CHECKING:
    from tiering.store.manifest import Manifest

#: The document that a store is opened by. It is written last: a store without one is not finished.
MANIFEST: Final = "manifest.json"

#: Directory of a conversion's notes; it is removed when the store is finished.
WORK: Final = ".tiering"

#: The note that records what a conversion is to do.
RECORD: Final = "plan.json"

#: The note of a change of a finished store.
CHANGE: Final = "change.json"

#: The most bytes in a note: a few names and numbers.
NOTE_BYTES: Final = 1 << 20

#: Documents that an append rewrites, before the manifest. It also removes the earlier list of files that are left out.
REWRITTEN: Final = ("data/zarr.json", "images/zarr.json")

#: Copies of images that could not be packed.
QUARANTINE: Final = "quarantine"

#: Bytes of an entry of a Zarr shard's table of chunks, and of the CRC-32C behind the table.
ENTRY_BYTES: Final = 16
TABLE_CRC_BYTES: Final = 4

#: Everything in the source that is not packed, with its kind, its bytes and the reason; see left_out_name.
LEFT_OUT: Final = "left-out.tsv"

#: Images that could not be packed, as stores up to 0.2 list them.
BAD_FILES: Final = "bad-files.tsv"

#: The manifests of earlier generations.
_MANIFESTS: Final = "manifests"

#: The directory of the fields' files, and the group of the fields' columns in an index.
FIELDS: Final = "fields"

_FIELD: Final = "[A-Za-z0-9_][A-Za-z0-9_-]{0,63}"
_COLUMN: Final = rf"{'|'.join(COLUMNS)}|{FIELDS}(?:/{_FIELD}(?:\.(?:valid|offset|size|crc32c))?)?"
_DOCUMENT: Final = re.compile(
    rf"(?:(?P<index>index(?:-(?P<generation>[1-9][0-9]{{0,17}}))?)(?:/(?:{_COLUMN}))?/)?zarr\.json"
)
#: A run of bytes, or its document, or that of a group above it.
_RUN: Final = re.compile(
    rf"{FIELDS}/(?:zarr\.json|(?P<field>{_FIELD})(?:\.(?P<generation>[1-9][0-9]{{0,8}}))?"
    r"/(?:zarr\.json|(?P<number>[0-9]{1,9})/(?:zarr\.json|c/0)))"
)
_INDEX: Final = re.compile(r"index(?:-(?P<generation>[1-9][0-9]{0,17}))?")
_LEFT_OUT: Final = re.compile(r"left-out(?:-(?P<generation>[1-9][0-9]{0,17}))?\.tsv")
_REMOVED: Final = re.compile(r"removed-(?P<generation>[1-9][0-9]{0,17})\.txt")
_KEPT: Final = re.compile(rf"{_MANIFESTS}/(?P<generation>[0-9]{{6}}|[1-9][0-9]{{6,9}})\.json")
_SHARD: Final = re.compile(r"shard-([0-9]{5,18})\.mdb|data/c/([0-9]{1,18})|images/c/([0-9]{1,18})/0/0/0")
_OWN: Final = re.compile(
    rf"{re.escape(MANIFEST)}|{_KEPT.pattern}|zarr\.json|(data|images)/zarr\.json|index(-[0-9]+)?/.+"
    rf"|{QUARANTINE}/.+"
    r"|shard-[0-9]{5,}\.mdb|data/c/[0-9]+|images/c/[0-9]+/0/0/0"
)


def shard_name(kind: PackedFormat, number: int, *, pixels: bool = False) -> str:
    """Return the name of a shard's file within a store. number: from 0; pixels: the samples are decoded images."""
    if kind == "lmdb":
        return f"shard-{number:05d}.mdb"
    return f"images/c/{number}/0/0/0" if pixels else f"data/c/{number}"


def shard_names(number: int) -> tuple[str, str, str]:
    """Return all names that the shard with a number can have: in an LMDB store, in a Zarr store, and as pixels."""
    return shard_name("lmdb", number), shard_name("zarr", number), shard_name("zarr", number, pixels=True)


def shard_number(name: str) -> int:
    """Return the number of the shard whose file has this name; -1 if no shard has such a name."""
    found = _SHARD.fullmatch(name)
    return int(next(filter(None, found.groups()))) if found else -1


def kept_manifest_name(generation: int) -> str:
    """Return the name under which the manifest of an earlier generation is kept. generation: from 1."""
    return f"{_MANIFESTS}/{generation:06d}.json"


def kept_generation(name: str) -> int | None:
    """Return the generation whose kept manifest has this name; None for any other file."""
    found = _KEPT.fullmatch(name)
    return int(found["generation"]) if found else None


def removed_list_name(generation: int) -> str:
    """Return the name of the list of what was removed from a store up to a generation."""
    return f"removed-{generation}.txt"


def is_removed_list(name: str) -> bool:
    """Return whether a file with this name lists what was removed from a store."""
    return _REMOVED.fullmatch(name) is not None


def index_generation(name: str) -> int | None:
    """Return the generation to whose index a file belongs; None for a file outside of indexes.

    name: path relative to the store, POSIX.
    """
    directory = name.partition("/")[0]
    found = _INDEX.fullmatch(directory)
    return int(found["generation"] or 1) if found and directory != name else None


def run_name(field: str, number: int, generation: int) -> str:
    """Return the name of the array that holds the values of a field in one shard.

    number: of the shard, from 0. generation: of the store, in which the file is written, from 1.
    """
    return f"{FIELDS}/{field}{'' if generation == 1 else f'.{generation}'}/{number}"


def run_file(field: str, number: int, generation: int) -> str:
    """Return the name of the file of such an array, which has one Zarr shard."""
    return f"{run_name(field, number, generation)}/c/0"


class RunPlace(NamedTuple):
    """Where a file below `fields` belongs: to a field, in a generation, and to a shard, -1 for a group's document."""

    field: str
    generation: int
    number: int


def run_place(name: str) -> RunPlace | None:
    """Return where a run of bytes or a document of one belongs; None for any other file, and for `fields/zarr.json`.

    name: path relative to the store, POSIX.
    """
    found = _RUN.fullmatch(name)
    if found is None or found["field"] is None:
        return None
    return RunPlace(found["field"], int(found["generation"] or 1), int(found["number"] or -1))


def run_files(manifest: Manifest) -> Iterator[str]:
    """Yield the names of the files that hold the values of fields."""
    for field in manifest.fields:
        for shard, file in zip(manifest.shards, field.files, strict=False):
            if file is not None:
                yield run_file(field.name, shard.number, file.generation)


def index_name(generation: int) -> str:
    """Return the name of the directory that holds the index of a generation. generation: from 1."""
    return "index" if generation == 1 else f"index-{generation}"


def left_out_name(generation: int) -> str:
    """Return the name of the list of what a generation leaves out. generation: from 1."""
    return LEFT_OUT if generation == 1 else f"left-out-{generation}.tsv"


def is_left_out(name: str) -> bool:
    """Return whether a file with this name lists the files that a generation leaves out."""
    return name == BAD_FILES or _LEFT_OUT.fullmatch(name) is not None


def is_document(name: str, generation: int) -> bool:
    """Return whether a name can be that of a document of a store in this generation or an earlier one."""
    if name == BAD_FILES or name in REWRITTEN:
        return True
    if (run := _RUN.fullmatch(name)) is not None and name.endswith("zarr.json"):
        return int(run["generation"] or 1) <= generation
    if (removed := _REMOVED.fullmatch(name)) is not None:
        return int(removed["generation"]) <= generation
    if (listed := _LEFT_OUT.fullmatch(name)) is not None:
        of = int(listed["generation"] or 1)
        return of <= generation and name == left_out_name(of)
    found = _DOCUMENT.fullmatch(name)
    if found is None or found["index"] is None:
        return found is not None
    of = int(found["generation"] or 1)
    return of <= generation and found["index"] == index_name(of)


def is_own_name(name: str) -> bool:
    """Return whether tiering gives this name to a file of a store, other than notes.

    name: path relative to the store, POSIX.
    """
    return (
        is_left_out(name)
        or is_removed_list(name)
        or _OWN.fullmatch(name) is not None
        or _RUN.fullmatch(name) is not None
    )


def foreign_files(names: Iterable[str], manifest: Manifest) -> Iterator[str]:
    """Yield the files that do not belong to a store, according to its manifest.

    names: paths relative to the store. Indexes and manifests of earlier generations, notes and the quarantine belong to
    the store; while an append or a change is unfinished, so does every file with one of a store's own names.
    """
    every = list(names)
    known = {MANIFEST, *manifest.documents, *(shard.name for shard in manifest.shards), *run_files(manifest)}
    columns = tuple(f"/{column}/c/0" for column in manifest.columns)
    unfinished = f"{WORK}/{RECORD}" in every or f"{WORK}/{CHANGE}" in every
    fields = {field.name for field in manifest.fields}
    numbers = {shard.number for shard in manifest.shards}
    for name in every:
        of = kept_generation(name)
        if of is not None and 1 <= of <= manifest.generation:
            continue
        if is_removed_list(name) and is_document(name, manifest.generation):
            continue
        # Values that a relabel replaced stay for earlier generations.
        run = run_place(name)
        if run and run.field in fields and run.generation <= manifest.generation and run.number in {-1, *numbers}:
            continue
        index = name.endswith(columns) and is_document(f"{name.removesuffix('/c/0')}/zarr.json", manifest.generation)
        ours = name in known or index or name.startswith((f"{WORK}/", f"{QUARANTINE}/"))
        if not ours and not (unfinished and is_own_name(name)):
            yield name
