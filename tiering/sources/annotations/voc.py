"""Annotations of Pascal VOC: Annotations/NAME.xml beside JPEGImages/NAME.jpg, and splits in ImageSets/Main.

An XML file becomes two fields: `objects`, its object elements, and `image_info`, everything else in it. The masks in
SegmentationClass and SegmentationObject become the fields `class_mask` and `object_mask`.
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Final
from xml.parsers import expat

from tiering.errors import DatasetError
from tiering.sources.annotations.annotated import About
from tiering.sources.fields import FoundField
from tiering.sources.small_files import read_small_files
from tiering.sources.trees.directory import names_in
from tiering.storage.json_text import json_text
from tiering.storage.urls import joined
from tiering.text import display

FOLDERS: Final = frozenset({b"Annotations/", b"JPEGImages/"})
_IMAGES: Final = b"JPEGImages/"

#: The fields that masks become, by the patterns of their files.
_MASKS: Final = {"class_mask": "SegmentationClass/{stem}.png", "object_mask": "SegmentationObject/{stem}.png"}

#: Lists of the names in a split. An image of trainval is in train or in val, too.
_SPLITS: Final = ("train", "val", "test", "trainval")

_LISTS_OF_SPLITS: Final = frozenset(f"{split}.txt".encode() for split in _SPLITS)

#: The names of directories that may be datasets of Pascal VOC, or contain them.
_FOLDER_OF_VOC: Final = re.compile(r"(^|/)VOC[^/]*/$", re.IGNORECASE)

#: How many levels deep such datasets are looked for, and how many names are listed of each directory.
_DEPTH: Final = 2
_MOST_NAMES: Final = 1000

_DEEPEST: Final = 16
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]+)?")

#: What an element holds: its text, or its children by name; several of one name become a list.
_Element = str | int | float | dict[str, "_Element"] | list["_Element"]


class VocAnnotations:
    """The annotations below a directory with JPEGImages and Annotations. url: path or URL."""

    classes = ()

    def __init__(self, url: str) -> None:
        self._url = url
        self._split_of: dict[str, str] = {}
        names = [f"ImageSets/Main/{split}.txt" for split in _SPLITS]
        for split, text in zip(_SPLITS, read_small_files(url, names), strict=True):
            for line in (text or b"").decode("utf-8", "surrogateescape").splitlines():
                if words := line.split():
                    self._split_of.setdefault(words[0], split)
        self._annotated = set(_stems(url, "Annotations", ".xml"))

    @property
    def fields(self) -> list[FoundField]:
        """Objects, and the rest of each file."""
        described = {"objects": "objects in Annotations/NAME.xml", "image_info": "the rest of Annotations/NAME.xml"}
        return [FoundField(name, "json", description=text) for name, text in described.items()]

    def is_sample(self, key: bytes) -> bool:
        """Return whether an image is one of JPEGImages. The others are masks."""
        return key.startswith(_IMAGES)

    def is_label_file(self, key: bytes) -> bool:
        """Return whether a file has the objects of an image, or lists a split."""
        folder, _, name = key.rpartition(b"/")
        return (folder == b"Annotations" and name.endswith(b".xml")) or (
            folder == b"ImageSets/Main" and name in _LISTS_OF_SPLITS
        )

    def about(self, keys: Sequence[bytes]) -> list[About]:
        """Read the annotations of some images."""
        stems = [os.fsdecode(key[len(_IMAGES) :]).rpartition(".")[0] for key in keys]
        texts = read_small_files(self._url, [f"Annotations/{stem}.xml" for stem in stems])
        return [self._of(stem, text) for stem, text in zip(stems, texts, strict=True)]

    def lost(self) -> Iterator[bytes]:
        """Yield the annotations without an image."""
        yield from (f"Annotations/{stem}.xml".encode("utf-8", "surrogateescape") for stem in sorted(self._annotated))

    def _of(self, stem: str, text: bytes | None) -> About:
        about = About(split=self._split_of.get(stem))
        self._annotated.discard(stem)
        if text is None:
            return about
        try:
            info = parse_xml(text)
        except ValueError as error:
            raise DatasetError(
                f"{display(self._url)}/Annotations/{display(stem)}.xml", expected="an annotation of Pascal VOC",
                found=str(error), action="Correct or remove it.",
            ) from error  # fmt: skip
        objects = info.pop("object", [])
        listed = objects if isinstance(objects, list) else [objects]
        about.values = {"objects": json_text(listed).encode(), "image_info": json_text(info).encode()}
        return about


def parse_xml(text: bytes) -> dict[str, _Element]:
    """Return the children of the outermost element of an XML document, with numbers as numbers.

    Attributes are ignored: VOC has none. Raises ValueError for anything else, for elements that are nested more than
    16 deep, and for entities of the document's own, which can grow without bound.
    """
    found: list[tuple[str, dict[str, _Element], list[str]]] = [("", {}, [])]
    parser = expat.ParserCreate()

    def begin(name: str, _: object) -> None:
        if len(found) > _DEEPEST:
            raise ValueError(f"elements nested more than {_DEEPEST} deep")
        found.append((name, {}, []))

    def end(_: str) -> None:
        name, children, words = found.pop()
        value: _Element = children or _plain("".join(words).strip())
        above = found[-1][1]
        if name not in above:
            above[name] = value
        elif isinstance(several := above[name], list):
            several.append(value)
        else:
            above[name] = [several, value]

    def add(data: str) -> None:
        found[-1][2].append(data)

    def refuse(*_: object) -> None:
        raise ValueError("a document with entities of its own")

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = add
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from error
    (top,) = found[0][1].values()
    return top if isinstance(top, dict) else {}


def _plain(text: str) -> str | int | float:
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return float(text) if number[1] else int(text) if str(int(text)) == text else text


def folders_below(url: str, names: Collection[bytes]) -> list[str]:
    """Return the datasets of Pascal VOC below a directory, as paths such as VOCdevkit/VOC2012.

    url: path or URL of the directory, which is no such dataset itself. names: of its files and directories. Only
    directories whose names begin with VOC are listed.
    """
    found, pending = list[str](), [os.fsdecode(name) for name in names]
    for _ in range(_DEPTH):
        below = list[str]()
        for path in filter(_FOLDER_OF_VOC.search, pending):
            inside = frozenset(islice(names_in(joined(url, path.rstrip("/"))), _MOST_NAMES))
            if inside >= FOLDERS:
                found.append(path.rstrip("/"))
            else:
                below += [path + os.fsdecode(name) for name in inside]
        pending = below
    return sorted(found)


def mask_patterns(names: Collection[bytes]) -> dict[str, str]:
    """Return the patterns of masks by field. names: of what is in the directory of a dataset."""
    return {name: pattern for name, pattern in _MASKS.items() if f"{pattern.partition('/')[0]}/".encode() in names}


def _stems(url: str, folder: str, ending: str) -> Iterator[str]:
    for name in names_in(joined(url, folder)):
        if name.endswith(ending.encode()):
            yield name[: -len(ending)].decode("utf-8", "surrogateescape")
