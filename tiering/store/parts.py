"""The files of a store: which names are a store's own, and which files beside them belong to somebody else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tiering.store.layout import BAD_FILES, LEFT_OUT, is_document
from tiering.store.manifest import MANIFEST, Manifest

#: Directory of a conversion's own notes; it goes when the store is finished.
WORK: Final = ".tiering"

#: The record of what a conversion set out to do, among its notes.
RECORD: Final = "plan.json"

#: Bytes of a note at most: a few names and numbers.
NOTE_BYTES: Final = 1 << 20

#: Documents that an append writes anew, before the manifest.
REWRITTEN: Final = (LEFT_OUT, BAD_FILES, "data/zarr.json", "images/zarr.json")

#: Copies of images that could not be packed.
QUARANTINE: Final = "quarantine"

_OWN: Final = re.compile(
    rf"{re.escape(MANIFEST)}|zarr\.json|(data|images)/zarr\.json|index(-[0-9]+)?/.+|{re.escape(LEFT_OUT)}|{re.escape(BAD_FILES)}"
    rf"|{QUARANTINE}/.+"
    r"|shard-[0-9]{5,}\.mdb|data/c/[0-9]+|images/c/[0-9]+/0/0/0"
)


def is_own_name(name: str) -> bool:
    """Return whether tiering itself gives this name to a file of a store, notes left aside.

    name: path relative to the store, POSIX.
    """
    return _OWN.fullmatch(name) is not None


def foreign_files(names: Iterable[str], manifest: Manifest) -> Iterator[str]:
    """Yield the files that do not belong to a store by its manifest.

    names: paths relative to the store. The indexes of earlier generations belong to it, and so do notes and quarantine;
    while an append is unfinished, so does everything that has a name of a store's own.
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
