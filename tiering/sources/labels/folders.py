"""Decide which folder of a key is its split and which its class: train/cat/1.jpg is a cat in the split train.

The rule looks only at folders, so a sampled profile, a conversion and a plain folder give the same answer:

1. Folders are splits if all folders in one directory have names of SPLITS, in upper or lower case. They may be below
folders that all images share: ILSVRC/Data/CLS-LOC/train/n01440764/1.JPEG.
2. The class is the folder below the split, or the first folder if there are no splits. Deeper folders do not matter.
3. A folder called images is not a class if it is the only folder in its directory. The class is then the folder below
it: images/cat/1.jpg. Tiny ImageNet's val/images/val_0.JPEG has no class folder.
4. An image beside these folders has no class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from tiering.system.file_batches import neighbours

Layout = Literal[
    "class folders",
    "split and class folders",
    "annotated splits",
    "splits",
    "flat",
    "table",
    "tar shards",
    "class tars",
    "WebDataset",
    "folder with metadata",
    "parquet",
    "tfrecord",
    "mds",
    "litdata",
    "lmdb",
    "coco",
    "voc",
    "yolo",
    "celeba",
    "LMDB store",
    "Zarr store",
]

SPLITS: Final = ("train", "training", "val", "valid", "validation", "dev", "test", "testing")
_SPLITS: Final = frozenset(name.encode() for name in SPLITS)

#: Names of folders that contain the images and carry no information.
IMAGE_FOLDERS: Final = frozenset((b"images", b"image", b"imgs", b"img", b"jpegimages"))

#: ImageNet's name of a class, and of its tar: n01440764.tar.
_SYNSET: Final = re.compile(rb"n[0-9]{8}")

#: How many folders of a path to look at. Splits are near the top.
_DEEPEST: Final = 12


@dataclass(frozen=True, slots=True)
class FolderRule:
    """The positions of the split and the class in a path.

    kind: the layout in words. split, label: number of the folder, from 0; None if there is none. passed: folders called
    images that are not classes, as paths that end in "/". bare: splits without class folders, as such paths; "" if the
    whole folder may be one. skip: 1 if paths start with the name of a tar file, which is not a folder, else 0.
    """

    kind: Layout
    split: int | None = None
    label: int | None = None
    passed: tuple[bytes, ...] = ()
    bare: tuple[bytes, ...] = ()
    skip: int = 0

    def of(self, folder: bytes) -> tuple[bytes | None, bytes | None]:
        """Return class and split of the images in a folder. folder: its path, "" or ending in "/"."""
        parts = folder.split(b"/")[self.skip : -1]
        within = folder if not self.skip else b"".join(part + b"/" for part in parts)
        split = None
        if self.split is not None:
            # An image beside the splits belongs to none of them.
            if len(parts) <= self.split or parts[self.split].lower() not in _SPLITS:
                return None, None
            split = parts[self.split]
        if self.label is None:
            return None, split
        at = self.label + any(within.startswith(prefix) for prefix in self.passed)
        return (parts[at] if len(parts) > at else None), split


@dataclass(slots=True)
class _Node:
    """A folder. below: its folders by name; None once they cannot all be splits, so that they are classes."""

    below: dict[bytes, _Node] | None = field(default_factory=dict)

    def add(self, parts: list[bytes]) -> None:
        node = self
        for part in parts:
            if node.below is None:
                return
            if part not in node.below:
                if node.below and not _are_splits([*node.below, part]):
                    node.below = None
                    return
                node.below[part] = _Node()
            node = node.below[part]

    @property
    def only(self) -> bytes:
        """The name of its folder if there is exactly one, else b""."""
        return next(iter(self.below)) if self.below is not None and len(self.below) == 1 else b""


class Folders:
    """Collects the folders of keys, some keys at a time, and keeps only the few names that decide the rule.

    tars: whether each key starts with the name of a tar file.
    """

    def __init__(self, *, tars: bool = False) -> None:
        self._top = _Node()
        self._skip = int(tars)
        #: Whether every tar seen so far is named after its class.
        self._class_tars = tars

    def add(self, keys: Iterable[bytes]) -> None:
        """Add keys. Floor: 0.02 us per key, where neighbours share a folder."""
        keys = list(keys)
        if self._class_tars:
            self._class_tars = all(map(_is_of_a_class_tar, keys))
        for folder in {folder for folder, _ in neighbours(keys)}:
            self._top.add(folder.split(b"/", _DEEPEST)[self._skip : -1])

    def rule(self) -> FolderRule:
        """Return the rule, after all keys were added."""
        if self._class_tars:
            return FolderRule("class tars", label=0)
        return self._with_splits() or self._without_splits()

    def _with_splits(self) -> FolderRule | None:
        node, above, depth = self._top, b"", 0
        while not _are_splits(node.below or ()):
            if node.below is None or not node.only:
                return None
            above, depth = above + node.only + b"/", depth + 1
            node = node.below[node.only]
        passed: list[bytes] = []
        bare: list[bytes] = []
        for name, split in sorted((node.below or {}).items()):
            prefix = above + name + b"/"
            inner = _passed_over(split)
            if inner:
                passed.append(prefix + inner)
            if not _has_folders(split):
                bare.append(prefix)
        labelled = len(bare) < len(node.below or ())
        return FolderRule(
            "split and class folders" if labelled else "splits",
            split=depth,
            label=depth + 1 if labelled else None,
            passed=tuple(passed),
            bare=tuple(bare),
            skip=self._skip,
        )

    def _without_splits(self) -> FolderRule:
        if not _has_folders(self._top):
            return FolderRule("flat", bare=(b"",), skip=self._skip)
        passed = tuple(filter(None, [_passed_over(self._top)]))
        return FolderRule("class folders", label=0, passed=passed, skip=self._skip)


def _passed_over(node: _Node) -> bytes:
    """Return the path of the folder called images if it is the only one in this folder, else b""."""
    return node.only + b"/" if node.only.lower() in IMAGE_FOLDERS else b""


def _has_folders(node: _Node) -> bool:
    """Return whether it contains class folders, directly or in its folder of images."""
    if node.below and _passed_over(node):
        node = node.below[node.only]
    return node.below is None or bool(node.below)


def _are_splits(names: Iterable[bytes]) -> bool:
    found = list(names)
    return bool(found) and all(name.lower() in _SPLITS for name in found)


def _is_of_a_class_tar(key: bytes) -> bool:
    """Return whether the tar of an image is named after its class: n01440764/n01440764_18.JPEG."""
    tar, _, name = key.partition(b"/")
    if b"/" in name:
        return False
    # Shards are numbered, and some writers name the images after the shard: shard-00/shard-00_1.jpg.
    return _SYNSET.fullmatch(tar) is not None or (name.startswith(tar + b"_") and not tar[-1:].isdigit())
