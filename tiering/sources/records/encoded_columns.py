"""Columns of shards whose samples are encoded one after another, as MDS and LitData have them.

A shard begins with a table of offsets. A sample is the sizes of its columns, and then their bytes. So an image is a
range of the shard. This module turns the bytes of a sample into a record; the formats say what encodings mean.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from tiering.errors import DatasetError
from tiering.images.formats import HEAD, format_of
from tiering.images.npy import npy_document
from tiering.literals import FieldKind
from tiering.sources.fields import FoundField, field_name
from tiering.sources.records.record import Part, Record, Sink
from tiering.sources.tables.column_names import recognised
from tiering.text import display

#: Larger arrays of one shape are no vectors, which the index of a store holds.
_LARGEST_VECTOR: Final = 1 << 16

#: The modes of pixels that PNG keeps, as Pillow names them.
_PNG_MODES: Final = frozenset({"1", "L", "LA", "I", "I;16", "RGB", "RGBA"})

#: Turns the bytes of a value into those of a field. Raises ValueError for bytes that are no such value.
Decode = Callable[[bytes], bytes]

#: What the bytes of a column are: an encoded image, pixels that become a PNG, other bytes, or a value to decode.
Holds = Literal["image", "pixels", "file", "value"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the values of a column are encoded.

    kind: of the field that it becomes. holds: as above. decode: for a value. label: whether it may be a class.
    why_not: the reason why it is left out; "" if it is not.
    """

    kind: FieldKind = "bytes"
    holds: Holds = "value"
    decode: Decode = bytes
    label: bool = False
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a dataset in the order of their bytes.

    encodings: by position. fields: by position; None for the image, the label and those that are left out.
    image, label: their positions; label is -1 if there is none.
    """

    names: tuple[str, ...]
    encodings: tuple[Encoding, ...]
    fields: tuple[FoundField | None, ...]
    image: int
    label: int

    @classmethod
    def of(cls, names: Sequence[str], encodings: Sequence[Encoding], where: str) -> Columns:
        """Choose the image and the label, and name the fields.

        where: the name of the dataset in errors. Raises DatasetError if no column holds images.
        """
        images = [at for at, each in enumerate(encodings) if each.holds in ("image", "pixels")]
        if not images:
            listed = ", ".join(names) or "no column"
            raise DatasetError(where, expected="a column of images", found=listed, action="Give another dataset.")
        known = recognised(list(names))
        image = known["path"] if known.get("path") in images else images[0]
        label = known.get("label", -1)
        label = label if label >= 0 and label != image and encodings[label].label else -1
        fields: list[FoundField | None] = []
        for at, (name, each) in enumerate(zip(names, encodings, strict=True)):
            field = None
            if not each.why_not and at not in (image, label):
                called = field_name(name, (found.name for found in fields if found is not None))
                field = FoundField(called, each.kind, description="" if called == name else f"column {name}")
            fields.append(field)
        return cls(tuple(names), tuple(encodings), tuple(fields), image, label)

    @property
    def found(self) -> list[FoundField]:
        """The fields."""
        return [field for field in self.fields if field is not None]

    @property
    def notes(self) -> list[str]:
        """A sentence for each column that is left out."""
        named = zip(self.names, self.encodings, strict=True)
        return [f"the column {name} is left out: {each.why_not}" for name, each in named if each.why_not]

    @property
    def needs_unpacking(self) -> bool:
        """Whether the images themselves are pixels, which are no range of a file until they are encoded."""
        return self.encodings[self.image].holds == "pixels"

    def record(self, data: memoryview, parts: Sequence[Part], out: Sink | None, where: str) -> Record:
        """Return the record of a sample.

        data: the shard. parts: first byte and size of each column in it. out: takes the images if they must be
        unpacked; None if they are ranges of the file. where: the place in errors.
        """
        values: dict[str, bytes | None] = {}
        ranges: dict[str, Part] = {}
        label: str | None = None
        image: Part | None = None
        head = b""
        lacking = f"{self.names[self.image]} is empty"
        for at, (begin, size) in enumerate(parts):
            encoding, field = self.encodings[at], self.fields[at]
            if encoding.why_not or (at == self.image and not size):
                continue
            raw = b"" if out is None and encoding.holds in ("image", "file") else bytes(data[begin : begin + size])
            if encoding.holds == "pixels":
                try:
                    raw = png(raw)
                except ValueError as error:
                    lacking = str(error)
                    continue
            elif encoding.holds == "value":
                try:
                    raw = encoding.decode(raw)
                except (ValueError, struct.error) as error:
                    raise DatasetError(
                        where, expected=f"a value of {self.names[at]}", found=str(error), action="Copy it again."
                    ) from error
            if at == self.label:
                label = raw.decode("utf-8", "replace").strip() or None
            elif field is not None and (encoding.holds == "value" or (encoding.holds == "pixels" and out is None)):
                values[field.name] = raw
            else:
                part = out.add(raw) if out is not None else (begin, size)
                if field is not None:
                    ranges[field.name] = part
                else:
                    image = part
                    head = raw[:HEAD] or bytes(data[begin : begin + min(size, HEAD)])
        return Record(image, head, label, None, values, ranges, lacking=lacking)


def offsets_of(data: memoryview, count: int, where: str) -> list[int]:
    """Return the offsets at the beginning of a shard: its number of samples, and one offset more than that.

    Both formats write uint32. count: the number of samples by the index of the dataset.
    Raises DatasetError for offsets that do not fit the shard.
    """
    table = 4 * (count + 2)
    if len(data) < table or struct.unpack_from("<I", data)[0] != count:
        raise damaged(where, f"it does not begin with its number of samples, {count:,}")
    offsets = np.frombuffer(data, "<u4", count + 1, 4).astype(np.int64)
    if count and (int(offsets[0]) < table or int(offsets[-1]) > len(data) or bool((np.diff(offsets) < 0).any())):
        raise damaged(where, "its offsets lead out of it")
    return [int(each) for each in offsets]


def parts_of(data: memoryview, begin: int, end: int, sizes: Sequence[int | None], where: str) -> list[Part]:
    """Return first byte and size of each column of a sample: the sizes come first, except fixed ones.

    sizes: bytes of each column, None for those that are written in the sample.
    """
    varying = sum(size is None for size in sizes)
    at = begin + 4 * varying
    if at > end:
        raise damaged(where, f"a sample at byte {begin:,} is too short")
    written = iter(struct.unpack_from(f"<{varying}I", data, begin))
    parts: list[Part] = []
    for size in sizes:
        count = next(written) if size is None else size
        parts.append((at, count))
        at += count
    if at > end:
        raise damaged(where, f"the columns of the sample at byte {begin:,} lead out of it")
    return parts


def with_images(encodings: Sequence[Encoding], data: memoryview, parts: Sequence[Part]) -> list[Encoding]:
    """Return encodings in which files that begin like an image are images.

    data, parts: a shard, and the columns of one sample in it.
    """
    return [
        Encoding("image", "image") if each.holds == "file" and _begins_like_image(data, part) else each
        for each, part in zip(encodings, parts, strict=True)
    ]


def _begins_like_image(data: memoryview, part: Part) -> bool:
    begin, size = part
    return format_of(bytes(data[begin : begin + min(size, HEAD)])) is not None


def damaged(where: str, how: str) -> DatasetError:
    """Return the error for a shard that does not fit its index or itself."""
    return DatasetError(display(where), expected="a whole shard", found=how, action="Copy it again.")


def number(dtype: str) -> Encoding:
    """Return the encoding of one number. dtype: as NumPy writes it, little-endian."""
    kind = np.dtype(dtype)

    def decode(data: bytes) -> bytes:
        if len(data) != kind.itemsize:
            raise ValueError(f"{len(data)} bytes instead of {kind.itemsize}")
        return repr(np.frombuffer(data, kind)[0].item()).encode()

    whole = kind.kind in "iu"
    return Encoding("integer" if whole else "float", decode=decode, label=whole)


def array(dtype: str, shape: tuple[int, ...]) -> Encoding:
    """Return the encoding of arrays of one shape."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=object)) * kind.itemsize
    what: FieldKind = "vector" if 0 < size <= _LARGEST_VECTOR and kind.kind in "iuf" else "array"
    return Encoding(what, decode=lambda data: npy_document(shaped(data, kind, shape)))


