"""The records of a packed dataset as the frames of a source."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import polars as pl

from tiering.errors import DatasetError
from tiering.images.formats import usual_extension
from tiering.sources.account import Ledger
from tiering.sources.fields import PLACE, FieldsWarning, place_column, value_column
from tiering.sources.labels.folders import SPLITS
from tiering.sources.left_out import MISSING, NOT_AN_IMAGE
from tiering.sources.records.files import file_version
from tiering.sources.records.record import Record, RecordFormat, Sink
from tiering.sources.records.unpacked import unpacking
from tiering.sources.repeated_keys import RepeatedKeys
from tiering.sources.tar_samples import split_of
from tiering.sources.trees.remote import hash63
from tiering.sources.trees.walk import BATCH
from tiering.storage.failures import remote_errors
from tiering.storage.urls import name_of
from tiering.text import display, shown

#: Extensions of the files of packed datasets.
_ENDINGS: Final = (
    ".gz",
    ".bz2",
    ".zstd",
    ".parquet",
    ".tfrecords",
    ".tfrecord",
    ".tfrec",
    ".mds",
    ".bin",
    ".mdb",
    ".lmdb",
)

#: How many bytes of values a frame holds.
_FRAME_BYTES: Final = 32 << 20


def record_batches(
    format_: RecordFormat,
    files: tuple[str, ...],
    url: str,
    unpacked: str,
    schema: Mapping[str, Any],
    ledger: Ledger,
) -> Iterator[pl.DataFrame]:
    """Yield the records of a dataset in its order, up to 50,000 or 32 MiB of values at a time.

    files: paths or URLs. url: of the directory that holds them, or of the only one. unpacked: see Source. schema: of
    the frames. ledger: gets the fields, the classes, and the records without an image.
    A record's key is the path of its file without the extension, and its number: train-00000/00000017.jpg.
    Raises DatasetError for damaged files and if there is no image, MachineError if a file cannot be read.
    """
    for each in format_.fields:
        ledger.add_field(each)
    ledger.number_classes(format_.classes)
    for note in format_.notes:
        warnings.warn(shown(f"{display(url)}: {note}."), FieldsWarning, stacklevel=2)
    frame = _Frame(format_, schema)
    prefixes = _prefixes(url, files)
    count, named = 0, RepeatedKeys()

    def taken() -> pl.DataFrame:
        nonlocal count
        count += len(frame)
        named.add(frame.names)
        return frame.taken()

    for row in _keyed(format_, files, prefixes, url, unpacked, ledger):
        frame.add(*row)
        if frame.is_full:
            yield taken()
    if len(frame):
        yield taken()
    if (twice := named.first(lambda: _names(format_, prefixes))) is not None:
        raise DatasetError(
            display(url), expected="each name once", found=f"{display(twice)} twice", action="Rename one of the two."
        )
    if not count:
        raise DatasetError(display(url), found="no record has an image", action="Check the files.")


def _keyed(
    format_: RecordFormat, files: tuple[str, ...], prefixes: list[str], url: str, unpacked: str, ledger: Ledger
) -> Iterator[tuple[bytes, Record, int, int, str | None]]:
    """Yield each record that has an image, with its key, and the number, the version and the split of its file."""
    for number, path in enumerate(files):
        with remote_errors(path):
            version = file_version(path)
            split = _split_of(_below(url, path))
            with unpacking(unpacked, number, version) as out:
                for row, record in enumerate(format_.records(number, out)):
                    ledger.met += 1
                    key = _key(prefixes[number], row, record, alone=len(files) == 1)
                    if record.image is None:
                        ledger.leave_out(NOT_AN_IMAGE if record.head else MISSING, key, reason=record.lacking)
                    else:
                        yield key, record, number, hash63(version), split


def _prefixes(url: str, files: tuple[str, ...]) -> list[str]:
    """Return the beginning of the keys of each file: its path without extensions, if these make no difference."""
    prefixes = [_without_extension(_below(url, path)) for path in files]
    return prefixes if len(set(prefixes)) == len(files) else [_below(url, path) for path in files]


def _names(format_: RecordFormat, prefixes: list[str]) -> Iterator[pl.Series]:
    """Yield the keys of records that have names of their own, once more."""
    for number, prefix in enumerate(prefixes):
        keys = (
            _key(prefix, row, record, alone=len(prefixes) == 1)
            for row, record in enumerate(format_.records(number, Sink()))
            if record.name
        )
        while batch := list(islice(keys, BATCH)):
            yield pl.Series(batch, dtype=pl.Binary)


def _below(url: str, path: str) -> str:
    """Return the path of a file below a directory, or its name if it is the only one."""
    return name_of(path) if path == url else path.removeprefix(url.rstrip("/") + "/")


def _without_extension(name: str) -> str:
    """Return a name without its extensions: "train.tfrecord-00000-of-00010.gz" keeps its numbers."""
    while True:
        shorter = next((name.removesuffix(ending) for ending in _ENDINGS if name.lower().endswith(ending)), name)
        if shorter == name or shorter.endswith("/") or not shorter:
            return name
        name = shorter


def _split_of(name: str) -> str | None:
    """Return the split that a folder or the beginning of a name is: data/train-00000.parquet belongs to train."""
    *folders, last = name.split("/")
    return next((each for each in folders if each.lower() in SPLITS), None) or split_of(last)


def _key(prefix: str, row: int, record: Record, *, alone: bool) -> bytes:
    """Return the key of a record. alone: its file is the only one, so that names need no prefix."""
    name = record.name or f"{row:08d}.{usual_extension(record.head) or 'bin'}"
    return (name if alone and record.name else f"{prefix}/{name}").encode("utf-8", "surrogateescape")


class _Frame:
    """A frame that grows by one record after the other."""

    def __init__(self, format_: RecordFormat, schema: Mapping[str, Any]) -> None:
        self._fields = [each.name for each in format_.fields]
        self._schema = schema
        self._rows: list[tuple[bytes, int, int, str | None, str | None, int, int]] = []
        self._records: list[Record] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= BATCH or self._bytes >= _FRAME_BYTES

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def names(self) -> pl.Series:
        """The keys of records that have names of their own. Other keys are different by their numbers."""
        named = zip(self._rows, self._records, strict=True)
        return pl.Series([row[0] for row, record in named if record.name], dtype=pl.Binary)

    def add(self, key: bytes, record: Record, number: int, version: int, split: str | None) -> None:
        offset, size = record.image or (0, -1)
        split = split if record.split is None else record.split or None
        self._rows.append((key, size, version, record.label, split, number, offset))
        self._records.append(record)
        self._bytes += sum(len(value) for value in record.values.values() if value is not None)

    def taken(self) -> pl.DataFrame:
        """Return the frame, and begin the next one."""
        frame = pl.DataFrame(self._rows, schema=dict(self._schema), orient="row")
        columns: list[pl.Series] = []
        for name in self._fields:
            if any(name in record.parts for record in self._records):
                columns += self._places(name, frame)
            if any(name in record.values for record in self._records):
                values = [record.values.get(name) for record in self._records]
                columns.append(pl.Series(value_column(name), values, pl.Binary))
        self._rows, self._records, self._bytes = [], [], 0
        return frame.with_columns(columns)

    def _places(self, name: str, frame: pl.DataFrame) -> list[pl.Series]:
        parts = [record.parts.get(name) for record in self._records]
        columns: dict[str, list[Any]] = {
            "key": [None if part is None else key for part, key in zip(parts, frame["key"], strict=True)],
            "size": [None if part is None else part[1] for part in parts],
            "version": [None if part is None else at for part, at in zip(parts, frame["version"], strict=True)],
            "file": [None if part is None else at for part, at in zip(parts, frame["file"], strict=True)],
            "offset": [None if part is None else part[0] for part in parts],
        }
        return [pl.Series(place_column(name, part), values, PLACE[part]) for part, values in columns.items()]
