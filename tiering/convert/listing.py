"""The listing: every sample of a source as columns on disk, so that a plan may visit them in any order.

A dataset of 10^8 samples takes some 60 bytes of disk a sample here and no memory but the page cache's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from tiering.dataset.fingerprint import Fingerprint
from tiering.dataset.labels import SPLITS, folders_of
from tiering.dataset.source import Source
from tiering.errors import DatasetError
from tiering.sources.account import Ledger
from tiering.sources.left_out import LeftOut
from tiering.storage.location import Location
from tiering.store.columns import ColumnsWriter, keys_at, lay_end_to_end, map_column
from tiering.store.layout import LEFT_OUT
from tiering.text import display

SCHEMA: Final[dict[str, str]] = {
    "size": "<i8",
    "version": "<i8",
    "file": "<i4",
    "offset": "<i8",
    "label": "<i4",
    "split": "|i1",
    "key": "|u1",
    "key_end": "<i8",
}

#: More names than this are no classes: captions, or targets of a regression.
MOST_LABELS: Final = 1 << 20
_BATCH: Final = 1 << 16

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some samples of a listing, in the order asked for: parallel columns, small enough to travel.

    size: int64 (n,), bytes; file: int32 (n,), number of the source's file or -1; offset: int64 (n,), bytes;
    label: int32 (n,); split: int8 (n,); key: uint8; key_end: int64 (n,).
    """

    size: IndexArray
    file: npt.NDArray[np.int32]
    offset: IndexArray
    label: npt.NDArray[np.int32]
    split: npt.NDArray[np.int8]
    key: npt.NDArray[np.uint8]
    key_end: IndexArray

    def __len__(self) -> int:
        return len(self.size)

    def keys(self) -> list[bytes]:
        """Return the keys, byte-exact."""
        return keys_at(self.key, self.key_end, np.arange(len(self)))

    def keys_at(self, row: int) -> bytes:
        """Return one key."""
        return keys_at(self.key, self.key_end, np.array([row]))[0]


@dataclass(frozen=True, slots=True)
class Listing:
    """A source's samples, in its own order.

    columns: SCHEMA's, mapped; labels, splits: the names that their columns number; layout: how it is laid out, in
    words; fingerprint: over keys and sizes; state: over versions too, which change when a file does; left_out: what
    the walk met that is no sample; lines: a local file that names it all.
    """

    source: Source
    columns: dict[str, npt.NDArray[Any]]
    labels: list[str]
    splits: list[str]
    layout: str
    fingerprint: str
    state: str
    left_out: LeftOut
    lines: Location

    def __len__(self) -> int:
        return len(self.columns["size"])

    @property
    def size(self) -> IndexArray:
        """Bytes of each sample; -1 where a table names a file that is not there."""
        return self.columns["size"]

    def keys(self, rows: IndexArray) -> list[bytes]:
        """Return the keys of some samples."""
        return keys_at(self.columns["key"], self.columns["key_end"], rows)

    def rows(self, rows: IndexArray) -> Rows:
        """Return some samples, in the order asked for."""
        key, key_end = lay_end_to_end(self.keys(rows))
        taken = {name: np.ascontiguousarray(self.columns[name][rows]) for name in Rows.__slots__[:5]}
        return Rows(**taken, key=key, key_end=key_end)

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield key (Binary), size, version and row, some rows at a time."""
        for rows in blocks(len(self)):
            columns = {name: self.columns[name][rows] for name in ("size", "version")}
            yield pl.DataFrame({"key": pl.Series(self.keys(rows), dtype=pl.Binary), **columns, "row": rows})


def blocks(n: int, size: int = _BATCH) -> Iterator[IndexArray]:
    """Yield [0, n) in pieces."""
    for begin in range(0, n, size):
        yield np.arange(begin, min(begin + size, n), dtype=np.int64)


def make_listing(source: Source, directory: Path, *, images_only: bool | None) -> Listing:
    """List a source into a new directory, and what is left out into a file beside it.

    images_only: leave out masks and other files that share their key with an image (True), refuse them (False), or take
    every image for a sample of its own (None), as stores up to 0.2 did.
    Raises DatasetError where there is no image, too many names of labels, or keys that several files share.
    """
    names = {"label": _Names("label"), "split": _Names("split")}
    fingerprint, state = Fingerprint(), Fingerprint()
    place = Location.of(directory)
    lines = Location.of(directory.with_name(LEFT_OUT))
    with ColumnsWriter(lambda name: place / name, SCHEMA) as writer, lines.writing() as file:
        ledger = Ledger(file, images_only=bool(images_only))
        for batch in source.batches(ledger):
            keys = batch["key"].to_list()
            key, key_end = lay_end_to_end(keys)
            taken = {name: batch[name].to_numpy() for name in ("size", "version", "file", "offset")}
            numbered = {name: names[name].number(batch[name]) for name in names}
            writer.append({**taken, **numbered, "key": key, "key_end": key_end})
            fingerprint.update(keys, taken["size"])
            state.update(keys, taken["size"], taken["version"])
    if images_only is False:
        ledger.refuse_shared(str(Location.of(source.url)))
    columns = {name: map_column(place / name, dtype) for name, dtype in SCHEMA.items()}
    if not len(columns["size"]):
        raise DatasetError(
            source.url, expected="image files", found=f"no image in this {source.kind}", action="Check the path."
        )
    layout: str = source.kind
    if names["label"]:
        for name, found in names.items():
            found.settle(directory / name, SCHEMA[name])
        labels, splits = names["label"].sorted, names["split"].sorted
    else:
        layout, labels, splits = _labels_from_keys(columns, directory, source, names["split"])
    columns |= {name: map_column(place / name, SCHEMA[name]) for name in ("label", "split")}
    digests = fingerprint.hexdigest(), state.hexdigest()
    return Listing(source, columns, labels, splits, layout, *digests, ledger.left_out, lines)


def changes(old: dict[str, npt.NDArray[Any]], new: Listing) -> list[str]:
    """Say how a source differs from an earlier listing of it, a line for each file."""
    before = replace(new, columns=old)
    then, now = (pl.concat(listing.frames()) for listing in (before, new))
    said = [f"{display(key)}: removed" for key in then.join(now, on="key", how="anti")["key"]]
    said += [f"{display(key)}: added" for key in now.join(then, on="key", how="anti")["key"]]
    both = then.join(now, on="key", suffix="_now")
    differ = both.filter((pl.col("size") != pl.col("size_now")) | (pl.col("version") != pl.col("version_now")))
    return said + [f"{display(key)}: changed" for key in differ["key"]]


class _Names:
    """Numbers names in the order they come, and renumbers them sorted once all are known."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._numbers: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._numbers)

    @property
    def sorted(self) -> list[str]:
        """The names in the order of their final numbers: as numbers where all are, else by their bytes."""
        if all(name.isascii() and name.isdigit() for name in self._numbers):
            return sorted(self._numbers, key=lambda name: (int(name), name))
        return sorted(self._numbers, key=lambda name: name.encode("utf-8", "surrogateescape"))

    def number(self, names: pl.Series) -> npt.NDArray[np.int32]:
        """Return the number of each name, -1 for none."""
        if names.null_count() == len(names):
            return np.full(len(names), -1, dtype=np.int32)
        for name in names.drop_nulls().unique(maintain_order=True):
            self._numbers.setdefault(name, len(self._numbers))
        most = MOST_LABELS if self._what == "label" else np.iinfo(np.int8).max
        if len(self._numbers) > most:
            raise DatasetError(
                f"{self._what} column", expected=f"at most {most:,} different names", found="more",
                action="Name classes there, not captions or measurements.",
            )  # fmt: skip
        codes = names.replace_strict(self._numbers, default=-1, return_dtype=pl.Int32)
        return codes.fill_null(-1).to_numpy().astype(np.int32)

    def settle(self, path: Path, dtype: str) -> None:
        """Renumber a written column."""
        place = {name: number for number, name in enumerate(self.sorted)}
        renumber(path, dtype, [place[name] for name in self._numbers])


