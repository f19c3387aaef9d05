"""MDS, the shards of MosaicML Streaming: index.json, shard.00000.mds and so on, perhaps compressed.

index.json names the shards, their columns and how each is encoded: https://docs.mosaicml.com/projects/streaming, under
"Dataset format". Values pickled by Python are not read: unpickling a file runs code from it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tiering.errors import DatasetError
from tiering.images.npy import npy_document
from tiering.sources.records.encoded_columns import (
    Columns,
    Encoding,
    array,
    json_document,
    number,
    offsets_of,
    parts_of,
    png,
    shaped,
    text,
    with_images,
)
from tiering.sources.records.record import Record, Sink
from tiering.sources.records.shard_files import COMPRESSIONS, LARGEST_SHARD, read_index, shard_bytes
from tiering.sources.trees.directory import names_in
from tiering.storage.names import RelativeName
from tiering.storage.urls import joined, name_of, parent_of
from tiering.text import display

INDEX: Final = "index.json"

#: dtypes of arrays, by the byte in front of those whose dtype differs from value to value.
_DTYPES: Final = {
    8: "uint8", 9: "int8", 16: "uint16", 17: "int16", 18: "float16", 32: "uint32", 33: "int32", 34: "float32",
    64: "uint64", 65: "int64", 66: "float64",
}  # fmt: skip
_NUMBERS: Final = frozenset(_DTYPES.values())

Size = Annotated[int, Field(ge=0, le=LARGEST_SHARD)]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True)

    basename: RelativeName
    bytes: Size


class _Shard(BaseModel):
    """A shard, as index.json describes it."""

    model_config = ConfigDict(frozen=True)

    format: Literal["mds"]
    samples: Size
    column_names: tuple[str, ...]
    column_encodings: tuple[str, ...]
    column_sizes: tuple[Size | None, ...]
    compression: str | None = None
    raw_data: _File
    zip_data: _File | None = None

    @property
    def method(self) -> str | None:
        """The compression, without its level."""
        return self.compression.partition(":")[0] if self.compression else None


class _Index(BaseModel):
    model_config = ConfigDict(frozen=True)

    shards: tuple[_Shard, ...]


def mds_files(indexes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the shards that some index.json name. A shard that is there both plain and compressed is taken plain."""
    files: list[str] = []
    for index in indexes:
        folder = parent_of(index)
        there = {name.decode("utf-8", "surrogateescape") for name in names_in(folder)}
        for shard in read_index(index, _Index).shards:
            raw, packed = shard.raw_data.basename, shard.zip_data.basename if shard.zip_data else None
            files.append(joined(folder, packed if packed is not None and raw not in there else raw))
    if not files:
        raise DatasetError(display(indexes[0]), found="no shard is there", action="Copy the dataset again.")
    return tuple(files)


