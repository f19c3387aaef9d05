"""Which directories are datasets: rules by the names of files and folders alone.

A directory, with all below it known, may be

1. a packed store, by the files that only stores have: everything below belongs to it;
2. a flat folder: it holds images, tars, tables, TFRecords or arrays itself;
3. class folders: at least two folders below hold images, one in a split, and nothing else below is a dataset;
4. parts of one dataset: all folders below are named as splits (train, val) or as numbers (00, 1f, 2024, day=3), or
   hold the images of the dataset (images).

Otherwise the datasets below are datasets of their own. A dataset has everything below its directory that is in no
other dataset.

Example: /data/pets/train/cat/1.jpg and /data/pets/val/cat/2.jpg. train and val are class folders (rule 3) and splits
(rule 4), so the dataset is /data/pets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Literal

from tiering.sources.trees.directory_totals import (
    ARRAY,
    IMAGE,
    LMDB,
    LMDB_MARK,
    MANIFEST_MARK,
    RECORD,
    TABLE,
    TAR,
    ZARR_MARK,
    Totals,
)

DatasetKind = Literal[
    "class folders", "nested folders", "flat folder", "tar files", "tables", "TFRecord", "arrays", "LMDB", "Zarr"
]

#: Kind of a dataset that is not images, by the kind of its files.
_OF_FILES: Final[dict[int, DatasetKind]] = {TAR: "tar files", TABLE: "tables", RECORD: "TFRecord", ARRAY: "arrays"}
_GROUPS: Final = (IMAGE, *_OF_FILES)

#: Names of splits, and of other folders that are parts of one dataset: images; numbers and hashes; partitions.
_SPLIT: Final = re.compile(
    rb"(train|training|trainval|val|valid|validation|minival|test|testing|dev|eval)([-_.]?(\d{1,4}|images?|set))?",
    re.IGNORECASE,
)
_PART: Final = re.compile(
    _SPLIT.pattern
    + rb"|(un)?labell?ed|images?|imgs?|jpe?g(images)?|png|frames"
    + rb"|\d{1,8}|[0-9a-f]{2}|(?=[a-f]*\d)[0-9a-f]{3,4}|(part|shard|chunk|batch|fold)[-_]?\d+|[\w-]+=.*",
    re.IGNORECASE | re.DOTALL,
)

#: Fewer files and fewer bytes than these are no dataset: icons in a folder of programs. Images, and other files.
_FEWEST: Final = 10
_LEAST_BYTES: Final = {IMAGE: 10**9, **dict.fromkeys(_OF_FILES, 10**6)}
#: Files of one kind make a folder a dataset if they are at least this share of the bytes below it, or half the files.
_SHARE: Final = 0.1
#: Images beside folders of images belong to the same dataset if they are at least this share of all its images.
_BESIDE: Final = 0.01
#: Folders named as parts form one dataset if they hold at least this share of the bytes below the directory.
_OF_PARTS: Final = 0.25
#: Class folders of one directory beyond this number are kept as one.
_CROWD: Final = 1000


@dataclass(frozen=True, slots=True)
class FoundDataset:
    """A dataset. path: its directory, absolute, without "/" at the end. totals: of everything in it."""

    path: bytes
    kind: DatasetKind
    totals: Totals


@dataclass(slots=True)
class Candidate:
    """A dataset that may turn out to be part of a larger one. group: the kind of its files. level: folders below."""

    path: bytes
    group: int
    level: int
    classes: bool
    totals: Totals

    @property
    def name(self) -> bytes:
        """The last part of its path."""
        return self.path.rpartition(b"/")[2]

    @property
    def kind(self) -> DatasetKind:
        """Its kind as a dataset."""
        if self.group != IMAGE:
            return _OF_FILES[self.group]
        return "class folders" if self.classes else "nested folders" if self.level else "flat folder"

    @property
    def is_tiny(self) -> bool:
        """Whether it is too small for a dataset of its own."""
        few = self.totals.counts[self.group] < _FEWEST
        return few and self.totals.sizes[self.group] < _LEAST_BYTES[self.group]


@dataclass(slots=True)
class OpenDirectory:
    """A directory whose contents are not all known yet.

    waiting: number of directories and parts that are not known. own: totals of its own files. loose: totals below it
    that are in no dataset. candidates: datasets below it that may be parts of a larger one. closed: the other ones.
    """

    path: bytes
    above: OpenDirectory | None
    waiting: int = 1
    own: Totals = field(default_factory=Totals)
    loose: Totals | None = None
    candidates: list[Candidate] = field(default_factory=list)
    closed: list[FoundDataset] = field(default_factory=list)


def folded(here: OpenDirectory) -> tuple[Candidate | None, Totals | None]:
    """Return the dataset that a directory and all below it may be, and the totals of what is in no dataset.

    Datasets that cannot be part of a larger one are added to here.closed. About 4 us for a directory without others.
    """
    path, own = here.path.rstrip(b"/") or b"/", here.own
    everything = own
    if here.loose is not None:
        everything = Totals()
        everything.add(own)
        everything.add(here.loose)
    alone = not here.candidates and not here.closed
    if kind := _store(path, own.marks, own.counts[LMDB], alone=alone):
        if not alone:
            everything = _sum(everything, here.candidates, here.closed)
        if not everything.files:
            return None, everything
        here.closed = [FoundDataset(path, kind, everything)]
        return None, None
    group = _group(own, everything)
    if not here.candidates and group is not None and not own.counts[LMDB]:
        return Candidate(path, group, 0, False, everything), None
    whole = _sum(everything, here.candidates)
    for parts in _possible_parts(here.candidates):
        if merged := _merged(path, parts, group, here, whole):
            return merged, None
    return None, _apart(here, path, group, everything)


def _apart(here: OpenDirectory, path: bytes, group: int | None, everything: Totals) -> Totals | None:
    """Close the datasets below a directory that form none together. Return the totals of what is in no dataset."""
    closed, loose = closed_datasets(here.candidates)
    here.closed += closed
    if loose is not None:
        loose.add(everything)
        everything = loose
    if here.own.counts[LMDB]:
        here.closed.append(FoundDataset(path, "LMDB", everything))
        return None
    if group is None:
        return everything
    closed, loose = closed_datasets([Candidate(path, group, 0, False, everything)])
    here.closed += closed
    return loose


def _possible_parts(candidates: list[Candidate]) -> Iterator[list[Candidate]]:
    """Yield the datasets below a directory that may be parts of one: all of them, then those that are not tiny."""
    if candidates:
        yield candidates
        large = [each for each in candidates if not each.is_tiny]
        if len(large) < len(candidates):
            yield large


def _sum(first: Totals, *others: Sequence[Candidate | FoundDataset]) -> Totals:
    total = Totals()
    total.add(first)
    for each in chain.from_iterable(others):
        total.add(each.totals)
    return total


def _store(path: bytes, marks: int, lmdb_files: int, *, alone: bool) -> DatasetKind | None:
    """Return the format of a packed store by its files and its name, or None. alone: no other dataset is below."""
    if marks & ZARR_MARK or path.endswith(b".zarr"):
        return "LMDB" if lmdb_files and marks & MANIFEST_MARK else "Zarr"
    if marks & MANIFEST_MARK and lmdb_files:
        return "LMDB"
    named = path.endswith((b".lmdb", b".mdb"))
    return "LMDB" if alone and (marks & LMDB_MARK or lmdb_files or named) else None


def _group(own: Totals, everything: Totals) -> int | None:
    """Return the kind of files that make a directory a dataset, None if there are too few."""
    group = max(_GROUPS, key=lambda kind: own.sizes[kind])
    if not own.counts[group]:
        return None
    large = own.sizes[group] >= _SHARE * everything.bytes or 2 * own.counts[group] >= everything.files
    return group if large else None


def _merged(
    path: bytes, parts: list[Candidate], group: int | None, here: OpenDirectory, whole: Totals
) -> Candidate | None:
    """Return the dataset that the datasets below a directory form together, or None. whole: its totals."""
    if not parts:
        return None if group is None else Candidate(path, group, 0, False, whole)
    kind = parts[0].group
    if any(part.group != kind for part in parts):
        return None
    totals = _sum(Totals(), parts)
    level = 1 + max(part.level for part in parts)
    beside = here.own.counts[kind]
    if beside and beside < _BESIDE * totals.counts[kind]:
        return None
    mine = totals.bytes >= _OF_PARTS * (totals.bytes + here.own.bytes + (here.loose.bytes if here.loose else 0))
    if mine and (len(parts) > 1 or not here.closed) and all(_PART.fullmatch(part.name) for part in parts):
        classes = any(part.classes for part in parts) or (kind == IMAGE and level == 1 and _are_classes(parts))
        return Candidate(path, kind, level, classes, whole)
    several = len(parts) > 1 or _SPLIT.fullmatch(path.rpartition(b"/")[2])
    if kind == IMAGE and level == 1 and several and not here.closed and group in (None, IMAGE):
        return Candidate(path, kind, level, True, whole)
    return None


def _are_classes(parts: list[Candidate]) -> bool:
    """Return whether folders named as parts may be classes: numbers from 0 or 1, as in MNIST."""
    return len(parts) > 1 and {part.name for part in parts} >= {b"1", b"2"}


def closed_datasets(candidates: list[Candidate]) -> tuple[list[FoundDataset], Totals | None]:
    """Make datasets of candidates. Also return the totals of those that are too small for one."""
    small = [each for each in candidates if each.is_tiny]
    datasets = [FoundDataset(each.path, each.kind, each.totals) for each in candidates if not each.is_tiny]
    return datasets, _sum(Totals(), small) if small else None


def join(candidates: list[Candidate], more: Candidate) -> None:
    """Add a candidate. Beyond a thousand class folders, the last one stands for all that follow."""
    last = candidates[-1] if len(candidates) >= _CROWD else None
    if last is not None and last.group == more.group == IMAGE and last.level == more.level == 0:
        last.totals.add(more.totals)
        last.path = b"?"
    else:
        candidates.append(more)
