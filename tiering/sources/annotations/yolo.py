"""Annotations of YOLO: labels/train/NAME.txt for images/train/NAME.jpg, and names of classes in data.yaml.

A line is a class and the centre and size of a box, or a class and the corners of a polygon, from 0 to 1. They become
the field `objects`: [{"class": 0, "name": "cat", "box": [0.5, 0.5, 0.2, 0.3]}], or with "polygon" in place of "box". An
image without a file has no value; one with an empty file has no objects. https://docs.ultralytics.com/datasets/detect
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from math import isfinite
from typing import Any, Final

from tiering.errors import DatasetError
from tiering.sources.annotations.annotated import About
from tiering.sources.fields import FoundField
from tiering.sources.labels.folders import SPLITS
from tiering.sources.small_files import read_small_files
from tiering.sources.trees.directory import names_in
from tiering.storage.json_text import json_text
from tiering.storage.location import Location
from tiering.storage.urls import joined
from tiering.text import display

#: Files that name the classes.
_NAMES: Final = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "labels/classes.txt")
_MOST_NAMES: Final = 10_000

#: How many names of a directory are looked at.
_LOOKED_AT: Final = 1000


def is_yolo(url: str, names: frozenset[bytes]) -> bool:
    """Return whether a directory has images and labels as YOLO lays them out.

    url: path or URL. names: in the directory; those of directories end in "/".
    """
    if {b"images/", b"labels/"} <= names:
        return _has_texts(joined(url, "labels"))
    folders = [name[:-1].decode("utf-8", "surrogateescape") for name in names if name.endswith(b"/")]
    splits = [joined(url, name) for name in folders if name.lower() in SPLITS]
    return any(
        Location.of(joined(split, "images")).is_directory() and _has_texts(joined(split, "labels")) for split in splits
    )


def _has_texts(url: str) -> bool:
    """Return whether there are text files in a directory, or in one of its folders."""
    if not Location.of(url).is_directory():
        return False
    names = list(islice(names_in(url), _LOOKED_AT))
    folders = [name[:-1].decode("utf-8", "surrogateescape") for name in names if name.endswith(b"/")]
    inside = (name for folder in folders[:10] for name in islice(names_in(joined(url, folder)), _LOOKED_AT))
    return any(name.endswith(b".txt") for name in chain(names, inside))


class YoloAnnotations:
    """The annotations below a directory. url: path or URL."""

    classes = ()

    def __init__(self, url: str) -> None:
        self._url = url
        names: list[str] = []
        for name, data in zip(_NAMES, read_small_files(url, list(_NAMES)), strict=True):
            if not names and data is not None:
                text = data.decode("utf-8", "replace")
                names = text.splitlines() if name.endswith(".txt") else class_names(text)
        self._names = names

    @property
    def fields(self) -> list[FoundField]:
        """The objects."""
        return [FoundField("objects", "json", description="objects in labels/NAME.txt")]

    def is_sample(self, key: bytes) -> bool:
        """Return whether an image is below a directory `images`. Others are previews of a training run."""
        return b"images" in key.split(b"/")[:-1]

    def is_label_file(self, key: bytes) -> bool:
        """Return whether a file has the objects of an image, or names the classes."""
        return key.decode("utf-8", "replace") in _NAMES or (key.endswith(b".txt") and b"labels" in key.split(b"/")[:-1])

    def about(self, keys: Sequence[bytes]) -> list[About]:
        """Read the annotations of some images."""
        found = [_label_file(key.decode("utf-8", "surrogateescape")) for key in keys]
        texts = read_small_files(self._url, found)
        return [self._of(key, name, text) for key, name, text in zip(keys, found, texts, strict=True)]

    def lost(self) -> Iterator[bytes]:
        """Yield nothing: a label file without an image is common after images were filtered."""
        yield from ()

    def _of(self, key: bytes, name: str, text: bytes | None) -> About:
        parts = key.decode("utf-8", "surrogateescape").split("/")
        about = About(split=next((part for part in parts[:-1] if part.lower() in SPLITS), None))
        if text is not None:
            try:
                about.values["objects"] = json_text(parse_labels(text, self._names)).encode()
            except ValueError as error:
                raise DatasetError(
                    display(joined(self._url, name)), expected="a class and coordinates in each line", found=str(error),
                    action="Correct or remove it.",
                ) from error  # fmt: skip
        return about


def _label_file(key: str) -> str:
    """Return the path of an image's labels: the last directory called images becomes labels."""
    folder, _, name = f"/{key}".rpartition("/images/")
    return f"{folder}/labels/{name.rpartition('.')[0]}.txt".lstrip("/")


def parse_labels(text: bytes, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the objects in a label file. names: of the classes. Raises ValueError for any other line."""
    objects: list[dict[str, Any]] = []
    for line in text.decode("utf-8", "replace").splitlines():
        words = line.split()
        if not words:
            continue
        numbers = [float(word) for word in words[1:]]
        if not all(map(isfinite, numbers)):
            raise ValueError("a coordinate that is no number")
        # Some programs write classes as 1.0.
        value = float(words[0])
        if not 0 <= value <= _MOST_NAMES or value != int(value):
            raise ValueError(f"the class {words[0]!r}")
        number = int(value)
        found: dict[str, Any] = {"class": number}
        if number < len(names):
            found["name"] = names[number]
        # A fifth number is the certainty of a prediction.
        if len(numbers) in (4, 5):
            found["box"] = numbers[:4]
            found |= {"score": numbers[4]} if len(numbers) == 5 else {}
        elif len(numbers) >= 6 and not len(numbers) % 2:
            found["polygon"] = numbers
        else:
            raise ValueError(f"{len(numbers)} coordinates")
        objects.append(found)
    return objects


def class_names(text: str) -> list[str]:
    """Return the names of the classes in a data.yaml: [] if it has none in a form that is known.

    Known are `names: [a, b]`, on one line or several, and `names:` above lines of `- a` or `0: a`.
    """
    flow = re.search(r"^names:\s*\[(?P<all>[^\]]*)\]", text, re.MULTILINE)
    if flow:
        parts = re.findall(r"""\s*(?:'((?:[^']|'')*)'|"([^"]*)"|([^,'"]+?))\s*(?:,|\Z)""", flow["all"])
        names = [(one.replace("''", "'") or two or three).strip() for one, two, three in parts[:_MOST_NAMES]]
        return names[:-1] if names and not names[-1] else names
    block = re.search(
        r"^names:[ \t]*(?:#.*)?\n(?P<all>(?:[ \t]*(?:-|\d+:).*\n?|[ \t]*#.*\n|[ \t]*\n)*)", text, re.MULTILINE
    )
    if block is None:
        return []
    found: dict[int, str] = {}
    for line in block["all"].splitlines():
        entry = re.fullmatch(r"[ \t]*(?:-|(?P<number>\d{1,5}):)[ \t]*(?P<name>.*?)[ \t]*(?:[ \t]#.*)?", line)
        if entry and entry["name"]:
            found[int(entry["number"]) if entry["number"] else len(found)] = entry["name"].strip("'\"")
    return [found.get(number, str(number)) for number in range(min(max(found, default=-1) + 1, _MOST_NAMES))]
