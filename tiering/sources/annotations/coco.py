"""Annotations in COCO's format: instances_train2017.json, captions_train2017.json, and iNaturalist's train2019.json.

A document has arrays of images, categories and annotations; an annotation names its image by number. Annotations come
in any order, so each is written to a scratch file, and only its image and its place there are in memory: 32 bytes for
an annotation, and as much for an image. https://cocodataset.org/#format-data

An image becomes a field `image_info`, its annotations a field named after the document: `objects` for instances,
`captions`, `person_keypoints`. If every image has one annotation with a category and nothing else, as in iNaturalist,
the category is the label.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from tiering.arrays import IndexArray
from tiering.errors import DatasetError
from tiering.sources.annotations.annotated import About, keys_of
from tiering.sources.annotations.coco_documents import KeyOf, keys_below
from tiering.sources.annotations.json_elements import elements
from tiering.sources.fields import FieldsWarning, FoundField, field_name
from tiering.sources.labels.folders import SPLITS
from tiering.sources.records.files import opened
from tiering.sources.trees.remote import hash63
from tiering.storage.json_text import json_text, parse_json
from tiering.storage.urls import name_of
from tiering.text import display, shown

#: Documents whose annotations are about something else than their name says.
_FIELDS: Final = {"instances": "objects", "": "objects"}


class CocoAnnotations:
    """The annotations of some documents.

    url: path or URL of the images. files: the documents. scratch: a local directory for their contents.
    Raises DatasetError for documents that are damaged, or of which no image is there.
    """

    def __init__(self, url: str, files: Sequence[str], scratch: Path) -> None:
        self._documents: list[_Document] = []
        self._files = set(keys_of(url, files))
        for number, file in enumerate(files):
            key_of = keys_below(url, file)
            if key_of is None:
                message = f"{display(file)} is left out: its first image is not below {display(url)}."
                warnings.warn(shown(message), FieldsWarning, stacklevel=2)
                continue
            self._documents.append(_Document(file, key_of, scratch / f"annotations-{number}"))
        if not self._documents:
            raise DatasetError(
                display(url), found=f"none of the images of {display(files[0])} is there",
                action="Give the directory from which the names in the annotations start.",
            )  # fmt: skip
        labelled = [document for document in self._documents if document.is_of_classes]
        self.classes = tuple(labelled[0].classes.values()) if labelled else ()
        self.fields = [FoundField("image_info", "json", description="the image in its annotations")]
        taken = {"image_info"}
        for document in self._documents:
            if document.has_field and document.field not in taken:
                taken.add(document.field)
                described = f"annotations in {name_of(document.path)} and the like"
                self.fields.append(FoundField(document.field, "json", description=described))

    def is_sample(self, key: bytes) -> bool:  # noqa: ARG002 - as in Annotations
        """Return True: every image is a sample, whether it is annotated or not."""
        return True

    def is_label_file(self, key: bytes) -> bool:
        """Return whether a file is one of the documents."""
        return key in self._files

    def about(self, keys: Sequence[bytes]) -> list[About]:
        """Return what the documents say of some images."""
        found = [About() for _ in keys]
        hashes = np.array([_hash(key) for key in keys], dtype=np.int64)
        for document in self._documents:
            document.add(hashes, found)
        return found

    def lost(self) -> Iterator[bytes]:
        """Yield the images in the documents that were not met, each once."""
        seen: set[bytes] = set()
        for document in self._documents:
            for key in document.lost():
                if key not in seen:
                    seen.add(key)
                    yield key


class _Document:
    """A document, read once. Its images and annotations are in a scratch file."""

    def __init__(self, path: str, key_of: KeyOf, scratch: Path) -> None:
        self.path = path
        self._key_of = key_of
        self._scratch = scratch
        stem = name_of(path).rpartition(".")[0].lstrip("_").removesuffix(".coco")
        words = re.fullmatch(r"(?P<what>.*?)_?(?P<split>[A-Za-z]+)?[0-9]*", stem)
        split = (words["split"] or "") if words else ""
        self.split = split if split.lower() in SPLITS else None
        what = (words["what"] if words and self.split else stem) or ""
        self.field = _FIELDS.get(what) or field_name("objects" if what == "annotations" else what)
        self._categories: dict[int, str] = {}
        self._has_boxes = False
        images, annotations = _Rows(), _Rows()
        with scratch.open("wb") as out:
            self._read(images, annotations, out)
        #: Hash of the key, number, offset and size of each image.
        self._image = images.sorted_columns()
        self._met = np.zeros(len(self._image[0]), dtype=bool)
        #: Number of the image, offset, size and category of each annotation.
        self._annotation = annotations.sorted_columns()
        of, _, _, category = self._annotation
        single = len(np.unique(of)) == len(of)
        self.is_of_classes = bool(len(of)) and single and not self._has_boxes and bool((category >= 0).all())
        self.has_field = bool(len(of)) and not self.is_of_classes

    @cached_property
    def classes(self) -> dict[int, str]:
        """The names of the categories by their numbers, sorted. A name that occurs twice is followed by its number."""
        often = Counter(self._categories.values())
        named = sorted(self._categories.items())
        return {number: name if often[name] == 1 else f"{name} ({number})" for number, name in named}

    def add(self, hashes: IndexArray, found: list[About]) -> None:
        """Add to what is known of some images. hashes: of their keys."""
        key, number, offset, size = self._image
        if not len(key):
            return
        at = np.minimum(np.searchsorted(key, hashes), len(key) - 1)
        rows = np.flatnonzero(key[at] == hashes)
        self._met[at[rows]] = True
        begins = np.searchsorted(self._annotation[0], number[at[rows]], "left")
        ends = np.searchsorted(self._annotation[0], number[at[rows]], "right")
        with self._scratch.open("rb") as scratch:
            for row, begin, end, where in zip(
                rows.tolist(), begins.tolist(), ends.tolist(), at[rows].tolist(), strict=True
            ):
                about = found[row]
                about.split = about.split or self.split
                about.values.setdefault("image_info", _text(scratch, int(offset[where]), int(size[where])))
                if self.is_of_classes:
                    about.label = self.classes.get(int(self._annotation[3][begin])) if end > begin else None
                if not self.has_field:
                    continue
                texts = [self._annotation_text(scratch, each) for each in range(begin, end)]
                about.values[self.field] = b"[" + b",".join(texts) + b"]"

    def lost(self) -> Iterator[bytes]:
        _, _, offset, size = self._image
        with self._scratch.open("rb") as scratch:
            for row in np.flatnonzero(~self._met).tolist():
                info = parse_json(_text(scratch, int(offset[row]), int(size[row])))
                yield self._key_of(str(info["file_name"])).encode("utf-8", "surrogateescape")

    def _annotation_text(self, scratch: BinaryIO, row: int) -> bytes:
        """Return an annotation as JSON, with the name of its category, which a document may have after it."""
        _, offset, size, category = (int(column[row]) for column in self._annotation)
        text = _text(scratch, offset, size)
        name = self._categories.get(category)
        if name is None or text[-1:] != b"}":
            return text
        comma = b"," if len(text) > 2 else b""
        return text[:-1] + comma + b'"category": ' + json_text(name).encode() + b"}"

    def _read(self, images: _Rows, annotations: _Rows, out: BinaryIO) -> None:
        try:
            with opened(self.path) as (file, _):
                for name, value in elements(file):
                    if name == "categories" and isinstance(value, dict):
                        self._categories[_whole(value["id"])] = str(value["name"])
                    elif name == "images" and isinstance(value, dict):
                        text = json_text(value).encode()
                        key = self._key_of(str(value["file_name"])).encode("utf-8", "surrogateescape")
                        images.add(_hash(key), _whole(value["id"]), out.tell(), len(text))
                        out.write(text)
                    elif name == "annotations" and isinstance(value, dict):
                        self._add(value, annotations, out)
        except (ValueError, KeyError, TypeError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise DatasetError(
                display(self.path), expected="annotations in COCO's format", found=what, action="Copy the file again."
            ) from error

    def _add(self, value: dict[str, Any], annotations: _Rows, out: BinaryIO) -> None:
        of = _whole(value.pop("image_id"))
        value.pop("category", None)
        self._has_boxes = self._has_boxes or bool(value.keys() & {"bbox", "segmentation", "caption", "segments_info"})
        category = value.get("category_id")
        number = _whole(category) if category is not None else -1
        # A caption is its text and nothing else.
        plain = value["caption"] if isinstance(value.get("caption"), str) and "bbox" not in value else value
        text = json_text(plain).encode()
        annotations.add(of, out.tell(), len(text), number)
        out.write(text)


class _Rows:
    """Rows of four int64 numbers that are added one by one, at 8 bytes a number."""

    def __init__(self) -> None:
        self._full: list[IndexArray] = []
        self._part: list[tuple[int, int, int, int]] = []

    def add(self, *row: *tuple[int, int, int, int]) -> None:
        self._part.append(row)
        if len(self._part) == 1 << 16:
            self._full.append(np.array(self._part, dtype=np.int64))
            self._part = []

    def sorted_columns(self) -> tuple[IndexArray, ...]:
        """Return the columns, with the rows sorted by the first."""
        rows = np.concatenate([*self._full, np.array(self._part, dtype=np.int64).reshape(-1, 4)])
        return tuple(column.copy() for column in rows[np.argsort(rows[:, 0], kind="stable")].T)


def _whole(value: object) -> int:
    """Return a number of an image or a category. Some programs write it as text."""
    number = int(value) if isinstance(value, str | int) else -1
    if not 0 <= number < 1 << 62:
        raise ValueError(f"the number {value!r}")
    return number


def _hash(key: bytes) -> int:
    return hash63(key.decode("utf-8", "surrogateescape"))


def _text(scratch: BinaryIO, offset: int, size: int) -> bytes:
    return os.pread(scratch.fileno(), size, offset)
