"""Images in tar files in the layout of WebDataset: members with the same name up to the first dot form a sample.

Which of them is the image and which are its fields is decided as in a directory (tiering.sources.trees.siblings), so
parts of digits belong to the name: 22.05.jpg and 22.06.jpg are two samples. A `.cls` member is the label. In tar files
without any image, arrays are the images.
A hard or symbolic link is a sample of its own, with the bytes of its target.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.errors import DatasetError
from tiering.sources.account import Ledger
from tiering.sources.labels.folders import SPLITS
from tiering.sources.left_out import LABEL, LOST_LABEL, NOT_AN_IMAGE, SIDECAR
from tiering.sources.repeated_keys import RepeatedKeys
from tiering.sources.sidecars import FieldPlaces, Place
from tiering.sources.tar_groups import MOST_MEMBERS, TarSample, last_part, tar_samples
from tiering.sources.trees.siblings import Beside, is_plain, numbered, roles_of
from tiering.sources.trees.walk import BATCH, no_images
from tiering.storage.urls import name_of
from tiering.text import display

_COMPRESSED: Final = re.compile(r"\.(tar\.\w+|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
#: An image in a tar: its key, size, version, label, split, number of the tar file, and offset.
Row = tuple[bytes, int, int, str | None, str | None, int, int]


def is_tar_name(name: str) -> bool:
    """Return whether a name is that of a plain tar file."""
    return name.lower().endswith(".tar")


def is_compressed_name(name: str) -> bool:
    """Return whether a name is that of a compressed tar file, which does not allow random access."""
    return _COMPRESSED.search(name) is not None


def split_of(name: str) -> str | None:
    """Return the split with which the name of a tar file starts: train-0000.tar belongs to train."""
    first = re.match("[a-z]+", name.lower())
    return first.group() if first and first.group() in SPLITS else None


def tar_batches(files: tuple[str, ...], schema: dict[str, Any], ledger: Ledger) -> Iterator[pl.DataFrame]:
    """Yield the images in tar files in their order, up to 50,000 rows at a time.

    files: paths or URLs. schema: the columns, those of a Row. ledger: records every entry that is not a sample.
    Raises DatasetError for an incomplete tar file, a name that occurs twice in one, members of a sample that are not
    neighbours, and if there is no image at all; MachineError if a file cannot be read.
    """
    alone = len(files) == 1
    places = FieldPlaces(ledger)
    arrays = ledger.arrays and not _have_image(files, ledger)
    rows = (
        row
        for number, path in enumerate(files)
        for row in _images(path, number, ledger, places, alone=alone, arrays=arrays)
    )
    empty = True
    while batch := list(islice(rows, BATCH)):
        empty = False
        yield places.onto(pl.DataFrame(batch, schema=schema, orient="row"))
    if empty:
        where = files[0] if alone else f"{files[0]} and {len(files) - 1:,} more"
        raise no_images(where, ledger.left_out, "tar file")


def _have_image(files: tuple[str, ...], ledger: Ledger) -> bool:
    """Return whether there is an image in tar files. Reads up to the first one, nearly always the first member."""
    return any(sample.images for path in files for sample in tar_samples(path, b"", ledger.apart()))


def _images(path: str, number: int, ledger: Ledger, places: FieldPlaces, *, alone: bool, arrays: bool) -> Iterator[Row]:
    """Yield the images of one tar file, and check that samples, labels and fields belong together.

    arrays: take arrays as images.
    """
    name = name_of(path)
    prefix = b"" if alone else os.fsencode(name[: -len(".tar")]) + b"/"
    split = split_of(name)
    seen = RepeatedKeys()
    apart = _MembersApart()
    lost_label = lost_image = b""
    samples = tar_samples(path, prefix, ledger, arrays=arrays)
    while batch := list(islice(samples, BATCH)):
        for sample in batch:
            beside = _record(sample, prefix, number, ledger)
            apart.add(sample)
            for key, size, version, offset in sample.images:
                ledger.met += 1
                for place in places.attach(prefix + key, beside.get(key, [])):
                    ledger.leave_out(SIDECAR, place.key, place.size, "its name cannot be that of a field")
                yield prefix + key, size, version, sample.label_of(key), split, number, offset
            if not sample.labels and sample.images:
                lost_image = lost_image or sample.images[0][0]
            elif sample.labels and not sample.images and not sample.failed:
                lost_label = lost_label or next(iter(sample.labels))
            else:
                _refuse_unused(sample, path)
        seen.add(_keys(batch))
    if lost_label and lost_image:
        raise DatasetError(
            display(path),
            expected="the members of a sample one after another",
            found=f"a label without an image ({display(lost_label)}.cls) and an image without a label "
            f"({display(lost_image)})",
            action="Pack it again in order of name: tar --sort=name.",
        )
    if ledger.images_only is False:
        apart.refuse(path)
    twice = seen.first(lambda: (_keys([sample]) for sample in tar_samples(path, prefix, ledger.apart(), arrays=arrays)))
    if twice is not None:
        raise DatasetError(
            display(path),
            expected="members with different names",
            found=f"{display(twice)} twice",
            action="Remove one of the two.",
        )


def _refuse_unused(sample: TarSample, path: str) -> None:
    if sample.images and not sample.failed and (unused := sample.unused()):
        raise DatasetError(
            display(path),
            expected="labels of images whose names are the same up to the first dot, as WebDataset has them",
            found=f"{display(unused)}.cls, which is the label of no image",
            action="Give the image and its label the same name.",
        )


def _keys(samples: list[TarSample]) -> pl.Series:
    return pl.Series([key for sample in samples for key, *_ in sample.images], dtype=pl.Binary)


def _record(sample: TarSample, prefix: bytes, number: int, ledger: Ledger) -> dict[bytes, list[Place]]:
    """Return the files beside each image of a sample, by its key, and record in a ledger what is left out.

    prefix, number: of the tar. Only samples stay among the images.
    """
    beside: dict[bytes, list[Place]] = {}
    if ledger.images_only is False:
        beside = _with_fields(sample, prefix, number)
    elif ledger.images_only and (plain := [image for image in sample.images if _is_plain(image[0])]):
        for key, size, *_ in sample.images:
            if not _is_plain(key):
                ledger.leave_out(SIDECAR, prefix + key, size)
        sample.images = plain
    for other in sample.others:
        if other.kind != NOT_AN_IMAGE:
            ledger.leave_out(other.kind, prefix + other.key, other.size, other.reason)
            sample.failed = True
    for other in sample.others:
        if other.kind == NOT_AN_IMAGE:
            kind = SIDECAR if sample.images or sample.failed else NOT_AN_IMAGE
            ledger.leave_out(kind, prefix + other.key, other.size)
    for key, size in sample.label_files:
        ledger.leave_out(LABEL if sample.images or sample.failed else LOST_LABEL, prefix + key, size)
    return beside


def _with_fields(sample: TarSample, prefix: bytes, number: int) -> dict[bytes, list[Place]]:
    """Take the fields of its images out of a sample, and return them by the key of the image."""
    if len(sample.images) + len(sample.others) < 2:
        return {}
    folder = sample.stem[: sample.stem.rfind(b"/") + 1]
    members = [*sample.images, *(other[:4] for other in sample.others)]
    roles = roles_of((last_part(key) for key, *_ in members), {last_part(key) for key, *_ in sample.images})
    beside: dict[bytes, list[Place]] = {}
    taken = set()
    for key, size, version, offset in members:
        role = roles.get(last_part(key))
        if isinstance(role, Beside):
            place = Place(role.suffix(last_part(key)), prefix + key, size, version, number, offset)
            beside.setdefault(folder + role.image, []).append(place)
            taken.add(key)
    sample.images = [image for image in sample.images if image[0] not in taken]
    sample.others = [other for other in sample.others if other.key not in taken]
    return beside


def _is_plain(key: bytes) -> bool:
    return is_plain(last_part(key), numbered(last_part(key)))


class _MembersApart:
    """Finds members without an image whose image lies elsewhere in the tar, with 8 bytes of memory per sample."""

    def __init__(self) -> None:
        self._with: list[int] = []
        self._without: dict[int, bytes] = {}
        self._stems: list[npt.NDArray[np.int64]] = []

    def add(self, sample: TarSample) -> None:
        """Add a sample."""
        stem = hash(sample.stem)
        if sample.images:
            self._with.append(stem)
            if len(self._with) == BATCH:
                self._stems.append(np.array(self._with, np.int64))
                self._with = []
        elif sample.others and len(self._without) < MOST_MEMBERS:
            self._without.setdefault(stem, sample.others[0].key)

    def refuse(self, path: str) -> None:
        """Raise DatasetError if a member lies apart from its image. path: of the tar."""
        stems = np.concatenate([*self._stems, np.array(self._with, np.int64)])
        for lost in np.intersect1d(stems, np.array(list(self._without), np.int64))[:1].tolist():
            raise DatasetError(
                display(path),
                expected="the members of a sample one after another",
                found=f"{display(self._without[lost])} apart from its image",
                action="Pack it again in order of name: tar --sort=name. To pack just the images: `images_only`",
            )