class MdsShards:
    """Shards of MDS, which has no names for numbers of classes. files: of the shards, each beside its index.json."""

    classes = ()

    def __init__(self, files: tuple[str, ...]) -> None:
        self._files = files
        indexes = {folder: read_index(joined(folder, INDEX), _Index) for folder in dict.fromkeys(map(parent_of, files))}
        known = {
            joined(folder, file.basename): shard
            for folder, index in indexes.items()
            for shard in index.shards
            for file in (shard.raw_data, shard.zip_data)
            if file is not None
        }
        self._shards = [self._known(known.get(path), path) for path in files]
        first = self._shards[0]
        encodings = [_encoding(name) for name in first.column_encodings]
        self._columns = Columns.of(first.column_names, self._looked_at(encodings), display(parent_of(files[0])))
        self.fields, self.notes = self._columns.found, self._columns.notes
        self.compressed = self._columns.needs_unpacking or any(map(self._is_packed, range(len(files))))

    def records(self, number: int, out: Sink) -> Iterator[Record]:
        """Yield the samples of a shard."""
        shard, path = self._shards[number], self._files[number]
        if (shard.column_names, shard.column_encodings) != (self._columns.names, self._shards[0].column_encodings):
            raise DatasetError(
                display(path), expected=f"the columns of {display(self._files[0])}",
                found=", ".join(shard.column_names), action="Convert shards of different columns one by one.",
            )  # fmt: skip
        with self._opened(number) as data:
            offsets = offsets_of(data, shard.samples, path)
            for begin, end in pairwise(offsets):
                parts = parts_of(data, begin, end, shard.column_sizes, path)
                yield self._columns.record(data, parts, out if self.compressed else None, display(path))

    def _opened(self, number: int) -> AbstractContextManager[memoryview]:
        shard = self._shards[number]
        method = shard.method if self._is_packed(number) else None
        return shard_bytes(self._files[number], shard.raw_data.bytes, method)

    def _is_packed(self, number: int) -> bool:
        return name_of(self._files[number]) != name_of(self._shards[number].raw_data.basename)

    def _known(self, shard: _Shard | None, path: str) -> _Shard:
        if shard is None:
            raise DatasetError(display(path), found="index.json names no such shard")
        lengths = {len(shard.column_names), len(shard.column_encodings), len(shard.column_sizes)}
        if len(lengths) > 1 or len(set(shard.column_names)) < len(shard.column_names):
            raise DatasetError(display(path), found="index.json has columns without a name or an encoding")
        packed = shard.zip_data is not None and name_of(path) == name_of(shard.zip_data.basename)
        if packed and shard.method not in COMPRESSIONS:
            raise DatasetError(
                display(path), expected=f"shards that are plain or compressed by {', '.join(COMPRESSIONS)}",
                found=shard.compression or "another compression",
                action="Decompress them: streaming keeps the plain shards beside the others with keep_zip=True.",
            )  # fmt: skip
        return shard

    def _looked_at(self, encodings: list[Encoding]) -> list[Encoding]:
        """Return encodings in which bytes that begin like an image are images, by the first sample."""
        number = next((at for at, shard in enumerate(self._shards) if shard.samples), None)
        if number is None or not any(each.holds == "file" for each in encodings):
            return encodings
        shard, path = self._shards[number], self._files[number]
        with self._opened(number) as data:
            offsets = offsets_of(data, shard.samples, path)
            parts = parts_of(data, offsets[0], offsets[1], shard.column_sizes, path)
            return with_images(encodings, data, parts)


#: Encodings without parameters.
_ENCODINGS: Final = {
    "jpeg": Encoding("image", "image"),
    "png": Encoding("image", "image"),
    "pil": Encoding("image", "pixels", png),
    "bytes": Encoding("bytes", "file"),
    "str": text(),
    "json": json_document(),
    "int": number("<i8"),
    "str_int": Encoding("integer", label=True),
    "str_float": Encoding("float"),
    "str_decimal": Encoding("float"),
    "pkl": Encoding(why_not="it is pickled, and unpickling a file runs code from it"),
} | {name: number(np.dtype(name).newbyteorder("<").str) for name in _DTYPES.values()}


def _encoding(name: str) -> Encoding:
    kind, _, rest = name.partition(":")
    if kind != "ndarray":
        return _ENCODINGS.get(name, Encoding(why_not=f"its encoding is {name}"))
    dtype, _, shape = rest.partition(":")
    sides = [side for side in shape.split(",") if side.isdecimal() and len(side) < 10]
    if dtype in _NUMBERS and sides:
        return array(np.dtype(dtype).str, tuple(map(int, sides)))
    if shape or (dtype and dtype not in _NUMBERS):
        return Encoding(why_not=f"its encoding is {name}")
    return Encoding("array", decode=partial(_dynamic, dtype=dtype))


def _dynamic(data: bytes, *, dtype: str) -> bytes:
    """Return an array whose shape, and perhaps dtype, is written in front of it, as a .npy document."""
    at = 0
    if not dtype:
        if not data or data[0] not in _DTYPES:
            raise ValueError("an array of an unknown dtype")
        dtype, at = _DTYPES[data[0]], 1
    if len(data) <= at:
        raise ValueError("an array without a shape")
    sides, width = data[at] >> 2, 1 << (data[at] & 3)
    at += 1
    if sides > 32 or len(data) < at + sides * width:
        raise ValueError(f"an array of {sides} dimensions")
    shape = struct.unpack_from(f"<{sides}{'BHIQ'[width.bit_length() - 1]}", data, at)
    return npy_document(shaped(data[at + sides * width :], np.dtype(dtype), shape))
