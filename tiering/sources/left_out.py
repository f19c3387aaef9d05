"""The kinds of entries that a walk leaves out, and the count of each.

This module imports only the standard library; see tiering.sources.trees.entries for the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tiering.text import display

#: Their owner meant these to be packed, so they count as errors like a damaged image.
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

#: These are known to be images, or were meant to be.
OF_IMAGES: Final = frozenset({UNREADABLE_FILE, MISSING, NOT_FETCHED, NOT_PACKED, DAMAGED})

#: These are counted and named, but nothing is wrong with them.
NOT_AN_IMAGE: Final = "not an image"
SIDECAR: Final = "sidecar"
LABEL: Final = "label file"
HIDDEN: Final = "hidden"
TOOL: Final = "left by a tool"
SPECIAL: Final = "special file"
LOOP: Final = "link in a circle"
PACKED: Final = "Zarr store"

#: Used only by verify: an image that was missing or unreadable when the store was made.
NOT_IN_STORE: Final = "not in the store"

#: Samples that were taken out of a store, and that its source may still have.
REMOVED: Final = "removed from the store"

#: Used only by a sampled profile: an image without an image's name. Packing takes it.
BY_CONTENT: Final = "image by its content alone"

KINDS: Final = frozenset(
    ERRORS | {NOT_AN_IMAGE, SIDECAR, LABEL, HIDDEN, TOOL, SPECIAL, LOOP, PACKED, NOT_IN_STORE, REMOVED}
)

#: The name for the estimated number of files that are fields of samples.
FIELD_FILES: Final = "field files"

#: How many names of each kind are kept beside its count.
EXAMPLES: Final = 5

#: Directories that tools leave beside data. Their contents are not part of a dataset.
_TOOLS: Final = frozenset({b"@eaDir/", b"__MACOSX/", b".ipynb_checkpoints/"})


#: Files that mark a directory as a Zarr store, whose chunks may start with the magic bytes of their images.
ZARR_MARKS: Final = (b"zarr.json", b".zgroup", b".zarray")


def unlooked(name: bytes) -> str | None:
    """Return the kind of an entry that every walk ignores, or None. A directory's name ends in "/"."""
    if name in _TOOLS:
        return TOOL
    return HIDDEN if name.startswith(b".") else None


@dataclass(slots=True)
class Tally:
    """The entries of one kind: their number, their bytes, and the names of the first few."""

    count: int = 0
    size: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LeftOut:
    """The entries that are no samples, in little memory. Counts of several threads and processes can be merged.

    kinds: those that are left out, by kind. field_files, field_bytes: number and bytes of the files that are fields of
    samples. suffixes: how many of these lie beside an image, by what follows the image's key; only counts have it.
    """

    kinds: dict[str, Tally] = field(default_factory=dict)
    field_files: int = 0
    field_bytes: int = 0
    suffixes: dict[bytes, int] = field(default_factory=dict)

    def add(self, kind: str, key: bytes, size: int = 0, reason: str = "") -> None:
        """Count one entry. key: its path below the source; a directory's ends in "/". size: bytes."""
        found = self.kinds.setdefault(kind, Tally())
        found.count += 1
        found.size += size
        if len(found.examples) < EXAMPLES:
            found.examples.append(f"{display(key)} ({reason})" if reason else display(key))

    def take(self, size: int, suffix: bytes = b"") -> None:
        """Count a file that is a field of a sample. size: bytes. suffix: counted too, if there is one."""
        self.field_files += 1
        self.field_bytes += size
        if suffix:
            self.suffixes[suffix] = self.suffixes.get(suffix, 0) + 1

    def merge(self, other: LeftOut) -> None:
        """Add the counts of another part of the source."""
        self.field_files += other.field_files
        self.field_bytes += other.field_bytes
        for suffix, count in other.suffixes.items():
            self.suffixes[suffix] = self.suffixes.get(suffix, 0) + count
        for kind, more in other.kinds.items():
            found = self.kinds.setdefault(kind, Tally())
            found.count += more.count
            found.size += more.size
            found.examples += more.examples[: EXAMPLES - len(found.examples)]

    def count(self, *kinds: str) -> int:
        """Return how many entries were left out, of some kinds or of all."""
        return sum(tally.count for kind, tally in self.kinds.items() if not kinds or kind in kinds)

    def size(self, *kinds: str) -> int:
        """Return the bytes of the entries that were left out, of some kinds or of all."""
        return sum(tally.size for kind, tally in self.kinds.items() if not kinds or kind in kinds)
