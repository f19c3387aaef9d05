"""The files of a store: which names are a store's own, and which files are foreign."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tiering.store.layout import is_document, is_left_out
from tiering.store.manifest import MANIFEST, Manifest

#: Directory of a conversion's notes; it is removed when the store is finished.
WORK: Final = ".tiering"

#: The note that records what a conversion is to do.
RECORD: Final = "plan.json"

#: The most bytes in a note: a few names and numbers.
NOTE_BYTES: Final = 1 << 20

#: Documents that an append rewrites, before the manifest. It also removes the earlier list of what is left out.
REWRITTEN: Final = ("data/zarr.json", "images/zarr.json")

#: Copies of images that could not be packed.
QUARANTINE: Final = "quarantine"

_OWN: Final = re.compile(
    rf"{re.escape(MANIFEST)}|zarr\.json|(data|images)/zarr\.json|index(-[0-9]+)?/.+"
    rf"|{QUARANTINE}/.+"
    r"|shard-[0-9]{5,}\.mdb|data/c/[0-9]+|images/c/[0-9]+/0/0/0"
)


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