def shaped(data: bytes | memoryview, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return an array from its bytes. Raises ValueError if they are too few or too many."""
    return np.frombuffer(data, dtype).reshape(shape)


def text() -> Encoding:
    """Return the encoding of text, which may be a class."""
    return Encoding("string", decode=_utf8, label=True)


def json_document() -> Encoding:
    """Return the encoding of JSON documents, which are kept as they are."""
    return Encoding("json", decode=_utf8)


def _utf8(data: bytes) -> bytes:
    data.decode()
    return data


def png(data: bytes) -> bytes:
    """Return pixels as Pillow hands them out, encoded as PNG without loss.

    data: width, height and the length of the mode (uint32), the mode, and the pixels, as MDS and LitData write them.
    Raises ValueError for anything else, and for modes that PNG does not have.
    """
    if len(data) < 12:
        raise ValueError("pixels without a header")
    width, height, length = struct.unpack_from("<3I", data)
    mode = data[12 : 12 + min(length, 16)].decode("ascii", "replace")
    if mode not in _PNG_MODES:
        raise ValueError(f"pixels of the mode {mode}, which PNG does not have")
    # At least a bit a pixel: a header cannot make Pillow take more memory than there are bytes.
    if not width or not height or width * height > 8 * len(data):
        raise ValueError(f"{width:,} x {height:,} pixels in {len(data):,} bytes")
    out = io.BytesIO()
    Image.frombytes(mode, (width, height), data[12 + length :]).save(out, "PNG", compress_level=1)
    return out.getvalue()
