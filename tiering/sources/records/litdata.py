"""LitData's chunks: index.json, and chunk-0-0.bin and so on, plain or compressed as whole files by Zstandard.

Samples are trees of Python's containers. The index has the tree and the encoding of each leaf; a leaf is named by its
way from the root, so {"image": ..., "meta": {"id": ...}} gives image and meta_id. Pickled leaves are not read:
unpickling a file runs code from it. https://github.com/Lightning-AI/litData, streaming/{writer,serializers}.py
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tiering.errors import DatasetError
from tiering.images.npy import npy_document
from tiering.sources.records.encoded_columns import (
    Columns,
    Encoding,
    number,
    offsets_of,
    parts_of,
    png,
    shaped,
    text,
    with_images,
)
from tiering.sources.records.mds import INDEX, Size
from tiering.sources.records.record import Record, Sink
from tiering.sources.records.shard_files import read_index, shard_bytes
from tiering.storage.names import RelativeName
from tiering.storage.urls import joined, name_of, parent_of
from tiering.text import display

#: dtypes by LitData's numbers for NumPy and for Torch; None for those that NumPy does not have, or no numbers.
_NUMPY: Final = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", "b1")
_TORCH: Final = (
    *("f4", "f4", "f8", "f8", "c8", "c8", "c16", "c16", "f2", "f2", None),
    *("u1", "i1", "i2", "i2", "i4", "i4", "i8", "i8", "b1", "u2"),
)

#: A tree may be nested this deep.
_DEEPEST: Final = 20


class _Chunk(BaseModel):
    model_config = ConfigDict(frozen=True)

    filename: RelativeName
    chunk_bytes: Size
    chunk_size: Size


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True)

    data_format: Annotated[tuple[str, ...], Field(max_length=10_000)]
    data_spec: str = ""
    compression: str | None = None
    compression_level: str | None = None
    encryption: Any = None
    item_loader: Literal["PyTreeLoader"] = "PyTreeLoader"


class _Index(BaseModel):
    model_config = ConfigDict(frozen=True)

    chunks: Annotated[tuple[_Chunk, ...], Field(min_length=1)]
    config: _Config


def litdata_files(indexes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the chunks that some index.json name."""
    return tuple(
        joined(parent_of(index), chunk.filename) for index in indexes for chunk in read_index(index, _Index).chunks
    )


class LitDataChunks:
    """Chunks of LitData, which has no names for numbers of classes. files: each beside its index.json."""

    classes = ()

    def __init__(self, files: tuple[str, ...]) -> None:
        self._files = files
        folders = dict.fromkeys(map(parent_of, files))
        indexes = {folder: read_index(joined(folder, INDEX), _Index) for folder in folders}
        self._config = config = indexes[parent_of(files[0])].config
        where = display(joined(parent_of(files[0]), INDEX))
        if any(index.config != config for index in indexes.values()):
            raise DatasetError(
                where, expected="one format in all folders", found="several", action="Convert one by one."
            )
        self._refuse_others(config, where)
        known = {joined(folder, chunk.filename): chunk for folder, index in indexes.items() for chunk in index.chunks}
        self._chunks = [known[path] for path in files if path in known]
        if len(self._chunks) < len(files):
            raise DatasetError(where, found="its chunks are those of another dataset")
        names = _leaf_names(config, where)
        encodings = [_encoding(kind) for kind in config.data_format]
        self._columns = Columns.of(names, self._looked_at(encodings), where)
        self.fields, self.notes = self._columns.found, self._columns.notes
        self.compressed = config.compression is not None or self._columns.needs_unpacking

    def records(self, number: int, out: Sink) -> Iterator[Record]:
        """Yield the samples of a chunk."""
        path = self._files[number]
        sizes = [None] * len(self._columns.names)
        with self._opened(number) as data:
            for begin, end in pairwise(offsets_of(data, self._chunks[number].chunk_size, path)):
                parts = parts_of(data, begin, end, sizes, path)
                yield self._columns.record(data, parts, out if self.compressed else None, display(path))

    def _opened(self, number: int) -> AbstractContextManager[memoryview]:
        chunk = self._chunks[number]
        packed = self._config.compression is not None and name_of(chunk.filename).endswith(".zstd.bin")
        return shard_bytes(self._files[number], chunk.chunk_bytes, "zstd" if packed else None)

    def _looked_at(self, encodings: list[Encoding]) -> list[Encoding]:
        """Return encodings in which bytes that begin like an image are images, by the first sample."""
        number = next((at for at, chunk in enumerate(self._chunks) if chunk.chunk_size), None)
        if number is None or not any(each.holds == "file" for each in encodings):
            return encodings
        path = self._files[number]
        with self._opened(number) as data:
            offsets = offsets_of(data, self._chunks[number].chunk_size, path)
            parts = parts_of(data, offsets[0], offsets[1], [None] * len(encodings), path)
            return with_images(encodings, data, parts)

    def _refuse_others(self, config: _Config, where: str) -> None:
        found = ""
        if config.encryption:
            found = "encrypted ones"
        elif config.compression is not None and config.compression.partition(":")[0] != "zstd":
            found = f"compression {config.compression}"
        elif config.compression is not None and config.compression_level not in (None, "chunk"):
            found = f"compression within the chunks, by {config.compression_level}"
        if found:
            raise DatasetError(
                where, expected="chunks that are plain, or compressed as whole files by Zstandard", found=found,
                action="Write them again with litdata.optimize and without compression.",
            )  # fmt: skip


