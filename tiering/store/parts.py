"""The files of a store: which names are a store's own, and which files beside them belong to somebody else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tiering.store.manifest import MANIFEST, Manifest

#: Directory of a conversion's own notes; it goes when the store is finished.
WORK: Final = ".tiering"

#: The record of what a conversion set out to do, among its notes.
RECORD: Final = "plan.json"

#: Copies of images that could not be packed.
QUARANTINE: Final = "quarantine"

_OWN: Final = re.compile(
    rf"{re.escape(MANIFEST)}|zarr\.json|(data|images)/zarr\.json|index(-[0-9]+)?/.+|bad-files\.tsv|{QUARANTINE}/.+"
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
    indexes = ["index", manifest.index, *(f"index-{generation}" for generation in range(2, manifest.generation))]
    known = {MANIFEST, *manifest.documents, *(shard.name for shard in manifest.shards)}
    known |= {f"{index}/{column}/c/0" for index in indexes for column in manifest.columns}
    unfinished = f"{WORK}/{RECORD}" in every
    for name in every:
        ours = name in known or name.startswith((f"{WORK}/", f"{QUARANTINE}/"))
        if not ours and not (unfinished and is_own_name(name)):
            yield name
