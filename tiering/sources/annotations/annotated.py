"""Joins a folder of images with their annotations: labels, splits and fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import polars as pl

from tiering.sources.account import Ledger
from tiering.sources.fields import FoundField, value_column
from tiering.sources.left_out import LOST_LABEL, SIDECAR

#: How many images are annotated at once, and how many bytes of annotations a frame holds.
_TOGETHER: Final = 4096
_FRAME_BYTES: Final = 32 << 20


@dataclass(slots=True)
class About:
    """What the annotations say of an image. values: of fields."""

    label: str | None = None
    split: str | None = None
    values: dict[str, bytes | None] = field(default_factory=dict)


class Annotations(Protocol):
    """The annotations of a folder of images."""

    @property
    def fields(self) -> Sequence[FoundField]:
        """The fields that they give."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes of labels in the order of their numbers; empty if there are no labels."""
        ...

    def is_sample(self, key: bytes) -> bool:
        """Return whether an image is a sample. Others are masks or previews."""
        ...

    def is_label_file(self, key: bytes) -> bool:
        """Return whether a file below the directory is one of the annotations."""
        ...

    def about(self, keys: Sequence[bytes]) -> list[About]:
        """Return what is known of each image."""
        ...

    def lost(self) -> Iterator[bytes]:
        """Yield the keys of annotated images that `about` was not asked for."""
        ...


def keys_of(url: str, files: Iterable[str]) -> Iterator[bytes]:
    """Yield the keys of the files that are below a directory. url, files: paths or URLs."""
    below = url.rstrip("/") + "/"
    yield from (file[len(below) :].encode("utf-8", "surrogateescape") for file in files if file.startswith(below))


def annotated_batches(
    images: Iterator[pl.DataFrame], annotations: Annotations, ledger: Ledger
) -> Iterator[pl.DataFrame]:
    """Yield images with their annotations.

    images: frames of a folder. ledger: gets the fields, images that are no samples, and annotations without an image.
    """
    for each in annotations.fields:
        ledger.add_field(each)
    ledger.number_classes(annotations.classes)
    ledger.is_label_file = annotations.is_label_file
    for frame in images:
        chosen = frame["key"].map_elements(annotations.is_sample, return_dtype=pl.Boolean)
        for key, size in frame.filter(~chosen).select("key", "size").iter_rows():
            ledger.leave_out(SIDECAR, key, size)
        for part in frame.filter(chosen).iter_slices(_TOGETHER):
            yield from _joined(part, annotations)
    for key in annotations.lost():
        ledger.leave_out(LOST_LABEL, key, reason="its image is not there")


def _joined(part: pl.DataFrame, annotations: Annotations) -> Iterator[pl.DataFrame]:
    about = annotations.about(part["key"].to_list())
    begin = size = 0
    for end, each in enumerate(about, 1):
        size += sum(len(value) for value in each.values.values() if value is not None)
        if size >= _FRAME_BYTES or end == len(about):
            yield _frame(part[begin:end], about[begin:end], annotations.fields)
            begin, size = end, 0


def _frame(part: pl.DataFrame, about: list[About], fields: Sequence[FoundField]) -> pl.DataFrame:
    columns: dict[str, pl.Series | pl.Expr] = {
        name: pl.coalesce(pl.Series([getattr(each, name) for each in about], dtype=pl.String), pl.col(name))
        for name in ("label", "split")
    }
    for found in fields:
        name = found.name
        if any(name in each.values for each in about):
            columns[value_column(name)] = pl.Series([each.values.get(name) for each in about], dtype=pl.Binary)
    return part.with_columns(**columns)
