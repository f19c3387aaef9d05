"""Which feature of tf.Examples is the image and which the label, and the fields that the others become."""

from __future__ import annotations

from typing import Final

import numpy as np

from tiering.errors import DatasetError
from tiering.images.formats import HEAD, format_of
from tiering.images.npy import npy_document
from tiering.literals import FieldKind
from tiering.sources.fields import FoundField, field_name
from tiering.sources.records.tf_example import Feature, FeatureKind
from tiering.sources.tables.column_names import SPELLINGS, plain
from tiering.storage.json_text import json_text
from tiering.text import display

#: Features that hold the image of a sample, the most usual first.
_IMAGES: Final = ("image/encoded", "image", "image_raw", "img", "jpeg", "jpg", "png", "encoded", "image_bytes")

#: Longer values are bytes or images, and not looked at as text.
_TEXT: Final = 1 << 16


class SeenFeature:
    """What the values of a feature have in common so far."""

    def __init__(self, kind: FeatureKind) -> None:
        self.kind = kind
        self.lengths: set[int] = set()
        self.is_text = True
        self.is_image: bool | None = None

    def add(self, name: str, feature: Feature, data: memoryview, path: str) -> None:
        """Look at the feature of another Example. data: the Example. path: of its file, for errors."""
        if feature.kind != self.kind:
            raise DatasetError(
                display(path), expected=f"one kind of values in each feature, as for {name!r}: {self.kind}",
                found=feature.kind, action="Convert files of different features one by one.",
            )  # fmt: skip
        if len(feature) and len(self.lengths) < 3:
            self.lengths.add(len(feature))
        for first, size in feature.parts:
            if self.is_image is None and size:
                self.is_image = format_of(bytes(data[first : first + min(size, HEAD)])) is not None
            if self.is_text and not self.is_image:
                self.is_text = size <= _TEXT and _is_text(data[first : first + size])

    @property
    def is_single(self) -> bool:
        """Whether no Example has more than one value."""
        return self.lengths <= {1}


def _is_text(data: memoryview) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


class Schema:
    """The features of a dataset: which is the image, which the label, and the fields of the others."""

    def __init__(self, seen: dict[str, SeenFeature], path: str) -> None:
        images = [name for name in sorted(seen) if seen[name].is_image and seen[name].is_single]
        if not images:
            raise DatasetError(
                display(path), expected="a feature that holds encoded images",
                found=", ".join(sorted(seen)[:20]) or "no feature",
                action="Write the images as files, with a table of their paths and labels, and use that table.",
            )  # fmt: skip
        self.image = next((name for name in _IMAGES if name in images), images[0])
        self.label = _label_of(seen)
        self.fields: dict[str, tuple[FoundField, SeenFeature]] = {}
        lists = [name for name in sorted(seen) if seen[name].is_image and not seen[name].is_single]
        self.notes = [f"the feature {name} is left out: it holds several images" for name in lists]
        for name in sorted(seen):
            if name not in (self.image, self.label, *lists):
                called = field_name(name, (field.name for field, _ in self.fields.values()))
                found = FoundField(called, _kind_of(seen[name]), description=f"feature {name}")
                self.fields[name] = found, seen[name]

    def label_of(self, found: dict[str, Feature], data: memoryview) -> str | None:
        """Return the label of an Example, None for none."""
        feature = found.get(self.label) if self.label is not None else None
        if feature is None or not len(feature):
            return None
        if feature.kind == "int":
            return str(feature.numbers[0])
        first, size = feature.parts[0]
        return str(data[first : first + size], "utf-8", "replace").strip() or None


def _label_of(seen: dict[str, SeenFeature]) -> str | None:
    """Return the feature that is the label: image/class/label, label, class."""
    usable = {
        name: plain(name.rpartition("/")[2])
        for name, each in sorted(seen.items())
        if each.is_single and (each.kind == "int" or (each.kind == "bytes" and each.is_text and not each.is_image))
    }
    return next((name for word in SPELLINGS["label"] for name, last in usable.items() if last == word), None)


def _kind_of(seen: SeenFeature) -> FieldKind:
    if seen.kind == "bytes":
        if not seen.is_single:
            return "json"
        return "image" if seen.is_image else "string" if seen.is_text else "bytes"
    if seen.is_single:
        return "float" if seen.kind == "float" else "integer"
    return "vector" if len(seen.lengths) == 1 else "json"


def value_of(field: FoundField, feature: Feature, data: memoryview) -> bytes:
    """Return the value of a field that is kept in frames."""
    if field.kind == "string":
        first, size = feature.parts[0]
        return bytes(data[first : first + size])
    if field.kind == "vector":
        return npy_document(np.array(feature.numbers, "<f4" if feature.kind == "float" else "<i8"))
    if field.kind == "json":
        texts = [bytes(data[first : first + size]) for first, size in feature.parts]
        return json_text([_as_text(each) for each in texts] or list(feature.numbers)).encode()
    return repr(feature.numbers[0]).encode()


def _as_text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
