"""Names of a store's files, and which files in it are foreign.

Every name is a function of the kind of store and of a number. So a name from a manifest or a receipt is compared with
the one it must be, and cannot lead elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

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

_DOCUMENT: Final = re.compile(
    rf"(?:(?P<index>index(?:-(?P<generation>[1-9][0-9]{{0,17}}))?)(?:/(?:{'|'.join(COLUMNS)}))?/)?zarr\.json"
)
_LEFT_OUT: Final = re.compile(r"left-out(?:-(?P<generation>[1-9][0-9]{0,17}))?\.tsv")
_OWN: Final = re.compile(
    rf"{re.escape(MANIFEST)}|zarr\.json|(data|images)/zarr\.json|index(-[0-9]+)?/.+"
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
    return is_left_out(name) or _OWN.fullmatch(name) is not None


def foreign_files(names: Iterable[str], manifest: Manifest) -> Iterator[str]:
    """Yield the files that do not belong to a store, according to its manifest.

    names: paths relative to the store. Indexes of earlier generations, notes and the quarantine belong to the store;
    while an append is unfinished, so does every file with one of a store's own names.
    """
    every = list(names)
    known = {MANIFEST, *manifest.documents, *(shard.name for shard in manifest.shards)}
    columns = tuple(f"/{column}/c/0" for column in manifest.columns)
    unfinished = f"{WORK}/{RECORD}" in every
    for name in every:
        index = name.endswith(columns) and is_document(f"{name.removesuffix('/c/0')}/zarr.json", manifest.generation)
        ours = name in known or index or name.startswith((f"{WORK}/", f"{QUARANTINE}/"))
        if not ours and not (unfinished and is_own_name(name)):
            yield name
