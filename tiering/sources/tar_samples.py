"""Images in tar files in the layout of WebDataset: members with the same name up to the first dot form a sample.

As in a directory, parts of digits belong to the name: 22.05.jpg and 22.06.jpg are two samples.
A hard or symbolic link is a sample of its own, with the bytes of its target.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Final

import polars as pl

from tiering.errors import DatasetError
from tiering.images.formats import HEAD, is_image_name
from tiering.sources.account import Ledger
from tiering.sources.labels.folders import SPLITS
from tiering.sources.left_out import LABEL, LOST_LABEL, NOT_AN_IMAGE, SIDECAR, TAR_LINK
from tiering.sources.repeated_keys import RepeatedKeys
from tiering.sources.tar_members import Member, members, opened
from tiering.sources.trees.contents import look_at_head
from tiering.sources.trees.remote import hash63
from tiering.sources.trees.siblings import is_plain, numbered
from tiering.sources.trees.walk import BATCH, no_images
from tiering.storage.failures import remote_errors
from tiering.storage.urls import name_of
from tiering.text import display

_COMPRESSED: Final = re.compile(r"\.(tar\.\w+|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
_LABEL_BYTES: Final = 4096

#: How many members of one key are held at once if each image is a sample of its own, and in any case.
_HELD: Final = 1000
_MOST_MEMBERS: Final = 100_000

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
    rows = (row for number, path in enumerate(files) for row in _images(path, number, ledger, alone=alone))
    empty = True
    while batch := list(islice(rows, BATCH)):
        empty = False
        yield pl.DataFrame(batch, schema=schema, orient="row")
    if empty:
        where = files[0] if alone else f"{files[0]} and {len(files) - 1:,} more"
        raise no_images(where, ledger.left_out, "tar file")


def _images(path: str, number: int, ledger: Ledger, *, alone: bool) -> Iterator[Row]:
    """Yield the images of one tar file, and check that samples and labels belong together."""
    name = name_of(path)
    prefix = b"" if alone else os.fsencode(name[: -len(".tar")]) + b"/"
    split = split_of(name)
    seen = RepeatedKeys()
    lost_label = lost_image = b""
    samples = _samples(path, prefix, ledger)
    while batch := list(islice(samples, BATCH)):
        for sample in batch:
            _record(sample, prefix, ledger)
            for key, size, version, offset in sample.images:
                yield prefix + key, size, version, sample.label_of(key), split, number, offset
            if not sample.labels and sample.images:
                lost_image = lost_image or sample.images[0][0]
            elif sample.labels and not sample.images and not sample.failed:
                lost_label = lost_label or next(iter(sample.labels))
            elif sample.images and not sample.failed and (unused := sample.unused()):
                raise DatasetError(
                    display(path),
                    expected="labels of images whose names are the same up to the first dot, as WebDataset has them",
                    found=f"{display(unused)}.cls, which is the label of no image",
                    action="Give the image and its label the same name.",
                )
        seen.add(_keys(batch))
    if lost_label and lost_image:
        raise DatasetError(
            display(path),
            expected="the members of a sample one after another",
            found=f"a label without an image ({display(lost_label)}.cls) and an image without a label "
            f"({display(lost_image)})",
            action="Pack it again in order of name: tar --sort=name.",
        )
    twice = seen.first(lambda: (_keys([sample]) for sample in _samples(path, prefix, Ledger())))
    if twice is not None:
        raise DatasetError(
            display(path),
            expected="members with different names",
            found=f"{display(twice)} twice",
            action="Remove one of the two.",
        )


@dataclass(slots=True)
class _Sample:
    """Neighbouring members with one WebDataset key, which is their name up to its first dot.

    images: key, size, version and offset of each.
    labels: by the name of the `.cls` member without its extension. That is the key itself (1.jpg and 1.cls), or the
    longer name of one image (22.05.jpg and 22.05.cls).
    label_files, others: key and size of the label files, and of the files that are neither image nor label.
    failed: whether one of its images is left out, because its format is not packed or its link has no target.
    """

    stem: bytes
    images: list[tuple[bytes, int, int, int]] = field(default_factory=list)
    labels: dict[bytes, str | None] = field(default_factory=dict)
    label_files: list[tuple[bytes, int]] = field(default_factory=list)
    others: list[tuple[bytes, int]] = field(default_factory=list)
    failed: bool = False

    def shares(self) -> bool:
        """Return whether an image has other images or files beside it that are fields of the same sample."""
        keys = {numbered(key) for key, *_ in self.images}
        return len(keys) < len(self.images) or bool(self.images and self.others)

    def held(self) -> int:
        """Return how many members are held."""
        return len(self.images) + len(self.label_files) + len(self.others)

    def is_whole(self, key: bytes) -> bool:
        """Return whether the images so far are samples of their own, and a member with this key starts another one."""
        named = {image.rpartition(b".")[0] for image, *_ in self.images}
        if not self.images or numbered(key) == numbered(self.images[-1][0]) or self.others or self.shares():
            return False
        return not self.labels or self.labels.keys() == named

    def label_of(self, image: bytes) -> str | None:
        """Return the label of an image: that of its own name, or that of the sample."""
        return self.labels.get(image.rpartition(b".")[0], self.labels.get(self.stem))

    def unused(self) -> bytes:
        """Return a label that belongs to no image, or b""."""
        used = {self.stem, *(key.rpartition(b".")[0] for key, *_ in self.images)} if self.labels else set()
        return next((name for name in self.labels if name not in used), b"")


def _is_plain(key: bytes) -> bool:
    return is_plain(key, numbered(key))


def _keys(samples: list[_Sample]) -> pl.Series:
    return pl.Series([key for sample in samples for key, *_ in sample.images], dtype=pl.Binary)


def _samples(path: str, prefix: bytes, ledger: Ledger) -> Iterator[_Sample]:
    sample = _Sample(b"")
    # Any OSError below comes from the file system, local or remote.
    with remote_errors(path):
        file, size, version = opened(path)
        with file:
            for member in members(path, file, size):
                if member.kind and member.kind != TAR_LINK:
                    ledger.leave_out(member.kind, prefix + member.key, member.size, member.reason)
                    continue
                folder, slash, name = member.key.rpartition(b"/")
                stem = folder + slash + name.partition(b".")[0]
                if stem != sample.stem or (sample.held() >= _HELD and sample.is_whole(member.key)):
                    yield sample
                    sample = _Sample(stem)
                if sample.held() > _MOST_MEMBERS:
                    raise DatasetError(
                        display(path), expected=f"at most {_MOST_MEMBERS:,} members of one key",
                        found=f"more of {display(stem)}, the name up to its first dot",
                        action="Give every image a name of its own before the first dot.",
                    )  # fmt: skip
                if member.kind:
                    ledger.leave_out(member.kind, prefix + member.key, member.size, member.reason)
                    sample.failed = True
                else:
                    _add(sample, file, member, version, prefix, ledger)
    yield sample


def _add(sample: _Sample, file: BinaryIO, member: Member, version: str, prefix: bytes, ledger: Ledger) -> None:
    """Add a member to its sample, by its name, or by its first bytes if it does not have an image's name."""
    key, size, offset = member.key, member.size, member.offset
    name = key.rpartition(b"/")[2]
    kind = reason = ""
    if name.lower().endswith(b".cls"):
        file.seek(offset)
        sample.labels[key[: -len(".cls")]] = display(file.read(min(size, _LABEL_BYTES))).strip() or None
        sample.label_files.append((key, size))
        return
    if not is_image_name(name):
        file.seek(offset)
        kind, reason = look_at_head(file.read(min(size, HEAD)), name)
    if not kind:
        sample.images.append((key, size, hash63(f"{version} {member.changed}"), offset))
    elif kind == NOT_AN_IMAGE:
        sample.others.append((key, size))
    else:
        ledger.leave_out(kind, prefix + key, size, reason)
        sample.failed = True


def _record(sample: _Sample, prefix: bytes, ledger: Ledger) -> None:
    """Record in a ledger what of a sample is left out, and which members share its key.

    This drops masks if the ledger wants images only.
    """
    if sample.shares():
        # For WebDataset, 22.05.cls is a field of the sample 22 and not a label.
        fields = [label[0] for label in sample.label_files if label[0][: -len(".cls")] != sample.stem]
        sizes = {key: size for key, size, *_ in sample.images}
        for key in sorted([*sizes, *(other[0] for other in sample.others), *fields]):
            ledger.share(prefix + sample.stem, prefix + key, sizes.get(key))
        plain = [image for image in sample.images if _is_plain(image[0])]
        if ledger.images_only and plain:
            for key, size, *_ in sample.images:
                if not _is_plain(key):
                    ledger.leave_out(SIDECAR, prefix + key, size)
            sample.images = plain
    for key, size in sample.others:
        ledger.leave_out(SIDECAR if sample.images else NOT_AN_IMAGE, prefix + key, size)
    for key, size in sample.label_files:
        ledger.leave_out(LABEL if sample.images or sample.failed else LOST_LABEL, prefix + key, size)
