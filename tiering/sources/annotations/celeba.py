"""Annotations of CelebA: list_attr_celeba.txt and the other lists beside img_align_celeba.

Each of the forty attributes becomes a field of the integers -1 and 1, as the list has them; the identity another one; a
box and the landmarks become vectors of integers. The lists are text, or CSV as on Kaggle, beside the images' directory
or in the folders Anno and Eval. https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from tiering.errors import DatasetError
from tiering.images.npy import npy_document
from tiering.sources.annotations.annotated import About, keys_of
from tiering.sources.fields import FoundField, field_name
from tiering.sources.records.files import opened
from tiering.sources.trees.directory import names_in
from tiering.storage.urls import joined
from tiering.text import display

ATTRIBUTES: Final = "list_attr_celeba"
_SPLITS: Final = {0: "train", 1: "val", 2: "test"}
_LARGEST: Final = 256 << 20

#: The lists, with the field of each; "" for those with a field for each column, or none.
_LISTS: Final = {
    ATTRIBUTES: "",
    "list_eval_partition": "",
    "identity_CelebA": "identity",
    "list_bbox_celeba": "box",
    "list_landmarks_align_celeba": "landmarks",
    "list_landmarks_celeba": "landmarks_in_the_wild",
}


def celeba_lists(url: str) -> dict[str, str]:
    """Return the lists of a directory by their names without extension, {} if it has none of attributes."""
    found: dict[str, str] = {}
    for folder in ("", "Anno", "Eval"):
        place = joined(url, folder) if folder else url
        with suppress(FileNotFoundError, NotADirectoryError):
            for raw in names_in(place):
                name = raw.decode("utf-8", "surrogateescape")
                stem, _, ending = name.rpartition(".")
                if stem in _LISTS and ending in ("txt", "csv"):
                    found.setdefault(stem, joined(place, name))
    return found if ATTRIBUTES in found else {}


@dataclass(frozen=True, slots=True)
class _List:
    """A list: names of its columns, and the numbers of each image in them."""

    columns: list[str]
    rows: dict[str, int]
    numbers: np.ndarray[tuple[int, int], np.dtype[np.int32]]


class CelebaAnnotations:
    """The lists of a directory. url: path or URL."""

    classes = ()

    def __init__(self, url: str) -> None:
        files = celeba_lists(url)
        self._files = set(keys_of(url, files.values()))
        self._lists = {name: _read(path) for name, path in files.items()}
        self._splits = self._lists.pop("list_eval_partition", None)
        self._names: dict[str, list[str]] = {name: [] for name in self._lists}
        taken: list[str] = []
        for name, each in self._lists.items():
            for column in each.columns if name == ATTRIBUTES else [_LISTS[name]]:
                taken.append(field_name(column, taken))
                self._names[name].append(taken[-1])
        self._lost = dict.fromkeys(self._lists[ATTRIBUTES].rows)

    @property
    def fields(self) -> list[FoundField]:
        """Each attribute, and one field for each other list."""
        found: list[FoundField] = []
        for name, names in self._names.items():
            single = name == ATTRIBUTES or len(self._lists[name].columns) == 1
            described = "" if name == ATTRIBUTES else ", ".join(self._lists[name].columns)
            found += [FoundField(each, "integer" if single else "vector", description=described) for each in names]
        return found

    def is_sample(self, key: bytes) -> bool:  # noqa: ARG002 - as in Annotations
        """Return True: every image is a sample."""
        return True

    def is_label_file(self, key: bytes) -> bool:
        """Return whether a file is one of the lists."""
        return key in self._files

    def about(self, keys: Sequence[bytes]) -> list[About]:
        """Return what the lists say of some images, by the names of their files."""
        found: list[About] = []
        for key in keys:
            name = key.rpartition(b"/")[2].decode("utf-8", "surrogateescape")
            about = About(split=self._split_of(name))
            for listed, each in self._lists.items():
                if (row := each.rows.get(name)) is not None:
                    self._add(about, listed, each.numbers[row])
            self._lost.pop(name, None)
            found.append(about)
        return found

    def lost(self) -> Iterator[bytes]:
        """Yield the names in the list of attributes whose image was not met."""
        yield from (name.encode("utf-8", "surrogateescape") for name in self._lost)

    def _split_of(self, name: str) -> str | None:
        if self._splits is None or (row := self._splits.rows.get(name)) is None:
            return None
        return _SPLITS.get(int(self._splits.numbers[row][0]))

    def _add(self, about: About, listed: str, numbers: np.ndarray[tuple[int], np.dtype[np.int32]]) -> None:
        names = self._names[listed]
        if listed == ATTRIBUTES or len(numbers) == 1:
            about.values |= {name: b"%d" % number for name, number in zip(names, numbers.tolist(), strict=True)}
        else:
            about.values[names[0]] = npy_document(numbers.astype("<i4"))


def _read(path: str) -> _List:
    with opened(path) as (file, size):
        if size > _LARGEST:
            raise DatasetError(display(path), expected="a list of CelebA", found=f"one of {size:,} bytes")
        lines = file.read(_LARGEST).decode("utf-8", "replace").splitlines()
    try:
        if path.lower().endswith(".csv"):
            table = [row for row in csv.reader(lines) if row]
            columns, rows = table[0][1:], table[1:]
        else:
            # A list may begin with its number of rows and the names of its columns.
            named = len(lines) > 1 and len(lines[0].split()) == 1
            columns = lines[1].split() if named else []
            rows = [line.split() for line in lines[2 if named else 0 :] if line.strip()]
            columns = columns[1:] if columns[:1] == ["image_id"] else columns
        numbers = np.array([[int(word) for word in row[1:]] for row in rows], dtype=np.int32).reshape(len(rows), -1)
    except (ValueError, IndexError, OverflowError) as error:
        raise DatasetError(
            display(path), expected="a list of CelebA: a name and whole numbers in each line", found=str(error),
            action="Copy it again.",
        ) from error  # fmt: skip
    if columns and rows and len(columns) != numbers.shape[1]:
        raise DatasetError(
            display(path), expected=f"{len(columns)} numbers in each line", found=f"{numbers.shape[1]}",
            action="Copy it again.",
        )  # fmt: skip
    known = columns or [str(at) for at in range(numbers.shape[1])]
    return _List(known, {row[0]: at for at, row in enumerate(rows)}, numbers)