def _leaf_names(config: _Config, where: str) -> list[str]:
    """Return the names of the leaves. data_spec: [1, tree], a tree of type, context and children_spec."""
    count = len(config.data_format)
    try:
        spec = json.loads(config.data_spec)[1]
        names = list(_leaves(spec, "", 0))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        names = []
    if len(names) != count:
        if config.data_spec and names:
            raise DatasetError(where, expected=f"a name for each of {count} values", found=f"{len(names)} names")
        names = [str(at) for at in range(count)]
    return names if len(set(names)) == count else [f"{name}_{at}" for at, name in enumerate(names)]


def _leaves(spec: Any, name: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("a tree nested too deep")
    children = spec["children_spec"]
    if not children:
        yield name or "image"
        return
    context = spec.get("context")
    keys = json.loads(context) if isinstance(context, str) and context.startswith("[") else None
    for at, child in enumerate(children):
        key = str(keys[at]) if isinstance(keys, list) and len(keys) == len(children) else str(at)
        yield from _leaves(child, f"{name}_{key}" if name else key, depth + 1)


def _encoding(name: str) -> Encoding:
    kind, _, rest = name.partition(":")
    if kind in ("no_header_numpy", "no_header_tensor"):
        dtype = _dtype(rest, _NUMPY if kind == "no_header_numpy" else _TORCH)
        if dtype is not None:
            return Encoding("array", decode=lambda data: npy_document(shaped(data, dtype, (-1,))))
    return _encodings().get(kind, Encoding(why_not=f"its encoding is {name}"))


def _encodings() -> dict[str, Encoding]:
    """Return the encodings without parameters, under their present names and those of older releases."""
    file, whole, truth = Encoding("bytes", "file"), number("<i8"), Encoding("integer", decode=_truth)
    image = Encoding("image", "image")
    return {
        "jpeg": image, "image": image, "pil": Encoding("image", "pixels", png),
        "bytes": file, "file": file, "tifffile": file, "str": text(), "string": text(), "text": text(),
        "int": whole, "integer": whole, "float": number("<f8"), "bool": truth, "boolean": truth,
        "numpy": Encoding("array", decode=_numpy), "tensor": Encoding("array", decode=_tensor),
        "pickle": Encoding(why_not="it is pickled, and unpickling a file runs code from it"),
    }  # fmt: skip


def _truth(data: bytes) -> bytes:
    if len(data) != 1:
        raise ValueError(f"{len(data)} bytes for true or false")
    return b"1" if data[0] else b"0"


def _dtype(text_: str, known: tuple[str | None, ...]) -> str | None:
    return known[int(text_)] if text_.isdecimal() and len(text_) < 4 and int(text_) < len(known) else None


def _numpy(data: bytes) -> bytes:
    return _with_header(data, "<", _NUMPY)


def _tensor(data: bytes) -> bytes:
    return _with_header(data, ">", _TORCH)


def _with_header(data: bytes, order: str, known: tuple[str | None, ...]) -> bytes:
    """Return an array behind its dtype, its number of dimensions and its sides, as a .npy document."""
    number_, sides = struct.unpack_from(f"{order}2I", data)
    dtype = known[number_] if number_ < len(known) else None
    if dtype is None or sides > 32:
        raise ValueError("an array of an unknown dtype")
    shape = struct.unpack_from(f"{order}{sides}I", data, 8)
    return npy_document(shaped(data[8 + 4 * sides :], dtype, shape))
