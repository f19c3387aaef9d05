"""What a walk leaves out: the kinds, and how many there are of each.

The module needs nothing but the standard library: see tiering.sources.trees.entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tiering.sources.trees.shared_keys import Shared
from tiering.text import display

#: Of these somebody meant to have the content: they are errors like a damaged image.
UNREADABLE_DIRECTORY: Final = "unreadable directory"
UNREADABLE_FILE: Final = "unreadable file"
MISSING: Final = "missing file"
BROKEN_LINK: Final = "broken link"
NOT_FETCHED: Final = "content not fetched"
TAR_LINK: Final = "link in a tar"
LOST_LABEL: Final = "label without an image"
NOT_PACKED: Final = "image of a format that is not packed"
DAMAGED: Final = "damaged"
UNKNOWN_SIZE: Final = "file of unknown size"
UNREACHABLE: Final = "name that is no path"
NOT_IN_TAR: Final = "image beside tar files"
ERRORS: Final = frozenset({
    UNREADABLE_DIRECTORY, UNREADABLE_FILE, MISSING, BROKEN_LINK, NOT_FETCHED, TAR_LINK, LOST_LABEL, NOT_PACKED, DAMAGED,
    UNKNOWN_SIZE, UNREACHABLE, NOT_IN_TAR,
})  # fmt: skip

#: Of these it is known that they are images, or were meant to be some.
OF_IMAGES: Final = frozenset({UNREADABLE_FILE, MISSING, NOT_FETCHED, NOT_PACKED, DAMAGED})

#: These are counted and named, and nothing is wrong with them.
NOT_AN_IMAGE: Final = "not an image"
SIDECAR: Final = "sidecar"
LABEL: Final = "label file"
HIDDEN: Final = "hidden"
TOOL: Final = "left by a tool"
SPECIAL: Final = "special file"
LOOP: Final = "link in a circle"
PACKED: Final = "Zarr store"

#: Only verify has this one: an image that was not there, or not readable, when the store was made.
NOT_IN_STORE: Final = "not in the store"

#: Only a survey has this one: a file whose name is no image's, and that is one all the same. Packing takes it.
BY_CONTENT: Final = "image by its content alone"

KINDS: Final = frozenset(ERRORS | {NOT_AN_IMAGE, SIDECAR, LABEL, HIDDEN, TOOL, SPECIAL, LOOP, PACKED, NOT_IN_STORE})

#: What keys that several files share are called where they are estimated: these are no files.
SHARED: Final = "shared keys"

#: Names of each kind that are kept beside its count.
EXAMPLES: Final = 5

#: Directories that tools leave beside data; what is in them is no part of a dataset.
_TOOLS: Final = frozenset({b"@eaDir/", b"__MACOSX/", b".ipynb_checkpoints/"})


#: Files by which a directory is a Zarr store, whose chunks may begin as the images that they hold do.
ZARR_MARKS: Final = (b"zarr.json", b".zgroup", b".zarray")


def unlooked(name: bytes) -> str | None:
    """Return the kind of an entry that no walk looks at, None for any other. name: of a directory with a "/"."""
    if name in _TOOLS:
        return TOOL
    return HIDDEN if name.startswith(b".") else None


@dataclass(slots=True)
class Tally:
    """What is left out of one kind: how many, their bytes, and the names of the first few."""

    count: int = 0
    size: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LeftOut:
    """What is left out, by kind. Small whatever is counted; those of several threads and processes add up.

    shared: keys that several files share, whether these are left out or taken for images of their own.
    """

    kinds: dict[str, Tally] = field(default_factory=dict)
    shared: Shared = field(default_factory=Shared)

    def add(self, kind: str, key: bytes, size: int = 0, reason: str = "") -> None:
        """Count one. key: its path below the source, a directory's with "/" at its end; size: bytes."""
        found = self.kinds.setdefault(kind, Tally())
        found.count += 1
        found.size += size
        if len(found.examples) < EXAMPLES:
            found.examples.append(f"{display(key)} ({reason})" if reason else display(key))

    def merge(self, other: LeftOut) -> None:
        """Add what was counted elsewhere."""
        self.shared.merge(other.shared)
        for kind, more in other.kinds.items():
            found = self.kinds.setdefault(kind, Tally())
            found.count += more.count
            found.size += more.size
            found.examples += more.examples[: EXAMPLES - len(found.examples)]

    def count(self, *kinds: str) -> int:
        """Return how many were left out, of some kinds or of all."""
        return sum(tally.count for kind, tally in self.kinds.items() if not kinds or kind in kinds)

    def size(self, *kinds: str) -> int:
        """Return the bytes of what was left out, of some kinds or of all."""
        return sum(tally.size for kind, tally in self.kinds.items() if not kinds or kind in kinds)