def renumber(path: Path, dtype: str, numbers: list[int]) -> None:
    """Replace number i by numbers[i] in a written column; -1 stays."""
    final = np.array([*numbers, -1], dtype=dtype)
    column = np.memmap(path, dtype=dtype, mode="r+")
    for rows in blocks(len(column)):
        column[rows] = final[column[rows]]
    column.flush()


def _labels_from_keys(
    columns: dict[str, npt.NDArray[Any]], directory: Path, source: Source, named_splits: _Names
) -> tuple[str, list[str], list[str]]:
    """Number the class folders of keys, as torchvision's ImageFolder does, and write the columns label and split.

    The class is the first folder, or the second where all samples lie below folders that are splits.
    """
    # Of several tar files the first part of a key is the tar's own name, which is no class.
    within = source.kind == "tar" and len(source.files) > 1
    tops: set[bytes | None] = set()
    seconds: set[bytes | None] = set()
    n = len(columns["size"])
    for rows in blocks(n):
        first, second = _folders(columns, rows, within)
        tops.update(first.unique().to_list())
        seconds.update(second.unique().to_list())
    plain = {top for top in tops if top is not None}
    split = None not in tops and all(top.decode("latin-1").lower() in SPLITS for top in plain)
    classes = sorted(name for name in (seconds if split else tops) if name is not None)
    if source.kind == "table":
        # A table without a label column has none: where its files lie is nobody's statement.
        classes = []
    splits = sorted(plain) if split and source.kind != "table" else []
    numbers = {"label": (1 if split else 0, classes), "split": (0, splits)}
    if named_splits:
        named_splits.settle(directory / "split", SCHEMA["split"])
        numbers.pop("split")
    for name, (depth, names) in numbers.items():
        code = {folder: number for number, folder in enumerate(names)}
        column = np.memmap(directory / name, dtype=SCHEMA[name], mode="r+")
        for rows in blocks(n):
            folders = _folders(columns, rows, within)[depth]
            if code:
                numbered = folders.replace_strict(code, default=-1, return_dtype=pl.Int32).fill_null(-1)
                column[rows] = numbered.to_numpy()
        column.flush()
    layout: str = source.kind
    if source.kind == "folder":
        layout = ("split and class folders" if split else "class folders") if classes else "flat"
    shown = named_splits.sorted if named_splits else [display(name) for name in splits]
    return layout, [display(name) for name in classes], shown


def _folders(columns: dict[str, npt.NDArray[Any]], rows: IndexArray, within: bool) -> tuple[pl.Series, pl.Series]:
    keys = keys_at(columns["key"], columns["key_end"], rows)
    return folders_of(pl.Series([key.split(b"/", 1)[-1] for key in keys] if within else keys, dtype=pl.Binary))
